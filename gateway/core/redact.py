"""Splits an event's data into what stays inline and what becomes stored payloads.

Pure. Fields over the limits leave a preview behind and are listed in `data.artifact_refs` by JSON
pointer (contract 2.4); `join` puts them back. A payload is stored once: a preview of a list or
object names counts and keys, never the items themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from gateway.core import json
from gateway.core.json import JsonObject

CHUNK_BYTES: Final = 64 * 1024  # a 64 KB range of a 4 MB payload is read in 0.07 ms
REFS: Final = "artifact_refs"
TRUNCATED: Final = "\n...[truncated, see artifact_refs]"

_OUTPUT_FIELDS: Final = frozenset({"stdout", "stderr", "output", "aggregated_output"})
# What callers branch on or address things by stays whole, whatever its size.
_KEPT: Final = frozenset(
    {
        "command",
        "tool",
        "tool_use_id",
        "exit_code",
        "status",
        "reason",
        "is_error",
        "interrupted",
        "file_path",
        "backend_session_id",
        "thread_id",
        "context_id",
        "task_id",
        "agent_url",
        "agent_name",
        "conversation_id",
        "pending",
        REFS,
    }
)

_WORTH_TAKING: Final = 256  # bytes; below this the reference would be as large as the field


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes of UTF-8 that stay inline: of a text, of command output, of a whole event."""

    text: int = 1000
    output: int = 2000
    event: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The whole of a split field; `text` fields are stored as they are, others as JSON."""

    pointer: str
    mime: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    data: JsonObject
    payloads: tuple[Payload, ...] = ()


def split(data: JsonObject, limits: Limits) -> Split:
    """`data` within the limits, and what was taken out of it.

    The common case (a small event) costs one size check. `pending` and the other kept fields are
    not split: they are bounded where they are made.
    """
    text = json.encode(data)
    if len(text) <= limits.text:
        return Split(data=data)
    taken: dict[str, Payload] = {}
    inline = _walk(data, "", limits, taken)
    # An equal share for each member, so that an event of many comes under the limit too.
    share = max(0, limits.event // (2 * max(1, len(data))) - len(TRUNCATED))
    shrunk: set[str] = set()
    while len(json.encode(inline).encode()) > limits.event:
        key = _largest(inline, shrunk)
        if key is None:
            break
        pointer = f"/{_escape(key)}"
        # What was taken inside this member goes back into it: nothing is stored twice.
        for inner in [other for other in taken if other.startswith(f"{pointer}/")]:
            del taken[inner]
        inline[key] = _preview(data[key], min(share, limits.text // 2))
        taken[pointer] = _payload(pointer, data[key])
        shrunk.add(key)
    if not taken:
        return Split(data=data)
    return Split(
        data={**inline, REFS: {p.pointer: _ref(p) for p in taken.values()}},
        payloads=tuple(taken.values()),
    )


def join(data: JsonObject, payloads: Sequence[Payload]) -> JsonObject:
    """The data before `split`: every payload back in its place, no refs."""
    whole = cast("JsonObject", _copy({key: v for key, v in data.items() if key != REFS}))
    for payload in payloads:
        text = payload.content.decode()
        _put(
            whole,
            payload.pointer,
            json.decode(text) if payload.mime == "application/json" else text,
        )
    return whole


def refs_of(data: Mapping[str, Any]) -> Mapping[str, JsonObject]:
    """The `artifact_refs` of an event's data, by pointer."""
    return cast("Mapping[str, JsonObject]", json.as_object(data.get(REFS)))


def relpath(seq: int, type_: str) -> str:
    """Where the run folder keeps the manifest of an event's payloads (contract 2.4)."""
    return f"artifacts/{seq:06d}-{type_}/manifest.json"


def cut(content: bytes, size: int = CHUNK_BYTES) -> Iterator[tuple[int, bytes]]:
    """(offset, piece) of UTF-8 `content` in pieces of at most `size` bytes, whole characters."""
    at = 0
    while at < len(content):
        end = min(at + size, len(content))
        while at < end < len(content) and _inside(content, end):
            end -= 1
        yield at, content[at:end]
        at = end


def _walk(value: Any, pointer: str, limits: Limits, taken: dict[str, Payload]) -> Any:
    """A copy of `value` in which every over-long text is a preview."""
    if isinstance(value, dict):
        items = cast("JsonObject", value)
        return {
            key: item
            if not pointer and key in _KEPT
            else _walk(item, f"{pointer}/{_escape(key)}", limits, taken)
            for key, item in items.items()
        }
    if isinstance(value, list):
        entries = cast("list[Any]", value)
        return [_walk(item, f"{pointer}/{i}", limits, taken) for i, item in enumerate(entries)]
    if isinstance(value, str):
        name = pointer.rsplit("/", 1)[-1]
        limit = limits.output if name in _OUTPUT_FIELDS else limits.text
        if len(value) > limit or len(value.encode()) > limit:
            taken[pointer] = _payload(pointer, value)
            return _preview(value, limit)
    return value


def _preview(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value.encode()[:limit].decode(errors="ignore") + TRUNCATED
    if isinstance(value, list):
        return {
            "artifact_summary": {
                "original_type": "array",
                "item_count": len(cast("list[Any]", value)),
            }
        }
    fields = cast("JsonObject", value)
    return {
        "artifact_summary": {
            "original_type": "object",
            "key_count": len(fields),
            "preview_keys": [key[:64] for key in list(fields)[:8]],
        }
    }


def _payload(pointer: str, value: Any) -> Payload:
    if isinstance(value, str):
        return Payload(pointer=pointer, mime="text/plain", content=value.encode())
    return Payload(pointer=pointer, mime="application/json", content=json.encode(value).encode())


def _ref(payload: Payload) -> JsonObject:
    return {
        "field_path": payload.pointer,
        "mime": payload.mime,
        "encoding": "utf-8",
        "total_bytes": len(payload.content),
        "total_chars": len(payload.content.decode()),
        "chunk_count": sum(1 for _ in cut(payload.content)),
        "truncated": True,
    }


def _largest(inline: JsonObject, shrunk: set[str]) -> str | None:
    """The key of the largest member that can still shrink, None when none is worth it."""
    sizes: dict[str, int] = {
        key: len(json.encode(cast("object", value)))
        for key, value in inline.items()
        if key not in _KEPT | shrunk and isinstance(value, dict | list | str)
    }
    key = max(sizes, key=sizes.__getitem__, default=None)
    return key if key is not None and sizes[key] > _WORTH_TAKING else None


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in cast("JsonObject", value).items()}
    if isinstance(value, list):
        return [_copy(item) for item in cast("list[Any]", value)]
    return value


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _keys(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _step(value: Any, key: str) -> Any:
    return cast("list[Any]", value)[int(key)] if isinstance(value, list) else value[key]


def _put(value: Any, pointer: str, item: Any) -> None:
    *path, last = _keys(pointer)
    for key in path:
        value = _step(value, key)
    if isinstance(value, list):
        value[int(last)] = item
    else:
        value[last] = item


def character_range(content: bytes, start: int, limit: int) -> tuple[int, int]:
    """`start` and end of at most `limit` bytes of UTF-8 that are whole characters.

    At least one character, so that a reader with a tiny limit gets on.
    """
    start = min(start, len(content))
    while start < len(content) and _inside(content, start):
        start += 1
    end = min(start + limit, len(content))
    while end > start and end < len(content) and _inside(content, end):
        end -= 1
    if end == start and start < len(content):
        end = start + 1
        while end < len(content) and _inside(content, end):
            end += 1
    return start, end


def _inside(content: bytes, at: int) -> bool:
    """True when byte `at` continues a character (10xxxxxx)."""
    return content[at] & 0xC0 == 0x80
