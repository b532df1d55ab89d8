"""The statements of a log: synchronous functions of a connection, the same on both engines.

Each runs inside one transaction of its engine. One that raises a CoreError has changed nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from gateway.core.errors import replay_expired
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.core.store import rows
from gateway.core.store.entry import Recorded
from gateway.core.store.schema import (
    events,
    run_inputs,
    runs,
)

WHOLE_RUN = sa.select(runs, run_inputs).join(run_inputs)
# The same without what may be megabytes: what the run was told, and what it answered.
_LARGE: Final = ("message", "result")
_BRIEF: Final[list[sa.ColumnElement[Any]]] = [
    *[column for column in (*runs.c, *run_inputs.c) if column.name not in _LARGE],
    sa.literal_column("'{}'").label("message"),
    sa.null().label("result"),
]
BRIEF_RUN: Final[sa.Select[Any]] = sa.select(*_BRIEF).join_from(runs, run_inputs)
_ARTIFACT = 2  # events.shown


def get_run(connection: sa.Connection, run_id: str) -> Run | None:
    found = connection.execute(WHOLE_RUN.where(runs.c.id == run_id)).mappings().first()
    return None if found is None else runs_of(connection, [found])[0]


def get_runs(connection: sa.Connection, ids: Sequence[str], *, brief: bool = False) -> list[Run]:
    """The runs of `ids`, in that order."""
    if not ids:
        return []
    wanted: sa.Select[Any] = BRIEF_RUN if brief else WHOLE_RUN
    found = connection.execute(wanted.where(runs.c.id.in_(ids))).mappings()
    by_id = {run.id: run for run in runs_of(connection, found)}
    return [by_id[run_id] for run_id in ids]


def runs_of(connection: sa.Connection, found: Iterable[Any]) -> list[Run]:
    """The runs of rows of WHOLE_RUN, with what they made."""
    whole = list(found)
    artifacts = _artifacts_of(connection, [row["id"] for row in whole if row["artifact_count"]])
    return [rows.run_of(row, artifacts.get(row["id"], ())) for row in whole]


def read_ended(connection: sa.Connection, since: int, after: str, limit: int) -> list[Run]:
    """Runs in the order of their end, from (`since`, `after`) on: time and id of the last one seen."""
    end = runs.c.completed_at
    behind = sa.or_(end > since, runs.c.id > after)
    query = WHOLE_RUN.where(end >= since, behind).order_by(end, runs.c.id).limit(limit)
    return runs_of(connection, connection.execute(query).mappings())


def read_events(
    connection: sa.Connection, run_id: str, after: int, limit: int, types: Sequence[str]
) -> list[Recorded]:
    """Raises: ReplayError when an event after `after` is no longer kept."""
    query = sa.select(events).where(events.c.run_id == run_id, events.c.seq > after)
    if types:
        query = query.where(events.c.type.in_(types))
    found = recorded_of(connection.execute(query.order_by(events.c.seq).limit(limit)))
    if not found or found[0].seq != after + 1:
        first_seq = connection.scalar(sa.select(runs.c.first_seq).where(runs.c.id == run_id))
        if first_seq is not None and first_seq > after + 1:
            raise replay_expired(run_id, first_seq)
    return found


def recorded_of(found: Iterable[Any]) -> list[Recorded]:
    """The events of rows of `events`."""
    return [
        Recorded(seq=r.seq, ts=r.ts, type=r.type, status=RunStatus(r.status), data=r.data)
        for r in found
    ]


def _artifacts_of(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, list[JsonObject]]:
    made: dict[str, list[JsonObject]] = defaultdict(list)
    if run_ids:
        found = connection.execute(
            sa.select(events.c.run_id, events.c.seq, events.c.data)
            .where(events.c.run_id.in_(run_ids), events.c.shown == _ARTIFACT)
            .order_by(events.c.run_id, events.c.seq)
        )
        for row in found:
            made[row.run_id].append(rows.artifact_of(row.seq, row.data))
    return made
