"""How an agent does: what came of the last calls to it, folded into a state. Pure.

Times are unix microseconds, given as arguments. Knows no connection.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from gateway.core.clock import iso
from gateway.core.json import JsonObject

OPEN_AFTER: Final = 3  # calls in a row without a connection; one or two are a restart
FAULT_US: Final = 60_000_000  # how long a fault that is no lack of connection is believed in


class State(StrEnum):
    """`disabled` and `stopped` are said of an agent, the others are found out."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    FAILING = "failing"
    OPEN = "open"  # the circuit is: new runs fail at once, or go to another of its pool
    DISABLED = "disabled"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`latency_ms`: of the last fetch of its card; `retry_at`: when it is looked at again."""

    state: State = State.UNKNOWN
    checked_at: int | None = None
    latency_ms: float | None = None
    error: str | None = None
    retry_at: int | None = None
    failures: int = 0

    @property
    def down(self) -> bool:
        """Whether the last call found nobody there."""
        return self.failures > 0

    def standing(self, *, at: int) -> State:
        """The state for a pool's choice: what an agent was refused for a while ago it may have put
        right, and nothing but a run finds that out."""
        if self.state is State.FAILING and not self.down and at - (self.checked_at or 0) > FAULT_US:
            return State.UNKNOWN
        return self.state

    def worked(self, *, at: int, latency_ms: float | None = None) -> "Health":
        """Something was heard of the agent."""
        latency = self.latency_ms if latency_ms is None else latency_ms
        return Health(state=State.HEALTHY, checked_at=at, latency_ms=latency)

    def unreachable(self, error: str, *, at: int) -> "Health":
        """No connection to it."""
        failures = self.failures + 1
        return replace(
            self,
            state=State.OPEN if failures >= OPEN_AFTER else State.FAILING,
            checked_at=at,
            error=error,
            failures=failures,
        )

    def faulty(self, error: str, *, at: int) -> "Health":
        """It is there, and cannot be used: its card is wrong, or it refuses the credentials."""
        return Health(state=State.FAILING, checked_at=at, latency_ms=self.latency_ms, error=error)

    def retried(self, at: int | None) -> "Health":
        return replace(self, retry_at=at)

    def shown(self, said: State | None = None) -> JsonObject:
        """The `health` of an agent in JSON; `said` overrides what was found out."""
        return {
            "state": str(said or self.state),
            "checked_at": None if self.checked_at is None else iso(self.checked_at),
            "latency_ms": self.latency_ms,
            "error": self.error,
            "retry_at": None if self.retry_at is None else iso(self.retry_at),
        }
