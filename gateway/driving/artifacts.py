"""Artifacts of a foreign agent, put together from the updates they arrive in. Pure.

Knows no run. An artifact is done when the agent says so (`lastChunk`), or when something else
follows it; one that is sent again unchanged is not done again.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from gateway.core import json, messages
from gateway.core.events import ArtifactAdded
from gateway.core.json import JsonObject, as_object, objects
from gateway.core.messages import DataPart, InvalidMessageError, Part, TextPart


def read_parts(raw: JsonObject) -> list[Part]:
    """The parts of a message or artifact; an unreadable one is kept as data."""
    found: list[Part] = []
    for part in objects(raw.get("parts")):
        try:
            found.append(messages.part_from_wire(part))
        except InvalidMessageError:
            found.append(DataPart(data=part))
    return found


def digest(value: JsonObject) -> str:
    return hashlib.sha256(json.encode(value).encode()).hexdigest()


class Artifacts:
    """The artifacts of one run. `text` and `output` are the newest text and data among them."""

    def __init__(self, done: Sequence[str] = ()) -> None:
        """`done`: ids that another process took over before."""
        self._open: dict[str, tuple[JsonObject, list[list[JsonObject]]]] = {}
        self._done: dict[str, str | None] = dict.fromkeys(done)
        self.text: str | None = None
        self.output: Any = None

    @property
    def ids(self) -> list[str]:
        return list(self._done)

    def take(self, update: JsonObject) -> list[ArtifactAdded]:
        """What an artifact update completes."""
        artifact = as_object(update.get("artifact"))
        artifact_id = str(artifact.get("artifactId") or "artifact")
        done = self.flush(keep=artifact_id)
        held = self._open.get(artifact_id)
        # Chunks are kept as they come: joining at each is quadratic in a long stream.
        if update.get("append") is True and held is not None:
            held[1].append(objects(artifact.get("parts")))
        else:
            self._open[artifact_id] = (artifact, [objects(artifact.get("parts"))])
        return [*done, *self.flush()] if update.get("lastChunk") is True else done

    def flush(self, keep: str | None = None) -> list[ArtifactAdded]:
        """The artifacts that nothing more comes for, all but `keep`."""
        found: list[ArtifactAdded] = []
        for artifact_id in [key for key in self._open if key != keep]:
            artifact, chunks = self._open.pop(artifact_id)
            whole = {**artifact, "parts": _joined(chunks)}
            now, before = digest(whole), self._done.get(artifact_id, "")
            self._done[artifact_id] = now
            if before is not None and before != now:
                found.append(self._added(artifact_id, whole))
        return found

    def _added(self, artifact_id: str, whole: JsonObject) -> ArtifactAdded:
        parts = read_parts(whole)
        text = "".join(part.text for part in parts if isinstance(part, TextPart)) or None
        data = [part.data for part in parts if isinstance(part, DataPart)]
        self.text = text or self.text
        self.output = data[-1] if data else self.output
        return ArtifactAdded(
            artifact_id=artifact_id,
            name=whole.get("name") or None,
            description=whole.get("description") or None,
            parts=whole["parts"],
            text=text,
        )


def _joined(chunks: list[list[JsonObject]]) -> list[JsonObject]:
    """All parts; a text that goes on in the next chunk is one text."""
    parts: list[JsonObject] = []
    pieces: list[str] = []  # of the text part that stands last
    for chunk in chunks:
        for number, part in enumerate(chunk):
            text = part.get("text")
            if number == 0 and pieces and isinstance(text, str):
                pieces.append(text)
                continue
            _close(parts, pieces)
            pieces = [text] if isinstance(text, str) else []
            parts.append(part)
    _close(parts, pieces)
    return parts


def _close(parts: list[JsonObject], pieces: list[str]) -> None:
    if len(pieces) > 1:
        parts[-1] = {**parts[-1], "text": "".join(pieces)}
