"""A caller's message -> content blocks of a user message to Claude Code.

Pure: fetches nothing. Images and PDFs travel as they are, text files inline under their names; what
the model cannot be given is refused, never only named.
"""

import base64
import binascii
from typing import Final

from gateway.core import json
from gateway.core.json import JsonObject, merge_null
from gateway.core.messages import DataPart, FilePart, Message, Part, TextPart
from wrappers.adapter import UnsupportedError

# What the Messages API takes as images.
IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
PDF: Final = "application/pdf"
# How such files begin, for a part that does not say what it is.
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
    (b"%PDF-", PDF),
)
_UNNAMED: Final = "unnamed"
_REPAIR: Final = (
    "Your structured output cannot be used: {fault}. Call the StructuredOutput tool once more, now "
    "with an object that fits the schema, and do nothing else."
)


def repair(fault: str) -> list[JsonObject]:
    """The message that asks for another structured output."""
    return [{"type": "text", "text": _REPAIR.format(fault=fault)}]


def content_of(message: Message) -> list[JsonObject]:
    """At least one block; parts in their order. Raises: UnsupportedError, naming the part."""
    parts = [part for part in message.parts if part != TextPart(text="")]
    blocks = [_block(part) for part in parts]
    return blocks or [_text("(empty message)")]


def _block(part: Part) -> JsonObject:
    match part:
        case TextPart(text=text):
            return _text(text)
        case DataPart(data=data):
            return _text(json.encode(data))
        case FilePart(url=str(url)):
            return _linked(part, url)
        case FilePart():
            return _held(part, part.raw or "")


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _linked(part: FilePart, url: str) -> JsonObject:
    """A file by its address: the API fetches images and PDFs, the agent itself may fetch others."""
    if part.media_type in IMAGES | {PDF}:
        return _attached(part, {"type": "url", "url": url})
    return _text(f"Attached file {part.name or _UNNAMED}: {url}")


def _attached(part: FilePart, source: JsonObject) -> JsonObject:
    if part.media_type in IMAGES:
        return {"type": "image", "source": source}
    return merge_null({"type": "document", "source": source, "title": part.name})


def _held(part: FilePart, raw: str) -> JsonObject:
    name = part.name or _UNNAMED
    try:
        content = base64.b64decode(raw, validate=True)
    except binascii.Error as exc:
        raise UnsupportedError("message.parts", f"file {name!r} is not base64") from exc
    media = part.media_type
    if media not in IMAGES | {PDF}:
        media = next((kind for start, kind in _SIGNATURES if content.startswith(start)), None)
    if media is not None:
        known = FilePart(media_type=media, name=part.name)
        return _attached(known, {"type": "base64", "media_type": media, "data": raw})
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        raise UnsupportedError(
            "message.parts",
            "claude_code takes text, images (png, jpeg, gif, webp) and PDFs; put file "
            f"{name!r} into the folder and name its path",
        ) from exc
    return _text(f"Attached file {name}:\n{text}")
