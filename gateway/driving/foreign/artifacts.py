"""Artifacts of a foreign agent, put together from the updates and tasks they arrive in. Pure.

Knows no run. An artifact is done when the agent says so (`lastChunk`), or when something else
follows it; one that is sent again unchanged is not done again. What is held is bounded: an
artifact too large for it is told in pieces.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.core import json, messages
from gateway.core.events import ArtifactAdded
from gateway.core.json import JsonObject, as_object, objects
from gateway.core.messages import DataPart, InvalidMessageError, Part, TextPart

HELD_MAX: Final = 16 * 1024 * 1024  # characters of all artifacts that are not done
KEPT_MAX: Final = 8 * 1024 * 1024  # and of those that were done, should they be appended to
ARTIFACTS_MAX: Final = 10_000  # of one run: each stands in its record
ID_MAX: Final = 256  # characters


class TooManyArtifactsError(ValueError):
    """The agent sends artifacts without end."""

    def __init__(self) -> None:
        super().__init__(f"it made more than {ARTIFACTS_MAX:,} artifacts")


def read_parts(raw: JsonObject) -> list[Part]:
    """The parts of a message or artifact; an unreadable one is kept as data."""
    found: list[Part] = []
    for part in objects(raw.get("parts")):
        try:
            found.append(messages.part_from_wire(part))
        except InvalidMessageError:
            found.append(DataPart(data=part))
    return found


def digest(value: object) -> str:
    """16 hexadecimal digits that equal values share."""
    text = json.encode_sorted(value).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest()


@dataclass(slots=True)
class _Held:
    """`chunked`: it came in pieces so far; `rest`: what was before them has been told."""

    artifact: JsonObject
    chunks: list[list[JsonObject]]
    size: int
    chunked: bool = False
    rest: bool = False
    snapshot: str | None = None  # the digest of what a task showed of it


class Artifacts:
    """The artifacts of one run. `text` and `output` are the newest text and data among them."""

    def __init__(self, done: Mapping[str, str] | None = None) -> None:
        """`done`: id and digest of those that another process told before."""
        self._held: dict[str, _Held] = {}
        self._done = dict(done or {})
        self._kept: dict[str, tuple[JsonObject, int]] = {}
        self._size = 0
        self._kept_size = 0
        self._told = len(self._done)
        self.text: str | None = None
        self.output: Any = None

    @property
    def ids(self) -> list[str]:
        return list(self._done)

    def renew(self) -> None:
        """What was made so far is not the answer any more."""
        self.text = self.output = None

    def take(self, update: JsonObject) -> list[ArtifactAdded]:
        """What an artifact update completes. Raises: TooManyArtifactsError."""
        artifact = as_object(update.get("artifact"))
        name = _id_of(artifact)
        parts = objects(artifact.get("parts"))
        done = [
            event
            for other in [key for key, held in self._held.items() if not held.chunked]
            if other != name
            for event in self._close(other)
        ]
        if update.get("append") is True:
            held = self._held.get(name) or self._reopened(name, artifact)
            held.chunked = True
            # Chunks are kept as they come: joining at each is quadratic in a long stream.
            held.chunks.append(parts)
            self._grow(held, _size(parts))
        else:
            self._hold(name, _Held(artifact, [parts], 0), _size(parts))
        if update.get("lastChunk") is True:
            return [*done, *self._close(name)]
        if self._size > HELD_MAX:
            return [*done, *self._in_pieces(name)]
        return done

    def snapshot(self, artifacts: Sequence[JsonObject], *, final: bool) -> list[ArtifactAdded]:
        """What a whole task shows. The last of a task at work may be in the making: it is done
        when the next task shows it unchanged. Raises: TooManyArtifactsError."""
        found: list[ArtifactAdded] = []
        for number, artifact in enumerate(artifacts, start=1):
            name, parts = _id_of(artifact), objects(artifact.get("parts"))
            mark = _mark(parts)
            held = self._held.get(name)
            again = held is not None and held.snapshot == mark
            if (
                mark != self._done.get(name)
                and not final
                and not again
                and number == len(artifacts)
            ):
                self._hold(name, _Held(artifact, [parts], 0, snapshot=mark), _size(parts))
                continue
            self._hold(name, _Held(artifact, [parts], 0), _size(parts))
            found += self._close(name, seen=True)
        return found

    def flush(self) -> list[ArtifactAdded]:
        """All artifacts: nothing more comes for them."""
        return [event for name in list(self._held) for event in self._close(name)]

    # -- what is held ----------------------------------------------------------------------------

    def _hold(self, name: str, held: _Held, size: int) -> None:
        if (before := self._held.pop(name, None)) is not None:
            self._size -= before.size
        self._held[name] = held
        self._grow(held, size)

    def _grow(self, held: _Held, size: int) -> None:
        held.size += size
        self._size += size

    def _reopened(self, name: str, artifact: JsonObject) -> _Held:
        """One that was done and is appended to all the same, as far as it is still known."""
        if (kept := self._kept.pop(name, None)) is None:
            held = _Held(artifact, [], 0, rest=name in self._done)
        else:
            self._kept_size -= kept[1]
            held = _Held(kept[0], [objects(kept[0].get("parts"))], kept[1])
        self._size += held.size
        self._held[name] = held
        return held

    def _close(self, name: str, *, seen: bool = False) -> list[ArtifactAdded]:
        held = self._held.pop(name)
        self._size -= held.size
        whole = {**held.artifact, "parts": _joined(held.chunks)}
        self._notice(whole)
        now, before = _mark(whole["parts"]), self._done.get(name)
        self._done[name] = "" if held.rest else now
        if not held.rest:
            self._keep(name, whole, held.size)
        if before == now and not held.rest:
            return []
        self._told += 1
        if self._told > ARTIFACTS_MAX:
            raise TooManyArtifactsError
        return [_event(name, whole, now, rest=held.rest, seen=seen)]

    def _in_pieces(self, name: str) -> list[ArtifactAdded]:
        """Let go of what is held; what comes for `name` from now on is told as a piece of it."""
        found = self.flush()
        self._kept_size -= self._kept.pop(name, ({}, 0))[1]
        return found

    def _keep(self, name: str, whole: JsonObject, size: int) -> None:
        self._kept_size -= self._kept.pop(name, ({}, 0))[1]
        self._kept[name] = (whole, size)
        self._kept_size += size
        while self._kept_size > KEPT_MAX:
            oldest = next(iter(self._kept))
            self._kept_size -= self._kept.pop(oldest)[1]

    def _notice(self, whole: JsonObject) -> None:
        parts = read_parts(whole)
        self.text = text_of(parts) or self.text
        self.output = output_of(parts, self.output)


def text_of(parts: Sequence[Part]) -> str | None:
    return "".join(part.text for part in parts if isinstance(part, TextPart)) or None


def output_of(parts: Sequence[Part], before: Any = None) -> Any:
    """The last data among `parts`, else `before`."""
    data = [part.data for part in parts if isinstance(part, DataPart)]
    return data[-1] if data else before


def _event(name: str, whole: JsonObject, mark: str, *, rest: bool, seen: bool) -> ArtifactAdded:
    about = json.merge_null(
        {"digest": mark, "append": rest or None, "from_task_snapshot": seen or None}
    )
    return ArtifactAdded(
        artifact_id=name,
        name=whole.get("name") or None,
        description=whole.get("description") or None,
        parts=whole["parts"],
        text=text_of(read_parts(whole)),
        extra=about,
    )


def _id_of(artifact: JsonObject) -> str:
    name = str(artifact.get("artifactId") or "artifact")
    return name if len(name) <= ID_MAX else f"{name[: ID_MAX - 17]}-{digest(name)}"


def _size(parts: Sequence[JsonObject]) -> int:
    return sum(
        len(text) if isinstance(text := part.get("text"), str) else len(json.encode(part))
        for part in parts
    )


def _mark(parts: Sequence[JsonObject]) -> str:
    """The digest of parts. Texts side by side count as one: servers keep each chunk as a part."""
    return digest(_joined([[part] for part in parts]))


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
            _end_text(parts, pieces)
            pieces = [text] if isinstance(text, str) else []
            parts.append(part)
    _end_text(parts, pieces)
    return parts


def _end_text(parts: list[JsonObject], pieces: list[str]) -> None:
    if len(pieces) > 1:
        parts[-1] = {**parts[-1], "text": "".join(pieces)}
