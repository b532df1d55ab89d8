"""The statements of a log: synchronous functions of a connection, the same on both engines.

Each runs inside one transaction of its engine. One that raises a CoreError has changed nothing.
"""

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.core.errors import (
    FencedError,
    InvalidInputError,
    RequestConflictError,
)
from gateway.core.record import Remote, Run, Session
from gateway.core.status import RunStatus
from gateway.core.store import rows
from gateway.core.store.chunks import chunk_rows_of
from gateway.core.store.entry import Entry, Recorded, RequestKey
from gateway.core.store.schema import (
    ACTIVE_STATUSES,
    SCHEMA_VERSION,
    chunks,
    events,
    facts,
    metadata,
    name_counters,
    request_keys,
    runs,
    sessions,
)


def insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that can say what to do on a conflict; both engines say it alike."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def prepare(connection: sa.Connection) -> str:
    """Make the tables where they are missing; returns the database's `log_id`."""
    metadata.create_all(connection)
    for key, value in (("log_id", str(uuid.uuid4())), ("schema_version", str(SCHEMA_VERSION))):
        connection.execute(
            insert(connection, facts).values(key=key, value=value).on_conflict_do_nothing()
        )
    return connection.scalar(sa.select(facts.c.value).where(facts.c.key == "log_id")) or ""


# -- runs and sessions ---------------------------------------------------------------------------


def create_run(
    connection: sa.Connection, run: Run, session: Session, key: RequestKey | None, *, name: bool
) -> Run:
    """The run that `key` already made, else `run`, stored with its session and agent name."""
    if key is not None and (made := _made_by(connection, key)) is not None:
        return made
    stored = _ensure_session(connection, session, name=name)
    connection.execute(sa.insert(runs).values(rows.run_row(run) | {"nickname": stored.nickname}))
    if key is not None:
        _keep_key(connection, key, run.id)
    return rows.run_of(_get_row(connection, run.id))


def keep_key(connection: sa.Connection, key: RequestKey, run_id: str) -> bool:
    """Note a follow-up's key; False when it was used before with the same content."""
    if _made_by(connection, key) is not None:
        return False
    _keep_key(connection, key, run_id)
    return True


def drop_key(connection: sa.Connection, key: RequestKey) -> None:
    connection.execute(
        sa.delete(request_keys).where(
            request_keys.c.scope == key.scope, request_keys.c.key == key.key
        )
    )


def get_run(connection: sa.Connection, run_id: str) -> Run | None:
    row = connection.execute(sa.select(runs).where(runs.c.id == run_id)).mappings().first()
    return None if row is None else rows.run_of(row)


def get_session(connection: sa.Connection, session_id: str) -> Session | None:
    row = (
        connection.execute(sa.select(sessions).where(sessions.c.id == session_id))
        .mappings()
        .first()
    )
    return None if row is None else rows.session_of(row)


def claim_active(connection: sa.Connection, owner: str) -> list[Run]:
    """Every active run, now owned by `owner` under a new epoch, oldest first."""
    connection.execute(
        sa.update(runs).where(ACTIVE_STATUSES).values(owner=owner, epoch=runs.c.epoch + 1)
    )
    found = connection.execute(
        sa.select(runs).where(ACTIVE_STATUSES).order_by(runs.c.created_at, runs.c.id)
    )
    return [rows.run_of(row) for row in found.mappings()]


# -- events --------------------------------------------------------------------------------------


def append(
    connection: sa.Connection,
    before: Run,
    after: Run,
    entries: Sequence[Entry],
    backend_session_id: str | None,
) -> None:
    """Store `entries` and move the run from `before` to `after`. Raises: FencedError."""
    moved = connection.execute(
        sa.update(runs)
        .where(
            runs.c.id == before.id,
            runs.c.epoch == before.epoch,
            runs.c.last_seq == before.last_seq,
        )
        .values(rows.changes(before, after))
    )
    if moved.rowcount != 1:
        raise FencedError(before.id)
    if entries:
        connection.execute(sa.insert(events), [_event_row(before.id, entry) for entry in entries])
    if chunk_rows := [row for entry in entries for row in chunk_rows_of(before.id, entry)]:
        connection.execute(sa.insert(chunks), chunk_rows)
    moved_to = after.remote if _whereabouts(after) != _whereabouts(before) else None
    if backend_session_id is not None or moved_to is not None:
        _bind_session(connection, after, backend_session_id, moved_to)


def read_events(
    connection: sa.Connection, run_id: str, after: int, limit: int, types: Sequence[str]
) -> list[Recorded]:
    query = sa.select(events).where(events.c.run_id == run_id, events.c.seq > after)
    if types:
        query = query.where(events.c.type.in_(types))
    found = connection.execute(query.order_by(events.c.seq).limit(limit))
    return [
        Recorded(seq=r.seq, ts=r.ts, type=r.type, status=RunStatus(r.status), data=r.data)
        for r in found
    ]


# -- their parts ---------------------------------------------------------------------------------


def _get_row(connection: sa.Connection, run_id: str) -> Any:
    return connection.execute(sa.select(runs).where(runs.c.id == run_id)).mappings().one()


def _made_by(connection: sa.Connection, key: RequestKey) -> Run | None:
    found = connection.execute(
        sa.select(request_keys).where(
            request_keys.c.scope == key.scope, request_keys.c.key == key.key
        )
    ).first()
    if found is None:
        return None
    if found.digest != key.digest:
        raise RequestConflictError(key.key, found.run_id)
    return rows.run_of(_get_row(connection, found.run_id))


def _keep_key(connection: sa.Connection, key: RequestKey, run_id: str) -> None:
    connection.execute(
        sa.insert(request_keys).values(
            scope=key.scope, key=key.key, digest=key.digest, run_id=run_id
        )
    )


def _ensure_session(connection: sa.Connection, session: Session, *, name: bool) -> Session:
    """The stored session, made now when it is new."""
    known = get_session(connection, session.id)
    if known is not None:
        return known
    new = rows.session_row(session)
    if session.nickname is None and name:
        new["nickname"] = _next_name(connection, session)
    stored = connection.execute(insert(connection, sessions).values(new).on_conflict_do_nothing())
    if stored.rowcount != 1:
        raise InvalidInputError(
            f"agent name {session.nickname!r} is in use in {session.cwd}; choose another, or "
            "resume its session",
            "nickname",
        )
    return rows.session_of(new)


def _next_name(connection: sa.Connection, session: Session) -> str:
    while True:
        last = connection.scalar(
            insert(connection, name_counters)
            .values(principal=session.principal, cwd=session.cwd or "", last=1)
            .on_conflict_do_update(
                index_elements=["principal", "cwd"], set_={"last": name_counters.c.last + 1}
            )
            .returning(name_counters.c.last)
        )
        taken = connection.scalar(
            sa.select(sessions.c.id).where(
                sessions.c.principal == session.principal,
                sessions.c.cwd == session.cwd,
                sessions.c.nickname == f"agent{last}",
            )
        )
        if taken is None:
            return f"agent{last}"


def _whereabouts(run: Run) -> tuple[str | None, str | None] | None:
    """What a session keeps of its run's remote; `src_seq` moves with every event and is not it."""
    return None if run.remote is None else (run.remote.task_id, run.remote.context_id)


def _bind_session(
    connection: sa.Connection, run: Run, backend_session_id: str | None, remote: Remote | None
) -> None:
    changed: dict[str, Any] = {"updated_at": run.updated_at}
    if backend_session_id is not None:
        changed["backend_session_id"] = backend_session_id
    if remote is not None:
        changed["remote"] = rows.remote_text(remote)
    connection.execute(sa.update(sessions).where(sessions.c.id == run.context_id).values(changed))


def _event_row(run_id: str, entry: Entry) -> dict[str, Any]:
    recorded = entry.recorded
    return {
        "run_id": run_id,
        "seq": recorded.seq,
        "ts": recorded.ts,
        "type": recorded.type,
        "status": recorded.status.value,
        "src_seq": entry.src_seq,
        "data": recorded.data,
    }
