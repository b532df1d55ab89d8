"""How alive a run looks, beside its status: when it last said something, and whether it is stuck.

Pure. Liveness is computed when it is asked for and changes nothing: silence is no failure.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gateway.core.clock import iso
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.status import WAITING, RunStatus

# Coding agents are silent for minutes while a test suite runs; ten without a word is worth a look.
STALL_AFTER_S: Final = 600.0

Phase: TypeAlias = Literal["queued", "working", "waiting", "cancelling", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """`last_event_at`: unix microseconds of the run's last event, None before the first.

    `stalled`: it is running and has been silent for longer than the server's `stall_after_s`. A
    run that waits for somebody never stalls.
    """

    last_event_at: int | None
    phase: Phase
    stalled: bool

    def to_json(self) -> JsonObject:
        """As tasks show it: `last_event_at` (ISO), `phase`, `stalled`."""
        at = None if self.last_event_at is None else iso(self.last_event_at)
        return {"last_event_at": at, "phase": self.phase, "stalled": self.stalled}


def liveness(run: Run, *, at: int, stall_after_s: float) -> Liveness:
    """The liveness of `run` at the time `at`."""
    return Liveness(
        last_event_at=run.updated_at if run.last_seq else None,
        phase=_phase(run),
        stalled=stall_due(run, stall_after_s) <= at,
    )


def stall_due(run: Run, stall_after_s: float) -> float:
    """When (unix microseconds) `run` counts as stalled if it stays silent; infinity for never."""
    if run.status is not RunStatus.RUNNING:
        return float("inf")
    return run.updated_at + stall_after_s * 1_000_000


def _phase(run: Run) -> Phase:
    if run.terminal:
        return "ended"
    if run.cancel_requested_at is not None:
        return "cancelling"
    if run.status in WAITING:
        return "waiting"
    return "queued" if run.status is RunStatus.QUEUED else "working"
