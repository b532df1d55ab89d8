"""What operations on runs answer with: the run a message went to, a page of its events. Pure."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.core.record import Run
from gateway.core.store.entry import Recorded

Did: TypeAlias = Literal["started", "attached", "answered", "steered", "resumed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The run a message went to, as it is now, and what the message did.

    `attached`: its request_key was used before; nothing was done again.
    """

    run: Run
    did: Did


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events after a cursor, and the run as it was when they were read.

    `read_to`: nothing that was asked for lies between the cursor and there but `events`; with types
    left out it is past the last of them. `has_more`: the run has events behind it.
    """

    run: Run
    events: list[Recorded]
    read_to: int

    @property
    def has_more(self) -> bool:
        return self.run.last_seq > self.read_to
