"""Messages and parts as values, and their two forms: A2A JSON and the contract's JSON.

Pure. The contract's form is what the MCP tools take (`{role, parts: [{type: text|data|file}]}`),
the A2A form is the 1.0 wire (`{messageId, role: ROLE_USER, parts: [{text}|{data}|{url}|{raw}]}`).
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from gateway.core import json
from gateway.core.json import JsonObject

MAX_PARTS: Final = 256  # a message is an instruction, not a transport for folders

ROLES: Final[Mapping[str, str]] = {"user": "ROLE_USER", "agent": "ROLE_AGENT"}
# By name and by number, which ProtoJSON allows as a string too.
_FROM_A2A_ROLE: Final[Mapping[str | int, str]] = {
    wire: role
    for number, (role, name) in enumerate(ROLES.items(), start=1)
    for wire in (name, number, str(number))
}
_CONTENT: Final = ("text", "data", "url", "raw")  # a part holds one of these


class InvalidMessageError(ValueError):
    """The message cannot be read; the text says which part and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPart:
    """`data` is any JSON value; the contract allows only objects."""

    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A file by `url` or by its `raw` bytes (base64 text, kept encoded)."""

    url: str | None = None
    raw: str | None = None
    media_type: str | None = None
    name: str | None = None


Part: TypeAlias = TextPart | DataPart | FilePart


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody said. `role` is user, agent or system (system travels as user over A2A)."""

    message_id: str
    role: str
    parts: tuple[Part, ...]
    metadata: JsonObject = field(default_factory=dict[str, Any])

    @property
    def text(self) -> str:
        """The text parts, one below the other."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def length(self) -> int:
        """Characters of its texts and files, which is where a large one is."""
        return sum(
            len(part.text if isinstance(part, TextPart) else part.raw or "")
            for part in self.parts
            if not isinstance(part, DataPart)
        )


def user_text(message_id: str, text: str) -> Message:
    """A user's message of one text part."""
    return Message(message_id=message_id, role="user", parts=(TextPart(text=text),))


# -- A2A 1.0 JSON ------------------------------------------------------------------------------


def part_to_wire(part: Part) -> JsonObject:
    match part:
        case TextPart(text=text):
            return {"text": text}
        case DataPart(data=data):
            return {"data": data}
        case FilePart():
            kind = {"url": part.url} if part.url is not None else {"raw": part.raw or ""}
            return json.merge_null({**kind, "filename": part.name, "mediaType": part.media_type})


def part_from_wire(wire: object) -> Part:
    """A part of A2A 1.0 JSON. Raises: InvalidMessageError."""
    if not isinstance(wire, dict):
        raise InvalidMessageError("a part must be an object")
    fields = cast("JsonObject", wire)
    held = [name for name in _CONTENT if fields.get(name) is not None]
    if not held and "data" in fields:  # null is a JSON value too
        return DataPart(data=None)
    if len(held) != 1:
        names = ", ".join(sorted(fields))[:100]
        raise InvalidMessageError(f"a part holds one of text, data, url, raw; got {names}")
    content = fields[held[0]]
    if held[0] == "data":
        return DataPart(data=content)
    if not isinstance(content, str):
        raise InvalidMessageError(f"a part's {held[0]} must be a string")
    if held[0] == "text":
        return TextPart(text=content)
    name, media = _text(fields, "filename"), _text(fields, "mediaType")
    return FilePart(**{held[0]: content}, media_type=media or None, name=name or None)


def to_wire(
    message: Message, *, task_id: str | None = None, context_id: str | None = None
) -> JsonObject:
    """A2A 1.0 JSON of a message."""
    return json.merge_null(
        {
            "messageId": message.message_id,
            "role": ROLES.get(message.role, "ROLE_USER"),
            "parts": [part_to_wire(part) for part in message.parts],
            "taskId": task_id,
            "contextId": context_id,
            "metadata": message.metadata or None,
        }
    )


def from_wire(wire: Mapping[str, Any]) -> Message:
    """A message of A2A 1.0 JSON, read as ProtoJSON reads it: names in camelCase or snake_case,
    enums by name or number, unknown members ignored. Raises: InvalidMessageError."""
    parts: object = wire.get("parts") or []
    if not isinstance(parts, list):
        raise InvalidMessageError("parts must be a list")
    parts = cast("list[object]", parts)
    if len(parts) > MAX_PARTS:
        raise InvalidMessageError(f"a message has at most {MAX_PARTS} parts, got {len(parts)}")
    metadata = wire.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidMessageError("metadata must be an object")
    return Message(
        message_id=_text(wire, "messageId"),
        role=role_from_wire(wire.get("role")) or "user",
        parts=tuple(part_from_wire(part) for part in parts),
        metadata=json.as_object(cast("object", metadata)),
    )


def role_from_wire(role: object) -> str | None:
    """`user` or `agent`; None for a role that is missing, unspecified or unknown."""
    return _FROM_A2A_ROLE.get(role) if isinstance(role, str | int) else None


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = json.member(fields, name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidMessageError(f"{name} must be a string")
    return value


def whole_numbers(value: Any) -> Any:
    """`value` with whole floats as ints again: protobuf's JSON prints 42 as 42.0."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {key: whole_numbers(item) for key, item in items.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in cast("list[Any]", value)]
    return value


# -- the contract's JSON (MCP tools, run folder) -------------------------------------------------


def _part_from_contract(part: object, at: str) -> Part:
    if not isinstance(part, dict):
        raise InvalidMessageError(f"{at} must be an object with a type")
    fields = cast("JsonObject", part)
    match fields.get("type"):
        case "text":
            if not isinstance(fields.get("text"), str) or not fields["text"]:
                raise InvalidMessageError(f"{at}.text must be a non-empty string")
            return TextPart(text=fields["text"])
        case "data":
            if not isinstance(fields.get("data"), dict):
                raise InvalidMessageError(f"{at}.data must be an object")
            return DataPart(data=fields["data"])
        case "file":
            return _file_from_contract(fields, at)
        case other:
            raise InvalidMessageError(f"{at}.type must be text, data or file, got {other!r}")


def _file_from_contract(fields: JsonObject, at: str) -> FilePart:
    texts: dict[str, str | None] = {}
    for key in ("uri", "bytes_base64", "mime_type", "name"):
        value = fields.get(key)
        if value is not None and not isinstance(value, str):
            raise InvalidMessageError(f"{at}.{key} must be a string")
        texts[key] = value
    if texts["uri"] is None and texts["bytes_base64"] is None:
        raise InvalidMessageError(f"{at} is a file without uri or bytes_base64")
    if (raw := texts["bytes_base64"]) is not None:
        try:
            base64.b64decode(raw, validate=True)
        except binascii.Error as exc:
            raise InvalidMessageError(f"{at}.bytes_base64 is not base64") from exc
    return FilePart(url=texts["uri"], raw=raw, media_type=texts["mime_type"], name=texts["name"])


def from_contract(value: Mapping[str, Any], message_id: str) -> Message:
    """A message of the contract's JSON. Raises: InvalidMessageError, naming the field."""
    role = value.get("role", "user")
    if role not in ("user", "agent", "system"):
        raise InvalidMessageError(f"role must be user, agent or system, got {role!r}")
    parts = value.get("parts")
    if not isinstance(parts, list) or not parts:
        raise InvalidMessageError("parts must be a list with at least one part")
    parts = cast("list[object]", parts)
    if len(parts) > MAX_PARTS:
        raise InvalidMessageError(f"a message has at most {MAX_PARTS} parts, got {len(parts)}")
    metadata = value.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidMessageError("metadata must be an object")
    return Message(
        message_id=message_id,
        role=role,
        parts=tuple(_part_from_contract(part, f"parts[{i}]") for i, part in enumerate(parts)),
        metadata=json.as_object(cast("object", metadata)),
    )


def to_contract(message: Message) -> JsonObject:
    """The contract's JSON of a message."""
    parts: list[JsonObject] = []
    for part in message.parts:
        match part:
            case TextPart(text=text):
                parts.append({"type": "text", "text": text})
            case DataPart(data=data):
                parts.append({"type": "data", "data": data})
            case FilePart():
                parts.append(
                    json.merge_null(
                        {
                            "type": "file",
                            "uri": part.url,
                            "bytes_base64": part.raw,
                            "mime_type": part.media_type,
                            "name": part.name,
                        }
                    )
                )
    return json.merge_null(
        {"role": message.role, "parts": parts, "metadata": message.metadata or None}
    )
