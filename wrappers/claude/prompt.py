"""A caller's message -> content blocks of a user message to Claude Code.

Pure. Images travel as images; other parts become text that names them.
"""

from typing import Final

from gateway.core.json import JsonObject
from gateway.core.messages import FilePart, Message, TextPart, summary_text

IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def content_of(message: Message) -> list[JsonObject]:
    """At least one block; parts in their order."""
    blocks: list[JsonObject] = []
    for part in message.parts:
        match part:
            case FilePart(raw=str(raw), media_type=str(media)) if media in IMAGES:
                source = {"type": "base64", "media_type": media, "data": raw}
                blocks.append({"type": "image", "source": source})
            case TextPart(text=""):
                continue
            case _:
                blocks.append({"type": "text", "text": summary_text([part])})
    return blocks or [{"type": "text", "text": "(empty message)"}]
