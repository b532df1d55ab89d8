"""What is let go of: ended runs past their time, and the oldest of them where room is short.

Statements like those of `statements`. Each call takes one small batch, oldest first, so that it
holds up no append for long; the caller comes again while there is more. A run that has not ended
is never touched, and a session goes with its last run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from gateway.core.store.dialect import insert
from gateway.core.store.mail import drop_oldest, kept_letters
from gateway.core.store.schema import chunks, events, facts, mail, runs, sessions

# A batch takes the writer 3 ms (99 % below 5) in a store of 100,000 runs, and one of payloads 5 to 12;
# a single event of 10 MB is taken whole, in 35 ms.
RUNS_BATCH: Final = 20  # runs of one batch
EVENTS_BATCH: Final = 200  # rows of one batch: events, and messages of sessions that go
CHUNKS_BATCH: Final = 16  # payload rows of 64 KB of one batch
RECORD_BYTES: Final = 2000  # of a run without events, with its keys in the indexes
EMPTIED_KEY: Final = "emptied_until"  # in facts: completed_at of the newest run without events

NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
_ENDED: Final = runs.c.completed_at.is_not(None)
_OLDEST: Final = (
    sa.select(runs.c.id, runs.c.context_id, runs.c.completed_at, runs.c.first_seq, runs.c.last_seq)
    .where(_ENDED)
    .order_by(runs.c.completed_at, runs.c.id)
    .limit(RUNS_BATCH)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one batch took: runs that lost events, runs that are gone, and about how many bytes.

    Nothing of either: there is nothing left to take.
    """

    emptied: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    freed: int = 0

    @property
    def anything(self) -> bool:
        return bool(self.emptied or self.deleted)


def sweep_older(connection: sa.Connection, before: int) -> Swept:
    """A batch of the runs that ended before `before` (unix microseconds)."""
    return _let_go(
        connection, connection.execute(_OLDEST.where(runs.c.completed_at < before)).all()
    )


def sweep_oldest(connection: sa.Connection) -> Swept:
    """A batch of what ended longest ago, whenever that was: events and payloads first, records
    (with their results) only when no ended run has events left."""
    key = facts.c.key == EMPTIED_KEY
    since = int(connection.scalar(sa.select(facts.c.value).where(key)) or 0)
    full = connection.execute(
        _OLDEST.where(runs.c.completed_at >= since, runs.c.first_seq <= runs.c.last_seq)
    ).all()
    if not full:
        return _let_go(connection, connection.execute(_OLDEST).all())
    whole = _fitting(connection, full)
    if not whole:
        return _shorten(connection, full[0])
    until = str(whole[-1].completed_at)
    connection.execute(
        insert(connection, facts)
        .values(key=EMPTIED_KEY, value=until)
        .on_conflict_do_update(index_elements=["key"], set_={"value": until})
    )
    ids = [run.id for run in whole]
    freed = _length(connection, events.c.run_id.in_(ids), chunks.c.run_id.in_(ids))
    connection.execute(sa.delete(events).where(events.c.run_id.in_(ids)))
    connection.execute(
        sa.update(runs).where(runs.c.id.in_(ids)).values(first_seq=runs.c.last_seq + 1)
    )
    return Swept(emptied=tuple(ids), freed=freed)


def stored_bytes(connection: sa.Connection) -> int:
    """What the database takes, about. SQLite: its pages in use, free ones within the file left
    out. PostgreSQL: the data of events, payloads and mail, as what is dead there is no file's size."""
    if connection.dialect.name == "sqlite":
        pages, free, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size
    return sum(
        connection.scalar(sa.select(sa.func.sum(sa.func.octet_length(table.c.data)))) or 0
        for table in (events, chunks, mail)
    )


# -- one batch -----------------------------------------------------------------------------------


def _let_go(connection: sa.Connection, oldest: Sequence[Any]) -> Swept:
    """Delete the first of `oldest`, with all that is theirs."""
    if not oldest:
        return Swept()
    letters = _letters_of(connection, oldest)
    whole = _fitting(connection, oldest, letters)
    if not whole:
        first = oldest[0]
        if letters.get(first.context_id, 0) > EVENTS_BATCH:
            drop_oldest(connection, first.context_id, EVENTS_BATCH)
            return Swept(emptied=(first.id,))
        return _shorten(connection, first)
    ids = [run.id for run in whole]
    freed = _length(connection, events.c.run_id.in_(ids), chunks.c.run_id.in_(ids))
    connection.execute(sa.delete(runs).where(runs.c.id.in_(ids), _ENDED))
    with_runs = sa.exists().where(runs.c.context_id == sessions.c.id)
    contexts = {run.context_id for run in whole}
    connection.execute(sa.delete(sessions).where(sessions.c.id.in_(contexts), ~with_runs))
    return Swept(deleted=tuple(ids), freed=freed + RECORD_BYTES * len(ids))


def _letters_of(connection: sa.Connection, oldest: Sequence[Any]) -> dict[str, int]:
    """How many messages go with the sessions that may go with `oldest`, by session."""
    others = sa.exists().where(
        runs.c.context_id == sessions.c.id, runs.c.id.not_in([run.id for run in oldest])
    )
    going = sa.select(sessions.c.id).where(
        sessions.c.id.in_({run.context_id for run in oldest}), ~others
    )
    return kept_letters(connection, going)


def _fitting(
    connection: sa.Connection, oldest: Sequence[Any], letters: Mapping[str, int] = NOTHING
) -> list[Any]:
    """The first of `oldest` whose events and payloads, and the `letters` of their sessions, are
    together no more than a batch."""
    found = connection.execute(
        sa.select(chunks.c.run_id, sa.func.count())
        .where(chunks.c.run_id.in_([run.id for run in oldest]))
        .group_by(chunks.c.run_id)
    )
    pieces = {row[0]: row[1] for row in found}
    fitting: list[Any] = []
    counted: set[str] = set()
    rows_left, pieces_left = EVENTS_BATCH, CHUNKS_BATCH
    for run in oldest:
        rows_left -= run.last_seq - run.first_seq + 1
        if run.context_id not in counted:
            counted.add(run.context_id)
            rows_left -= letters.get(run.context_id, 0)
        pieces_left -= pieces.get(run.id, 0)
        if rows_left < 0 or pieces_left < 0:
            break
        fitting.append(run)
    return fitting


def _shorten(connection: sa.Connection, run: Any) -> Swept:
    """Drop a batch of the oldest events of a run; at least one, however large it is."""
    upto = min(run.last_seq + 1, run.first_seq + EVENTS_BATCH)
    payloads = sa.select(chunks.c.seq).where(chunks.c.run_id == run.id, chunks.c.seq < upto)
    seqs = connection.scalars(payloads.order_by(chunks.c.seq).limit(CHUNKS_BATCH + 1)).all()
    if len(seqs) > CHUNKS_BATCH:
        upto = max(run.first_seq + 1, seqs[-1])
    dropped = sa.and_(events.c.run_id == run.id, events.c.seq < upto)
    with_them = sa.and_(chunks.c.run_id == run.id, chunks.c.seq < upto)
    freed = _length(connection, dropped, with_them)
    connection.execute(sa.delete(events).where(dropped))
    connection.execute(sa.update(runs).where(runs.c.id == run.id).values(first_seq=upto))
    return Swept(emptied=(run.id,), freed=freed)


def _length(
    connection: sa.Connection, of_events: sa.ColumnElement[bool], of_chunks: sa.ColumnElement[bool]
) -> int:
    """About how many bytes these rows take: characters of events, bytes of payloads."""
    texts = sa.select(sa.func.sum(sa.func.length(events.c.data))).where(of_events)
    pieces = sa.select(sa.func.sum(sa.func.length(chunks.c.data))).where(of_chunks)
    return (connection.scalar(texts) or 0) + (connection.scalar(pieces) or 0)
