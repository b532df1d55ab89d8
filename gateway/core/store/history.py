"""The events that a task shows, read by their index from the end: its cost is what is shown.

Statements of a connection, and the same choice from events in memory.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from gateway.core.status import RunStatus
from gateway.core.store.entry import Recorded
from gateway.core.store.rows import SHOWN
from gateway.core.store.schema import events

_MESSAGE: Final = 1  # events.shown
_ASKING: Final = ("input_required", "auth_required")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to read of a run, up to the event `upto`: its last `messages` events that say
    something, the newest that asks when `asking`, and the events `artifacts` by their seq."""

    run_id: str
    upto: int
    messages: int = 0
    asking: bool = False
    artifacts: tuple[int, ...] = ()

    @property
    def nothing(self) -> bool:
        return not self.upto or not (self.messages or self.asking or self.artifacts)


def read_shown(connection: sa.Connection, wanted: Sequence[Wanted]) -> dict[str, list[Recorded]]:
    """The events wanted, in order, by run."""
    return {want.run_id: _read(connection, want) for want in wanted}


def _read(connection: sa.Connection, wanted: Wanted) -> list[Recorded]:
    of_run = sa.select(events).where(events.c.run_id == wanted.run_id, events.c.seq <= wanted.upto)
    said = of_run.where(events.c.shown == _MESSAGE).order_by(events.c.seq.desc())
    found: list[Any] = []
    if wanted.messages:
        found += connection.execute(said.limit(wanted.messages))
    if wanted.asking:
        found += connection.execute(said.where(events.c.type.in_(_ASKING)).limit(1))
    if wanted.artifacts:
        found += connection.execute(of_run.where(events.c.seq.in_(wanted.artifacts)))
    return _in_order(
        Recorded(seq=r.seq, ts=r.ts, type=r.type, status=RunStatus(r.status), data=r.data)
        for r in found
    )


def choose_shown(from_first: Iterable[Recorded], wanted: Wanted) -> list[Recorded]:
    """The events wanted out of all events of a run."""
    there = [event for event in from_first if event.seq <= wanted.upto]
    said = [event for event in there if SHOWN.get(event.type) == _MESSAGE]
    found = said[-wanted.messages :] if wanted.messages else []
    if wanted.asking:
        found += [event for event in said if event.type in _ASKING][-1:]
    if wanted.artifacts:
        found += [event for event in there if event.seq in wanted.artifacts]
    return _in_order(found)


def _in_order(found: Iterable[Recorded]) -> list[Recorded]:
    by_seq = {event.seq: event for event in found}
    return [by_seq[seq] for seq in sorted(by_seq)]
