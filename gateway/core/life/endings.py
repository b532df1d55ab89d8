"""How a run ends when its agent did not say it: the events, each with its reason code. Pure."""

from dataclasses import replace
from typing import Final

from gateway.core.errors import CoreError
from gateway.core.events import Event, RunFailed, StatusChanged
from gateway.core.record import Run
from gateway.core.status import RunStatus

_DEADLINE: Final = "deadline"
CANCELLED: Final = StatusChanged(status=RunStatus.CANCELLED, reason="cancelled_by_caller")
INTERRUPTED: Final = RunFailed(
    message="the agent's server was stopped; continue the session to go on", reason="interrupted"
)
AGENT_LOST: Final = RunFailed(message="the agent ended without a result", reason="agent_lost")
UNCONFIRMED: Final = RunFailed(
    message="the agent did not confirm the cancel", reason="cancel_unconfirmed"
)


def failure_of(exc: Exception) -> RunFailed:
    """The end of a run whose driver raised; only our own errors are told to callers."""
    if isinstance(exc, CoreError):
        return RunFailed(message=str(exc), reason=exc.code)
    return RunFailed(message="the driver failed; see the log", reason="driver_error")


def overdue(seconds: float) -> RunFailed:
    """The end of a run that met its deadline."""
    return RunFailed(message=f"no end within {seconds:g} s of running", reason=_DEADLINE)


def cancelled(event: Event) -> Event:
    """Whatever the agent says last, an accepted cancel ends the run as cancelled."""
    usage = getattr(event, "usage", None)
    return replace(CANCELLED, extra={"usage": usage}) if usage else CANCELLED


def takes_children_along(run: Run) -> bool:
    """Whether a run's end is the end of those asked for from within it too.

    Somebody stopped it, or it took too long: nobody waits for them any more. A run that completed
    or failed by itself leaves them to go on.
    """
    overdue = run.error is not None and run.error.reason == _DEADLINE
    return run.status is RunStatus.CANCELLED or (run.status is RunStatus.FAILED and overdue)
