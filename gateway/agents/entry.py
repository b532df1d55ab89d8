"""One agent of the registry: what is said of it, its card as it was last read, how it does.

Knows no other agent and no folder.
"""

import asyncio
from dataclasses import dataclass, field, replace

from gateway.agents.card import Card
from gateway.agents.health import State
from gateway.agents.registration import Enrolled, Registration, Standing
from gateway.agents.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A card that was read, under which address it is true, and until when (monotonic seconds)."""

    card: Card
    base_url: str
    etag: str | None
    ttl_s: float
    until: float

    def until_later(self, now: float) -> "Known":
        """The same card, asked for again at `now`."""
        return replace(self, until=now + self.ttl_s)


@dataclass(slots=True, kw_only=True)
class Entry:
    """`standing` is a Registration but for an agent that the launcher starts. `runs` are driven
    now; `chosen` is the number of the pool's choice it was last in."""

    name: str
    standing: Standing
    watch: Watch
    known: Known | None = None
    runs: int = 0
    chosen: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def registration(self) -> Registration | None:
        return self.standing if isinstance(self.standing, Registration) else None

    @property
    def kind(self) -> str:
        """Who brought it here: local, enrolled, or as its registration says."""
        if self.registration is None:
            return "local"
        return "enrolled" if isinstance(self.standing, Enrolled) else self.registration.kind

    @property
    def stopped(self) -> bool:
        """It said that it is gone."""
        return isinstance(self.standing, Enrolled) and self.standing.stopped

    @property
    def said(self) -> State | None:
        """The state that follows from what is said of it, whatever was found out."""
        if not self.standing.enabled:
            return State.DISABLED
        return State.STOPPED if self.stopped else None

    @property
    def state(self) -> State:
        return self.said or self.watch.health.state
