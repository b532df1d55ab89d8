"""Pages of runs: filters, two orders, keyset cursors. Knows rows and indexes, no caller.

A page is one walk along one index, or a merge of a few (`_walks_of` names them), so it costs the same
at any depth and for any number of runs. Filters beside those that lead into the index are looked at
run by run on the way. Two things are sorted instead, as they are few whatever is stored: the runs of
one session, and the active runs of a principal by the change of their status.
"""

import hashlib
import operator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa

from gateway.core import json
from gateway.core.errors import InvalidInputError
from gateway.core.record import Run
from gateway.core.status import ACTIVE, TERMINAL, RunStatus
from gateway.core.store.cursors import read_cursor, write_cursor
from gateway.core.store.schema import ACTIVE_STATUSES, run_labels, runs
from gateway.core.store.statements import get_runs

PAGE_MAX: Final = 200
COUNT_MAX: Final = 1000  # runs counted for a total; 0.1 ms on SQLite, where 100,000 take 6 ms

Order: TypeAlias = Literal["created", "status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """What to list. Unset filters match everything; those that are set must all match.

    Times are unix microseconds: `…_after` from then on, `…_before` until just before then.
    `updated_…` look at `Run.status_at`, as A2A's statusTimestampAfter does: a run that only writes
    events does not move.

    `order`: "created" is newest first; "status" is by `status_at`, the run that changed last first
    (A2A 3.1.4). That one lists the runs of one `agent` or one `context_id`, and only there the
    `updated_…` filters are taken.

    `limit` is 1..200. `cursor` is of a former page of the same filters and order. `with_total`
    counts what matches, page or not, up to COUNT_MAX. `brief` leaves out what runs were told and
    what they answered, which may be megabytes.
    """

    agent: str | None = None
    backend: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    cwd: str | None = None
    context_id: str | None = None
    role: str | None = None
    nickname: str | None = None
    parent_id: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    created_after: int | None = None
    created_before: int | None = None
    updated_after: int | None = None
    updated_before: int | None = None
    order: Order = "created"
    limit: int = 50
    cursor: str | None = None
    with_total: bool = False
    brief: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Runs in the order asked for; `next_cursor` is None on the last page.

    Going from page to page, every run that did not change meanwhile is shown exactly once. A new
    run stands before the first page, so those who go on do not see it. In the order "status" a run
    whose status changes moves there too: it is not shown again, and one that was still to come is
    missed. In the order "created" nothing moves; a run may only begin or cease to match.

    `total` is None unless asked for; COUNT_MAX means that many or more.
    """

    runs: list[Run]
    next_cursor: str | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """A walk along one index: the columns that lead into it, or `label` into that of the first
    label. `ended` are statuses that each take a walk of their own; `active`: it finds the runs that
    have not ended; neither: it finds all."""

    by: tuple[str, ...] = ("principal",)
    ended: tuple[RunStatus, ...] = ()
    active: bool = False
    label: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the walks of one page have in common."""

    principal: str
    query: RunQuery
    since: tuple[int, str] | None
    sqlite: bool


_FILTERS: Final = ("agent", "backend", "cwd", "context_id", "role", "nickname", "parent_id")
_TEXTS: Final = (*_FILTERS, "cursor")
_LAST_FIRST: Final[tuple[sa.UnaryExpression[Any], ...]] = (sa.desc("at"), sa.desc("id"))


def encode_cursor(query: RunQuery, run: Run) -> str:
    """The cursor behind `run` in the list of `query`."""
    at = run.status_at if query.order == "status" else run.created_at
    return write_cursor(_digest(query), at, run.id)


def decode_cursor(query: RunQuery, cursor: str) -> tuple[int, str]:
    """(created_at or status_at, id) of the last run of the page before. Raises: InvalidInputError."""
    return read_cursor(_digest(query), cursor)


def select_page(connection: sa.Connection, principal: str, query: RunQuery) -> RunPage:
    """One page. Raises: InvalidInputError."""
    _check(query)
    limit = max(1, min(query.limit, PAGE_MAX))
    since = decode_cursor(query, query.cursor) if query.cursor else None
    found = connection.execute(walk(connection, principal, query, since, most=limit + 1))
    ids = [row.id for row in found]
    page = get_runs(connection, ids[:limit], brief=query.brief)
    return RunPage(
        runs=page,
        next_cursor=encode_cursor(query, page[-1]) if len(ids) > limit else None,
        total=_count(connection, principal, query) if query.with_total else None,
    )


def walk(
    connection: sa.Connection,
    principal: str,
    query: RunQuery,
    since: tuple[int, str] | None = None,
    *,
    most: int,
    ordered: bool = True,
) -> sa.Select[Any, Any] | sa.CompoundSelect[Any, Any]:
    """The statement of (at, id) of the first `most` that match, in order, behind `since`; of any
    `most` of them when they need not be `ordered`."""
    sqlite = connection.dialect.name == "sqlite"
    asked = _Asked(principal=principal, query=query, since=since, sqlite=sqlite)
    found = [select for one in _walks_of(query) for select in _along(asked, one)]
    order = _LAST_FIRST if ordered else ()
    if len(found) == 1:
        return found[0].order_by(*order).limit(most)
    if not sqlite:
        # PostgreSQL merges walks that are bounded; of others it sorts all they would find.
        bounded = (one.order_by(*order).limit(most) for one in found)
        found = [sa.select(one.subquery()) for one in bounded]
    return sa.union_all(*found).order_by(*order).limit(most)


def _along(asked: _Asked, walk: _Walk) -> list[sa.Select[Any, Any]]:
    """What the walk finds, in no order yet: one statement, or one for each of its statuses. Those
    are in the words of the partial indexes, and what they share is built once: 0.1 ms each."""
    query, matching = asked.query, _conditions(asked, walk)
    if walk.label:
        at, run_id = run_labels.c.created_at, run_labels.c.run_id
        select = sa.select(at.label("at"), run_id.label("id")).join(runs, runs.c.id == run_id)
        matching += _is(run_labels, asked.principal, *query.labels[0])
    else:
        at = runs.c.status_at if query.order == "status" else runs.c.created_at
        run_id = runs.c.id
        select = sa.select(at.label("at"), run_id.label("id"))
    if asked.since is not None:
        last = sa.tuple_(*(sa.literal(part) for part in asked.since))
        matching.append(sa.tuple_(at, run_id) < last)
    select = select.where(*matching)
    said = [sa.literal_column(f"'{status}'", sa.Text()) for status in walk.ended]
    return [select.where(runs.c.status == status) for status in said] or [select]


def _walks_of(query: RunQuery) -> list[_Walk]:
    """The walks that leave the least to look at: by the narrowest of the filters that are set."""
    if query.context_id is not None:
        return [_Walk(by=("context_id",))]
    statuses = set(query.statuses)
    if query.order == "status":
        return _by_status(statuses or set(RunStatus), ("principal", "agent"))
    few = bool(statuses) and statuses <= ACTIVE  # whatever else is stored
    if query.labels and not few:
        return [_Walk(by=(), label=True)]
    if not few and (name := _first_set(query, "parent_id", "nickname", "cwd")):
        return [_Walk(by=("principal", name))]
    if statuses:
        return _by_status(statuses, ("principal",))
    if name := _first_set(query, "role", "agent", "backend"):
        return [_Walk(by=("principal", name))]
    return [_Walk()]


def _first_set(query: RunQuery, *names: str) -> str | None:
    return next((name for name in names if getattr(query, name) is not None), None)


def _by_status(statuses: set[RunStatus], by: tuple[str, ...]) -> list[_Walk]:
    """One walk for each status that ends a run, and one for all others together."""
    ended = tuple(sorted(statuses & TERMINAL))
    walks = [_Walk(by=by, ended=ended)] if ended else []
    return [*walks, _Walk(active=True)] if statuses & ACTIVE else walks


def _conditions(asked: _Asked, walk: _Walk) -> list[sa.ColumnElement[bool]]:
    """What a run must be, without its first label where that is what is walked along."""
    query, given = asked.query, {"principal": asked.principal}
    given |= {name: value for name in _FILTERS if (value := getattr(query, name)) is not None}
    wanted = [
        _column(asked, runs.c[name], walked=name in walk.by) == value
        for name, value in given.items()
    ]
    for key, value in query.labels[1:] if walk.label else query.labels:
        label = run_labels.alias()
        mine = (label.c.run_id == runs.c.id, label.c.created_at == runs.c.created_at)
        wanted.append(sa.exists().where(*_is(label, asked.principal, key, value), *mine))
    return wanted + _statuses(asked, walk) + _times(asked, walk)


def _statuses(asked: _Asked, walk: _Walk) -> list[sa.ColumnElement[bool]]:
    """Those that the walk does not choose itself."""
    some = set(asked.query.statuses)
    wanted = [ACTIVE_STATUSES] if walk.active else []
    if not some or walk.ended or (walk.active and some >= ACTIVE):
        return wanted
    status = _column(asked, runs.c.status, walked=False)
    return [*wanted, status.in_(sorted(some & ACTIVE if walk.active else some))]


def _times(asked: _Asked, walk: _Walk) -> list[sa.ColumnElement[bool]]:
    """A later page begins behind `since`, not where the time ends that is asked for."""
    query, created = asked.query, run_labels.c.created_at if walk.label else runs.c.created_at
    ordered, first = query.order == "created", asked.since is None
    limits = (
        (query.created_after, created, ordered, operator.ge),
        (query.created_before, created, ordered and first, operator.lt),
        (query.updated_after, runs.c.status_at, True, operator.ge),
        (query.updated_before, runs.c.status_at, first, operator.lt),
    )
    return [
        compare(_column(asked, column, walked=walked), at)
        for at, column, walked, compare in limits
        if at is not None
    ]


def _column(asked: _Asked, column: sa.Column[Any], *, walked: bool) -> sa.ColumnElement[Any]:
    """SQLite has no figures to choose an index by and takes any that fits; a sign before its column
    keeps a filter from being fitted. PostgreSQL has its own figures."""
    if walked or not asked.sqlite:
        return column
    return sa.literal_column(f"+{column.table.name}.{column.name}", column.type)


def _is(label: sa.FromClause, principal: str, key: str, value: str) -> list[sa.ColumnElement[bool]]:
    return [label.c.principal == principal, label.c.key == key, label.c.value == value]


def _count(connection: sa.Connection, principal: str, query: RunQuery) -> int:
    """How many match, COUNT_MAX at most: A2A 1.0 demands the number in every ListTasks answer."""
    some = walk(connection, principal, query, most=COUNT_MAX, ordered=False).subquery()
    return connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def _check(query: RunQuery) -> None:
    texts = {name: getattr(query, name) or "" for name in _TEXTS}
    texts["labels"] = "".join(key + value for key, value in query.labels)
    for name, text in texts.items():
        if "\0" in text:  # PostgreSQL takes none, and nothing that is stored has one
            raise InvalidInputError(f"{name} holds a NUL character", name)
    if query.order == "status" and query.agent is None and query.context_id is None:
        raise InvalidInputError("order 'status' lists the runs of one agent or session; name it")
    if query.order == "created" and (query.updated_after, query.updated_before) != (None, None):
        raise InvalidInputError("updated_after and updated_before need order 'status'")


def _digest(query: RunQuery) -> str:
    """Nine characters that differ where the filters or the order do."""
    filters: list[Any] = [getattr(query, name) for name in _FILTERS]
    filters += [sorted(query.statuses), sorted(query.labels)]
    filters += [query.created_after, query.created_before]
    filters += [query.updated_after, query.updated_before]
    return (
        query.order[0] + hashlib.blake2s(json.encode(filters).encode(), digest_size=4).hexdigest()
    )
