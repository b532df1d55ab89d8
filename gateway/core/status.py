"""The eight statuses of a run, the one table of their transitions, and their A2A names.

Pure; nobody but `record.apply` moves a status, and it asks `advance`.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class RunStatus(StrEnum):
    """Where a run stands. The names are the contract's; callers branch on them."""

    QUEUED = "queued"
    RUNNING = "running"
    INPUT_REQUIRED = "input_required"
    AUTH_REQUIRED = "auth_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


_ENDS = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.REJECTED})

# A run that waits may also end directly: its agent can give up, be cancelled, or (foreign
# agents) complete without saying that it went on.
TRANSITIONS: Final[Mapping[RunStatus, frozenset[RunStatus]]] = MappingProxyType(
    {
        RunStatus.QUEUED: frozenset({RunStatus.RUNNING}) | (_ENDS - {RunStatus.COMPLETED}),
        RunStatus.RUNNING: frozenset({RunStatus.INPUT_REQUIRED, RunStatus.AUTH_REQUIRED}) | _ENDS,
        RunStatus.INPUT_REQUIRED: frozenset({RunStatus.RUNNING}) | _ENDS,
        RunStatus.AUTH_REQUIRED: frozenset({RunStatus.RUNNING}) | _ENDS,
        RunStatus.COMPLETED: frozenset(),
        RunStatus.FAILED: frozenset(),
        RunStatus.CANCELLED: frozenset(),
        RunStatus.REJECTED: frozenset(),
    }
)

TERMINAL: Final = frozenset(status for status, after in TRANSITIONS.items() if not after)
ACTIVE: Final = frozenset(RunStatus) - TERMINAL
WAITING: Final = frozenset({RunStatus.INPUT_REQUIRED, RunStatus.AUTH_REQUIRED})

# A2A 1.0 names (specification, TaskState); a test compares both ways with the protobuf enum.
TASK_STATES: Final[Mapping[RunStatus, str]] = MappingProxyType(
    {
        RunStatus.QUEUED: "TASK_STATE_SUBMITTED",
        RunStatus.RUNNING: "TASK_STATE_WORKING",
        RunStatus.INPUT_REQUIRED: "TASK_STATE_INPUT_REQUIRED",
        RunStatus.AUTH_REQUIRED: "TASK_STATE_AUTH_REQUIRED",
        RunStatus.COMPLETED: "TASK_STATE_COMPLETED",
        RunStatus.FAILED: "TASK_STATE_FAILED",
        RunStatus.CANCELLED: "TASK_STATE_CANCELED",
        RunStatus.REJECTED: "TASK_STATE_REJECTED",
    }
)
STATUS_OF_STATE: Final[Mapping[str, RunStatus]] = MappingProxyType(
    {state: status for status, state in TASK_STATES.items()}
)


class IllegalTransitionError(Exception):
    """A run cannot go from this status to that one; nothing was changed."""

    def __init__(self, before: RunStatus, after: RunStatus) -> None:
        super().__init__(f"a run cannot go from {before} to {after}")
        self.before = before
        self.after = after


def advance(before: RunStatus, after: RunStatus) -> RunStatus:
    """`after`, when the table allows it (staying is always allowed while active).

    Raises: IllegalTransitionError.
    """
    if after is before and before not in TERMINAL:
        return after
    if after not in TRANSITIONS[before]:
        raise IllegalTransitionError(before, after)
    return after


def lifecycle_diagram() -> str:
    """The Mermaid state diagram of `TRANSITIONS`, as the README prints it."""
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    for before, after in TRANSITIONS.items():
        lines += [f"    {before} --> {status}" for status in RunStatus if status in after]
    lines += [f"    {status} --> [*]" for status in RunStatus if status in TERMINAL]
    return "\n".join(lines)
