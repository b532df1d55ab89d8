"""Splits an event's data into what stays inline and what becomes stored payloads.

Pure. Fields over the limits leave a preview behind and are listed in `data.artifact_refs` by JSON
pointer (contract 2.4); `join` puts them back. A payload is stored once: a preview of a list or
object names counts and keys, never the items themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from gateway.core import json, pointers
from gateway.core.characters import cut
from gateway.core.json import JsonObject

POINTER_MAX: Final = 512  # characters; what lies deeper is taken with the member that holds it
REFS: Final = "artifact_refs"
TRUNCATED: Final = "\n...[truncated, see artifact_refs]"

_OUTPUT_FIELDS: Final = frozenset({"stdout", "stderr", "output", "aggregated_output"})
# What callers branch on or address things by stays whole, unless it alone is larger than an event.
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
    }
)
PENDING: Final = "pending"
# What a pending request is answered by stays whole: its ids, its kind, its options' and questions'
# ids and labels. These members of it may be taken, and these texts anywhere in it shortened.
_TAKEN_OF_PENDING: Final = ("input", "text", "title")
_SAID_IN_PENDING: Final = frozenset({"text", "title", "question", "header", "description"})

_WORTH_TAKING: Final = 64  # bytes that must be saved; a reference has its price too


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

    The common case (a small event) costs one size check. An event stays over its limit only when
    nothing is left in it that would be smaller as a reference.
    """
    if json.texts_of(data) <= limits.text and _size(data) <= limits.text:
        return Split(data=data)
    taken: dict[str, Payload] = {}
    inline = cast("JsonObject", _walk(data, "", limits, taken))
    refs = {pointer: _ref(payload) for pointer, payload in taken.items()}
    _shrink(data, inline, taken, refs, limits)
    if not taken:
        return Split(data=data)
    return Split(data={**inline, REFS: refs}, payloads=tuple(taken.values()))


def _shrink(
    data: JsonObject,
    inline: JsonObject,
    taken: dict[str, Payload],
    refs: JsonObject,
    limits: Limits,
) -> None:
    """Take whole members, the largest first, until the event is within its limit."""
    total = _size({**inline, REFS: refs}) if refs else _size(inline)
    if total <= limits.event:
        return
    total = _size({**inline, REFS: refs})  # the first reference brings their member with it
    members = sorted(_members(data, inline, limits), key=lambda member: member.size, reverse=True)
    inner: dict[str, list[str]] = {}
    for pointer in taken:
        inner.setdefault(_member_of(pointer), []).append(pointer)
    # An equal share for each member, so that an event of many comes under the limit too.
    share = max(0, limits.event // (2 * max(1, len(members))) - len(TRUNCATED))
    for member in members:
        if total <= limits.event:
            return
        whole = member.source[member.key]
        preview = _preview(whole, min(share, limits.text // 2))
        payload = _payload(member.pointer, whole)
        ref = _ref(payload)
        # What was taken inside this member goes back into it: nothing is stored twice.
        freed = sum(_size({p: refs[p]}) for p in inner.get(member.pointer, ()))
        saved = member.size + freed - _size(preview) - _size({member.pointer: ref})
        if saved < _WORTH_TAKING:
            continue
        for pointer in inner.get(member.pointer, ()):
            del taken[pointer], refs[pointer]
        member.holder[member.key] = preview
        taken[member.pointer], refs[member.pointer] = payload, ref
        total -= saved


@dataclass(frozen=True, slots=True)
class _Member:
    """A member that may be taken whole: where it stands in the copy and in the original."""

    pointer: str
    holder: JsonObject
    source: JsonObject
    key: str
    size: int


def _members(data: JsonObject, inline: JsonObject, limits: Limits) -> Iterator[_Member]:
    for key, value in inline.items():
        if key == PENDING and isinstance(value, list):
            requests = cast("list[Any]", value)
            for at, request in enumerate(requests):
                yield from _members_of_request(data[PENDING][at], request, at)
        elif key != REFS and isinstance(value, dict | list | str):
            size = _size(cast("object", value))
            pointer = f"/{pointers.escape(key)}"
            if len(pointer) <= POINTER_MAX and (key not in _KEPT or size > limits.event):
                yield _Member(pointer, inline, data, key, size)


def _members_of_request(source: Any, request: Any, at: int) -> Iterator[_Member]:
    if not isinstance(request, dict):
        return
    members = cast("JsonObject", request)
    for key in _TAKEN_OF_PENDING:
        if isinstance(members.get(key), dict | str):
            yield _Member(f"/{PENDING}/{at}/{key}", members, source, key, _size(members[key]))


def _member_of(pointer: str) -> str:
    """The pointer of the member that may be taken whole and holds this one."""
    depth = 4 if pointer.startswith(f"/{PENDING}/") else 2
    return "/".join(pointer.split("/")[:depth])


def join(data: JsonObject, payloads: Sequence[Payload]) -> JsonObject:
    """The data before `split`: every payload back in its place, no refs."""
    whole = cast("JsonObject", _copy({key: v for key, v in data.items() if key != REFS}))
    for payload in payloads:
        text = payload.content.decode()
        pointers.put(
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


def _walk(value: Any, pointer: str, limits: Limits, taken: dict[str, Payload]) -> Any:
    """A copy of `value` in which every over-long text is a preview."""
    if isinstance(value, dict):
        items = cast("JsonObject", value)
        return {
            key: item
            if _kept(pointer, key)
            else _walk(item, f"{pointer}/{pointers.escape(key)}", limits, taken)
            for key, item in items.items()
        }
    if isinstance(value, list):
        entries = cast("list[Any]", value)
        return [_walk(item, f"{pointer}/{i}", limits, taken) for i, item in enumerate(entries)]
    if isinstance(value, str):
        name = pointer.rsplit("/", 1)[-1]
        limit = limits.output if name in _OUTPUT_FIELDS else limits.text
        too_long = len(value) > limit or len(json.utf8(value)) > limit
        if too_long and len(pointer) <= POINTER_MAX:
            taken[pointer] = _payload(pointer, value)
            return _preview(value, limit)
    return value


def _kept(pointer: str, key: str) -> bool:
    """True for a member that is never cut: at the top by its name, in a request by its place."""
    at = pointer.split("/")
    if len(at) == 1:
        return key in _KEPT or key == REFS
    if at[1] != PENDING or len(at) < 3:
        return False
    if len(at) == 3:
        return key not in (*_TAKEN_OF_PENDING, "questions")
    return at[3] == "questions" and key not in _SAID_IN_PENDING and key != "options"


def _preview(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return json.utf8(value[:limit])[:limit].decode(errors="ignore") + TRUNCATED
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
        return Payload(pointer=pointer, mime="text/plain", content=json.utf8(value))
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


def _size(value: object) -> int:
    """Bytes of the JSON of `value`."""
    text = json.encode(value)
    return len(text) if text.isascii() else len(text.encode())


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in cast("JsonObject", value).items()}
    if isinstance(value, list):
        return [_copy(item) for item in cast("list[Any]", value)]
    return value
