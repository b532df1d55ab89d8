"""Pages of agents, which are sessions by their current run, and the session that a name means.

Knows rows and indexes, no caller. A page is a walk along an index of runs (listing.py chooses it)
that leaves out what is not the current run of its session, so it costs the same for any number of
sessions. Only the runs of the sessions it meets are compared, and a session has few.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from gateway.core import json
from gateway.core.errors import InvalidInputError
from gateway.core.record import Session
from gateway.core.status import ACTIVE, TERMINAL, RunStatus
from gateway.core.store import rows
from gateway.core.store.cursors import read_cursor, write_cursor
from gateway.core.store.engine import Engine
from gateway.core.store.listing import PAGE_MAX, RunQuery, walk
from gateway.core.store.schema import runs, sessions

STEP: Final = 250  # runs met at once; at first twice as many as agents are wanted, at most
ROUNDS: Final = 20  # of them in one page; then a page may have fewer agents than it could

_UNDER_WAY: Final = sorted(ACTIVE - {RunStatus.QUEUED})
_WAITING: Final = sorted(ACTIVE & {RunStatus.QUEUED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A session, and the run by which it is known: the one under way, else the last that waits for
    its turn, else the last. `name` is the session's id where nobody named it."""

    name: str
    session_id: str
    role: str | None
    status: RunStatus
    cwd: str | None
    last_run_id: str
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentQuery:
    """What to list. `idle`: agents of which no run is under way or waits; `status` is then not
    looked at. `limit` is 1..200; `cursor` is of a former page of the same filters."""

    cwd: str | None = None
    backend: str | None = None
    status: RunStatus | None = None
    idle: bool = False
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPage:
    """Agents by their current runs, the newest first. An agent with a new run stands at the front:
    those who go on from page to page do not see it there."""

    agents: list[Agent]
    next_cursor: str | None = None


def cursor_behind(query: AgentQuery, agent: Agent) -> str:
    """The cursor behind `agent` in the list of `query`."""
    return write_cursor(_digest(query), agent.created_at, agent.last_run_id)


def select_agents(connection: sa.Connection, principal: str, query: AgentQuery) -> AgentPage:
    """One page. Raises: InvalidInputError."""
    _check(cwd=query.cwd, cursor=query.cursor)
    since = read_cursor(_digest(query), query.cursor) if query.cursor else None
    limit = max(1, min(query.limit, PAGE_MAX))
    found: list[Agent] = []
    current: dict[str, str] = {}  # by session
    for step in (min(STEP, 2 * limit), *[STEP] * (ROUNDS - 1)):
        met = connection.execute(
            walk(connection, principal, _runs_of(query), since, most=step + 1)
        ).all()
        agents = _agents_of(connection, [row.id for row in met[:step]])
        unknown = {agent.session_id for agent in agents} - current.keys()
        current |= _current(connection, unknown)
        for agent in agents:
            if current[agent.session_id] != agent.last_run_id:
                continue
            if len(found) == limit:
                return AgentPage(agents=found, next_cursor=cursor_behind(query, found[-1]))
            found.append(agent)
        if len(met) <= step:
            return AgentPage(agents=found)
        since = (met[step - 1].at, met[step - 1].id)
    assert since is not None
    return AgentPage(agents=found, next_cursor=write_cursor(_digest(query), *since))


def find_sessions(
    connection: sa.Connection, principal: str, name: str, cwd: str | None = None
) -> list[Session]:
    """The sessions that an agent's name means, in `cwd` or anywhere; two are enough of them.

    A session that nobody named goes by its id. Raises: InvalidInputError.
    """
    _check(agent_name=name, cwd=cwd)
    mine = sa.select(sessions).where(sessions.c.principal == principal)
    if cwd is not None:
        mine = mine.where(sessions.c.cwd == cwd)
        named = mine.where(sessions.c.nickname == name)
    else:
        named = mine.where(sessions.c.id.in_(_two_named(connection, principal, name)))
    found = connection.execute(named).mappings().all()
    if not found:
        found = connection.execute(mine.where(sessions.c.id == name)).mappings().all()
    return [rows.session_of(row) for row in found]


def _two_named(connection: sa.Connection, principal: str, name: str) -> list[str]:
    """By the runs: the index of sessions leads by folder. Runs of one session alone are passed."""
    one = (
        sa.select(runs.c.context_id)
        .where(runs.c.principal == principal, runs.c.nickname == name)
        .limit(1)
    )
    first = connection.scalar(one)
    if first is None:
        return []
    other = connection.scalar(one.where(runs.c.context_id != first))
    return [first] if other is None else [first, other]


def _runs_of(query: AgentQuery) -> RunQuery:
    statuses = () if query.status is None else (query.status,)
    if query.idle:
        statuses = tuple(sorted(TERMINAL))
    return RunQuery(cwd=query.cwd, backend=query.backend, statuses=statuses)


def _agents_of(connection: sa.Connection, ids: list[str]) -> list[Agent]:
    """The runs of `ids`, in that order, as if each were the current one of its session."""
    if not ids:
        return []
    columns = (
        runs.c.id,
        runs.c.nickname,
        runs.c.context_id,
        runs.c.role,
        runs.c.status,
        runs.c.cwd,
        runs.c.created_at,
        runs.c.updated_at,
    )
    found = connection.execute(sa.select(*columns).where(runs.c.id.in_(ids)))
    by_id = {row.id: row for row in found}
    return [_agent_of(by_id[run_id]) for run_id in ids]


def _agent_of(row: Any) -> Agent:
    return Agent(
        name=row.nickname or row.context_id,
        session_id=row.context_id,
        role=row.role,
        status=RunStatus(row.status),
        cwd=row.cwd,
        last_run_id=row.id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _current(connection: sa.Connection, contexts: Iterable[str]) -> dict[str, str]:
    """The current run of each of these sessions."""
    wanted = list(contexts)
    if not wanted:
        return {}
    rank = sa.case((runs.c.status.in_(_UNDER_WAY), 0), (runs.c.status.in_(_WAITING), 1), else_=2)
    place = sa.func.row_number().over(
        partition_by=runs.c.context_id,
        order_by=(rank, runs.c.created_at.desc(), runs.c.id.desc()),
    )
    placed = (
        sa.select(runs.c.context_id, runs.c.id, place.label("place"))
        .where(runs.c.context_id.in_(wanted))
        .subquery()
    )
    first = sa.select(placed.c.context_id, placed.c.id).where(placed.c.place == 1)
    return {row.context_id: row.id for row in connection.execute(first)}


def _check(**texts: str | None) -> None:
    for name, text in texts.items():
        if "\0" in (text or ""):  # PostgreSQL takes none, and nothing that is stored has one
            raise InvalidInputError(f"{name} holds a NUL character", name)


def _digest(query: AgentQuery) -> str:
    """Nine characters that differ where the filters do, and from those of lists of runs."""
    filters = json.encode([query.cwd, query.backend, query.status, query.idle])
    return "a" + hashlib.blake2s(filters.encode(), digest_size=4).hexdigest()


class Directory:
    """The agents of a log."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def page(self, principal: str, query: AgentQuery) -> AgentPage:
        """A page of agents; its cost does not depend on how many there are."""
        return await self._engine.read(
            lambda connection: select_agents(connection, principal, query)
        )

    async def find(self, principal: str, name: str, cwd: str | None = None) -> list[Session]:
        """What `find_sessions` finds."""
        return await self._engine.read(
            lambda connection: find_sessions(connection, principal, name, cwd)
        )
