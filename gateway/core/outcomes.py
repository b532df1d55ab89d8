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
    """Events after a cursor, and the run as it was when they were read."""

    run: Run
    events: list[Recorded]
    has_more: bool
