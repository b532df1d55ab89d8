"""Sessions as rows: made with their first run, named once in their folder, moved by their runs.

Statements like those of `statements`.
"""

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

from gateway.core.errors import InvalidInputError
from gateway.core.record import Remote, Run, Session
from gateway.core.store import rows
from gateway.core.store.dialect import insert
from gateway.core.store.many import Look, Many
from gateway.core.store.schema import name_counters, sessions

_SESSION: Final = Look(sa.select(sessions).where(sessions.c.id == sa.bindparam("b_id")))


def _binding(*names: str) -> Many:
    moved: dict[str, sa.BindParameter[Any]] = {
        name: sa.bindparam(f"b_to_{name}") for name in (*names, "updated_at")
    }
    statement = sa.update(sessions).where(sessions.c.id == sa.bindparam("b_id")).values(moved)
    return Many(lambda _: statement)


_BIND_BOTH: Final = _binding("backend_session_id", "remote")
_BIND_VENDORS: Final = _binding("backend_session_id")
_BIND_REMOTE: Final = _binding("remote")


def get_session(connection: sa.Connection, session_id: str) -> Session | None:
    row = _SESSION.first(connection, b_id=session_id)
    return None if row is None else rows.session_of(row)


def get_sessions(connection: sa.Connection, ids: Iterable[str]) -> list[Session]:
    found = connection.execute(sa.select(sessions).where(sessions.c.id.in_(list(ids))))
    return [rows.session_of(row) for row in found.mappings()]


def ensure_session(connection: sa.Connection, session: Session, *, name: bool) -> str | None:
    """The agent name of the stored session, which is made now when it is new.

    With `name` a new session that brings none gets the folder's next of agent1..N.
    Raises: InvalidInputError (the name is taken).
    """
    known = connection.execute(
        sa.select(sessions.c.nickname).where(sessions.c.id == session.id)
    ).first()
    if known is not None:
        return known.nickname
    new = rows.session_row(session)
    if session.nickname is None and name:
        new["nickname"] = _next_name(connection, session)
    made = connection.execute(insert(connection, sessions).on_conflict_do_nothing(), new)
    if made.rowcount != 1:
        raise InvalidInputError(
            f"agent name {session.nickname!r} is in use in {session.cwd}; choose another, or "
            "resume its session",
            "nickname",
        )
    return new["nickname"]


def bind_session(
    connection: sa.Connection, run: Run, backend_session_id: str | None, remote: Remote | None
) -> None:
    """Note what a run learned of its session: the vendor's id, or where it lives."""
    row: dict[str, Any] = {"b_id": run.context_id, "b_to_updated_at": run.updated_at}
    row["b_to_backend_session_id"] = backend_session_id
    if remote is None:
        _BIND_VENDORS.execute(connection, [row])
        return
    row["b_to_remote"] = rows.remote_text(remote)
    binding = _BIND_REMOTE if backend_session_id is None else _BIND_BOTH
    binding.execute(connection, [row])


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
