"""What the log writes, many at once: runs that begin and runs that move on, in one transaction.

Statements like those of `statements`. Each kind of row goes in by one statement for all runs: what
a statement costs beside its rows (60 us) is paid once a commit, not once a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from gateway.core.errors import CoreError, FencedError
from gateway.core.record import Run, Session
from gateway.core.store import rows
from gateway.core.store.chunks import chunk_rows_of
from gateway.core.store.entry import Entry, RequestKey
from gateway.core.store.keys import key_row, run_of_key
from gateway.core.store.labels import label_rows
from gateway.core.store.many import Many, insert_many
from gateway.core.store.schema import (
    chunks,
    events,
    request_keys,
    run_inputs,
    run_labels,
    runs,
    sessions,
)
from gateway.core.store.sessions import bind_session, ensure_session
from gateway.core.store.statements import get_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A new run, with its session when that is new (`name`: give it one of agent1..N)."""

    run: Run
    session: Session
    key: RequestKey | None = None
    name: bool = False
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Events that move a run from `before` to `after`. `again`: it may have been stored already,
    by a commit whose answer was lost."""

    before: Run
    after: Run
    entries: Sequence[Entry] = ()
    backend_session_id: str | None = None
    again: bool = False


Write: TypeAlias = Create | Append
Outcome: TypeAlias = Run | CoreError  # of a creation the run it led to, of an append `after`

_SAME_RUN: Final = (
    runs.c.id == sa.bindparam("b_id"),
    runs.c.epoch == sa.bindparam("b_epoch"),
    runs.c.last_seq == sa.bindparam("b_last_seq"),
)


def _update(names: Sequence[str]) -> Many:
    moved: dict[str, sa.BindParameter[Any]] = {name: sa.bindparam(f"b_to_{name}") for name in names}
    statement = sa.update(runs).where(*_SAME_RUN).values(moved)
    return Many(lambda _: statement)


_MOVE: Final = _update(rows.MOVING)
_TURN: Final = _update((*rows.MOVING, *rows.TURNING))
_INSERT_SESSION: Final = insert_many(sessions, or_leave=True)
_INSERT_RUN: Final = insert_many(runs)
_INSERT_INPUT: Final = insert_many(run_inputs)
_INSERT_LABEL: Final = insert_many(run_labels)
_INSERT_EVENT: Final = insert_many(events)
_INSERT_CHUNK: Final = insert_many(chunks)
# Taken by another process meanwhile, it breaks the transaction; run again, we find that one's run.
_TAKE_KEY: Final = insert_many(request_keys)
_KEEP_KEY: Final = insert_many(request_keys, or_leave=True)


def weight(write: Write) -> int:
    """How much there is to write, in rows of about 50 us: a run, an event, 16 KB of payload."""
    if isinstance(write, Create):
        return 1
    payloads = sum([len(p.content) for entry in write.entries for p in entry.payloads])
    return 1 + len(write.entries) // 4 + payloads // 16384


def carry_out(connection: sa.Connection, writes: Sequence[Write]) -> list[Outcome]:
    """Store everything; what is refused is told by an error in its place."""
    outcomes: dict[int, Outcome] = {}
    creates = [(n, write) for n, write in enumerate(writes) if isinstance(write, Create)]
    appends = [(n, write) for n, write in enumerate(writes) if isinstance(write, Append)]
    if creates:
        _create_all(connection, creates, outcomes)
    if appends:
        _append_all(connection, appends, outcomes)
    return [outcomes[n] for n in range(len(writes))]


# -- runs that begin -----------------------------------------------------------------------------


def _create_all(
    connection: sa.Connection, creates: list[tuple[int, Create]], outcomes: dict[int, Outcome]
) -> None:
    stored: list[tuple[Create, Run]] = []
    new_sessions: list[dict[str, Any]] = []
    made_now: dict[
        str, Run
    ] = {}  # their rows are not there yet; a second one with a key finds them
    for n, create in creates:
        try:
            if (made := _made_before(connection, create, made_now)) is not None:
                outcomes[n] = made
                continue
            run = _placed(connection, create, new_sessions)
        except CoreError as exc:
            outcomes[n] = exc
            continue
        if create.key is not None:
            _TAKE_KEY.execute(connection, [key_row(create.key, run.id)])
        made_now[run.id] = outcomes[n] = run
        stored.append((create, run))
    if new_sessions:
        _INSERT_SESSION.execute(connection, new_sessions)
    if stored:
        _INSERT_RUN.execute(connection, [rows.run_row(run, c.owner) for c, run in stored])
        _INSERT_INPUT.execute(connection, [rows.input_row(run) for _, run in stored])
    if labels := [row for _, run in stored if run.request.labels for row in label_rows(run)]:
        _INSERT_LABEL.execute(connection, labels)


def _made_before(
    connection: sa.Connection, create: Create, made_now: Mapping[str, Run]
) -> Run | None:
    """The run that the creation's key led to before."""
    made = None if create.key is None else run_of_key(connection, create.key)
    return None if made is None else made_now.get(made) or get_run(connection, made)


def _placed(connection: sa.Connection, create: Create, new_sessions: list[dict[str, Any]]) -> Run:
    """The run with its session's name. A session without one needs no look at what is stored."""
    if not create.name and create.session.nickname is None:
        new_sessions.append(rows.session_row(create.session))
        return create.run
    nickname = ensure_session(connection, create.session, name=create.name)
    return replace(create.run, nickname=nickname)


# -- runs that move on ---------------------------------------------------------------------------


def _append_all(
    connection: sa.Connection, appends: list[tuple[int, Append]], outcomes: dict[int, Outcome]
) -> None:
    doubtful = {n for n, append in appends if append.again}
    done = _arrived(connection, [pair for pair in appends if pair[0] in doubtful])
    todo = [pair for pair in appends if pair[0] not in done]
    moves = [rows.move_of(a.before, a.after) for _, a in todo if not rows.turns(a.before, a.after)]
    turns = [rows.turn_of(a.before, a.after) for _, a in todo if rows.turns(a.before, a.after)]
    matched = 0
    for statement, values in ((_MOVE, moves), (_TURN, turns)):
        if values:
            matched += statement.execute(connection, values)
    # asyncpg counts nothing for many; then, and when one did not match, look who did.
    arrived = {n for n, _ in todo} if matched == len(todo) else _arrived(connection, todo)
    for n, append in appends:
        fenced = n not in arrived and n not in done
        outcomes[n] = FencedError(append.before.id) if fenced else append.after
    _store_events(connection, [append for n, append in todo if n in arrived])


def _arrived(connection: sa.Connection, appends: list[tuple[int, Append]]) -> set[int]:
    """Those whose runs stand where they lead to."""
    if not appends:
        return set()
    ids = [append.before.id for _, append in appends]
    found = connection.execute(
        sa.select(runs.c.id, runs.c.epoch, runs.c.last_seq).where(runs.c.id.in_(ids))
    )
    stands = {row.id: (row.epoch, row.last_seq) for row in found}
    return {
        n
        for n, append in appends
        if stands.get(append.after.id) == (append.after.epoch, append.after.last_seq)
    }


def _store_events(connection: sa.Connection, appends: list[Append]) -> None:
    event_rows = [
        rows.event_row(append.after.id, entry) for append in appends for entry in append.entries
    ]
    if event_rows:
        _INSERT_EVENT.execute(connection, event_rows)
    chunk_rows = [
        row
        for append in appends
        for entry in append.entries
        if entry.payloads
        for row in chunk_rows_of(append.after.id, entry)
    ]
    if chunk_rows:
        _INSERT_CHUNK.execute(connection, chunk_rows)
    key_rows = [
        key_row(entry.key, append.after.id)
        for append in appends
        for entry in append.entries
        if entry.key is not None
    ]
    if key_rows:
        _KEEP_KEY.execute(connection, key_rows)
    for append in appends:
        moved_to = append.after.remote if _moved_away(append) else None
        if append.backend_session_id is not None or moved_to is not None:
            bind_session(connection, append.after, append.backend_session_id, moved_to)


def _moved_away(append: Append) -> bool:
    """True when the session has something to keep of its run's remote; `src_seq` moves with
    every event and is not it."""
    before, after = append.before.remote, append.after.remote
    if after is None or after is before:
        return False
    return before is None or (before.task_id, before.context_id) != (
        after.task_id,
        after.context_id,
    )
