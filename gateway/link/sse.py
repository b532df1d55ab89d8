"""Bytes of an event stream -> its events. Pure, and the one bound on what an agent may send us.

Own lines instead of httpx's: they cost a text decode and a generator step each, and know no limit.
"""

from dataclasses import dataclass, field
from typing import Final

MAX_EVENT: Final = 64 * 1024 * 1024  # bytes; an endless line must not become our memory
LINE_COST: Final = 64  # bytes of memory a line takes beside its text; an event may have many


class EventTooLargeError(ValueError):
    """An event went over the bound; the stream cannot be read on."""

    def __init__(self) -> None:
        super().__init__(f"an event is larger than {MAX_EVENT // 2**20} MiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSentEvent:
    """`id` is the event's own, not the last one seen: an event without a seq must not borrow one."""

    data: bytes
    id: str | None = None


@dataclass(slots=True)
class EventReader:
    """Feed it chunks as they come; it returns the events each of them completes."""

    limit: int = MAX_EVENT
    _partial: list[bytes] = field(default_factory=list[bytes])
    _size: int = 0  # of the line that is not complete
    _held: int = 0  # of the event's lines so far
    _data: list[bytes] = field(default_factory=list[bytes])
    _id: str | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Raises: EventTooLargeError."""
        self._size += len(chunk)
        if self._size + self._held > self.limit:
            raise EventTooLargeError
        self._partial.append(chunk)
        if b"\n" not in chunk:
            return []
        # Joined once a line ends: joining at every chunk is quadratic in the length of a line.
        *lines, rest = b"".join(self._partial).split(b"\n")
        self._partial = [rest]
        events = [event for line in lines if (event := self._line(line)) is not None]
        self._size = len(rest)
        return events

    def _line(self, line: bytes) -> ServerSentEvent | None:
        line = line.removesuffix(b"\r")
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._held += len(value) + LINE_COST
        elif name == b"id":
            self._id = value.decode(errors="replace")
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event = None
        if self._data:
            event = ServerSentEvent(data=b"\n".join(self._data), id=self._id)
        self._data, self._id, self._held = [], None, 0
        return event
