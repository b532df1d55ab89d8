"""What a foreign agent says, in the order in which a run's record can take it. Pure.

The record goes from one wait to another only through work, and every request that goes away is
said to; such agents do neither. Knows no stream.
"""

from collections.abc import Sequence

from gateway.core.events import AuthRequired, Event, InputRequired, StatusChanged
from gateway.core.record import Run, resolutions
from gateway.core.status import RunStatus


def lawful(run: Run, event: Event) -> Sequence[Event]:
    """`event`, behind what has to be said of `run` before it."""
    match event:
        case StatusChanged(status=RunStatus.RUNNING, resolved=None) if run.pending:
            # It works again without our answer: somebody else's word, or it asks no more.
            return [*_withdrawn(run, ()), event]
        case InputRequired():
            kept = [str(item.get("request_id")) for item in event.pending]
            return [*_withdrawn(run, kept), *_at_work(run), event]
        case AuthRequired():
            return [*_withdrawn(run, ()), event]
        case _:
            return [event]


def _withdrawn(run: Run, kept: Sequence[str]) -> Sequence[Event]:
    gone = [item.request_id for item in run.pending if item.request_id not in kept]
    return resolutions(run, gone, how="withdrawn")


def _at_work(run: Run) -> Sequence[Event]:
    if run.status is not RunStatus.AUTH_REQUIRED:
        return ()
    return [StatusChanged(status=RunStatus.RUNNING, reason="asked_anew")]
