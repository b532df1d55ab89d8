"""Arguments that several tools take, as models read them.

Knows no tool. Descriptions say limits and defaults in words and are as short as they can be.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from mcp_bridge.schemas import (
    RESULT_BYTES_MAX,
    RESULT_BYTES_MIN,
    Arguments,
    FromText,
)

Backend = Literal["codex", "claude_code", "remote_a2a"]
REMOTE: Final = "remote_a2a"


def _folder(path: str) -> str:
    """As spawn_run stores it. Raises: ValueError."""
    if not Path(path).is_absolute():
        raise ValueError(f"cwd must be an absolute path, got {path[:200]!r}")
    return os.path.normpath(path)


Folder = Annotated[str, AfterValidator(_folder)]
Text = Annotated[str, Field(min_length=1)]
MaxBytes = Annotated[
    int,
    Field(ge=RESULT_BYTES_MIN, le=RESULT_BYTES_MAX),
    # Said in words alone: as numbers too they would stand there three times.
    WithJsonSchema(
        {"type": "integer", "description": "Bytes of the answer: 1024-262144, default 8192."}
    ),
]
RequestKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        description="An id of your own: a call repeated under it is done once.",
    ),
]
Labels = Annotated[dict[str, str], FromText]


class Part(Arguments):
    """A part of a message; which members it takes follows from its type."""

    type: Literal["text", "data", "file"]
    text: str | None = None
    data: dict[str, Any] | None = None
    uri: str | None = None
    bytes_base64: str | None = None
    mime_type: str | None = None
    name: str | None = None


class AgentMessage(Arguments):
    """A message in the contract's form."""

    role: Literal["user", "agent", "system"] = "user"
    parts: Annotated[list[Part], Field(min_length=1)]
    metadata: dict[str, Any] | None = None


# What a part takes is said in words: as properties it would fill a twentieth of all seven tools.
Said = Annotated[
    AgentMessage,
    FromText,
    WithJsonSchema(
        {
            "type": "object",
            "description": "In parts: {parts: [{type: text, text} | {type: data, data} | "
            "{type: file, uri|bytes_base64, mime_type, name}]}.",
        }
    ),
]
