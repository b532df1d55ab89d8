"""Pages of runs: filters, two orders, keyset cursors. Knows rows and indexes, no caller.

A page is one walk along one index (`_walk_of` names it), so it costs the same at any depth and for
any number of runs. Filters beside the one that chose the index are looked at run by run on the way.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa

from gateway.core import json
from gateway.core.errors import InvalidInputError
from gateway.core.record import Run
from gateway.core.status import ACTIVE, RunStatus
from gateway.core.store.schema import run_labels, runs
from gateway.core.store.statements import WHOLE_RUN, runs_of

PAGE_MAX: Final = 200
COUNT_MAX: Final = 1000  # runs counted for a total; 0.1 ms on SQLite, where 100,000 take 6 ms
_INT64_MAX: Final = 2**63 - 1

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
    counts what matches, page or not, up to COUNT_MAX.
    """

    agent: str | None = None
    backend: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    cwd: str | None = None
    context_id: str | None = None
    role: str | None = None
    nickname: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    created_after: int | None = None
    created_before: int | None = None
    updated_after: int | None = None
    updated_before: int | None = None
    order: Order = "created"
    limit: int = 50
    cursor: str | None = None
    with_total: bool = False


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


@dataclass(frozen=True, slots=True)
class _Walk:
    """An index to walk along, by the column that chooses it (None: all runs of the principal):
    once, or once for each of `statuses`, which are then merged."""

    index: str | None
    statuses: tuple[RunStatus, ...] = ()


_FILTERS: Final = ("agent", "backend", "cwd", "context_id", "role", "nickname")
_TEXTS: Final = (*_FILTERS, "cursor")
_LABELS: Final = "label"


def encode_cursor(query: RunQuery, run: Run) -> str:
    """The cursor behind `run` in the list of `query`."""
    at = run.status_at if query.order == "status" else run.created_at
    text = f"{query.order[0]}{_digest(query)}.{at}.{run.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(query: RunQuery, cursor: str) -> tuple[int, str]:
    """(created_at or status_at, id) of the last run of the page before.

    Raises: InvalidInputError, also for the cursor of another list.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
        tied, at, run_id = text.split(".", 2)
        place = int(at)
    except (ValueError, binascii.Error) as exc:
        raise _foreign_cursor("is not one of ours") from exc
    if not 0 <= place <= _INT64_MAX or not run_id.isprintable():
        raise _foreign_cursor("is not one of ours")
    if tied != f"{query.order[0]}{_digest(query)}":
        raise _foreign_cursor("belongs to a list of another order or with other filters")
    return place, run_id


def select_page(connection: sa.Connection, principal: str, query: RunQuery) -> RunPage:
    """One page. Raises: InvalidInputError."""
    _check(query)
    limit = max(1, min(query.limit, PAGE_MAX))
    since = decode_cursor(query, query.cursor) if query.cursor else None
    found = connection.execute(walk(connection, principal, query, since, most=limit + 1))
    ids = [row.id for row in found]
    page = _whole(connection, ids[:limit])
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
    path = _walk_of(query)
    matching = _conditions(connection, principal, query, path)
    if path.index == _LABELS:
        at, run_id = run_labels.c.created_at, run_labels.c.run_id
        select = sa.select(at.label("at"), run_id.label("id")).join(runs, runs.c.id == run_id)
        matching += _is(run_labels, principal, *query.labels[0])
    else:
        at = runs.c.status_at if query.order == "status" else runs.c.created_at
        run_id = runs.c.id
        select = sa.select(at.label("at"), run_id)
    if since is not None:
        last = sa.tuple_(sa.literal(since[0]), sa.literal(since[1]))
        matching.append(sa.tuple_(at, run_id) < last)
    select = select.where(*matching)
    order = (at.desc(), run_id.desc()) if ordered else ()
    if len(path.statuses) < 2:
        select = select.where(*(runs.c.status == status.value for status in path.statuses))
        return select.order_by(*order).limit(most)
    branches = [select.where(runs.c.status == status.value) for status in path.statuses]
    if connection.dialect.name != "sqlite":
        # PostgreSQL merges walks that are bounded; of others it sorts all they would find.
        bounded = (one.order_by(*order).limit(most) for one in branches)
        branches = [sa.select(one.subquery()) for one in bounded]
    merged = sa.union_all(*branches)
    return (merged.order_by(sa.desc("at"), sa.desc("id")) if ordered else merged).limit(most)


def _walk_of(query: RunQuery) -> _Walk:
    """The index that leaves the least to look at: the narrowest of the filters that are set."""
    statuses = tuple(sorted(set(query.statuses)))
    if query.context_id is not None:
        return _Walk("context_id")
    if query.order == "status":
        return _Walk("agent", statuses or tuple(RunStatus))
    few = bool(statuses) and set(statuses) <= ACTIVE  # whatever else is stored
    fitting: dict[str | None, bool] = {
        _LABELS: bool(query.labels) and not few,
        "nickname": query.nickname is not None and not few,
        "cwd": query.cwd is not None and not few,
        "status": bool(statuses),
        "role": query.role is not None,
        "agent": query.agent is not None,
        "backend": query.backend is not None,
        None: True,
    }
    index = next(name for name, fits in fitting.items() if fits)
    return _Walk(index, statuses if index == "status" else ())


def _conditions(
    connection: sa.Connection, principal: str, query: RunQuery, path: _Walk
) -> list[sa.ColumnElement[bool]]:
    """What a run must be, without what the walk itself sees to: its statuses, its first label."""
    given = {name: value for name in _FILTERS if (value := getattr(query, name)) is not None}
    wanted = [
        _column(connection, name, walked=name == path.index) == value
        for name, value in given.items()
    ]
    walked = path.index not in ("context_id", _LABELS)
    wanted.append(_column(connection, "principal", walked=walked) == principal)
    if query.statuses and not path.statuses:
        status = _column(connection, "status", walked=False)
        wanted.append(status.in_([status.value for status in query.statuses]))
    for key, value in query.labels[1:] if path.index == _LABELS else query.labels:
        label = run_labels.alias()
        mine = (label.c.run_id == runs.c.id, label.c.created_at == runs.c.created_at)
        wanted.append(sa.exists().where(*_is(label, principal, key, value), *mine))
    return wanted + _times(connection, query, path)


def _times(connection: sa.Connection, query: RunQuery, path: _Walk) -> list[sa.ColumnElement[bool]]:
    created = _column(connection, "created_at", walked=query.order == "created")
    if path.index == _LABELS:
        created = run_labels.c.created_at
    changed = runs.c.status_at
    asked = (
        (query.created_after, created.__ge__),
        (query.created_before, created.__lt__),
        (query.updated_after, changed.__ge__),
        (query.updated_before, changed.__lt__),
    )
    return [compare(at) for at, compare in asked if at is not None]


def _column(connection: sa.Connection, name: str, *, walked: bool) -> sa.ColumnElement[Any]:
    """A column of runs. SQLite has no figures to choose an index by and takes any that fits; a
    sign before its column keeps a filter from being fitted. PostgreSQL has its own figures."""
    if walked or connection.dialect.name != "sqlite":
        return runs.c[name]
    return sa.literal_column(f"+runs.{name}", runs.c[name].type)


def _is(label: sa.FromClause, principal: str, key: str, value: str) -> list[sa.ColumnElement[bool]]:
    return [label.c.principal == principal, label.c.key == key, label.c.value == value]


def _whole(connection: sa.Connection, ids: Sequence[str]) -> list[Run]:
    """The runs of `ids`, in that order."""
    if not ids:
        return []
    found = connection.execute(WHOLE_RUN.where(runs.c.id.in_(ids))).mappings()
    by_id = {run.id: run for run in runs_of(connection, found)}
    return [by_id[run_id] for run_id in ids]


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
    """Eight characters that differ where the filters do."""
    filters: list[Any] = [getattr(query, name) for name in _FILTERS]
    filters += [sorted(query.statuses), sorted(query.labels)]
    filters += [query.created_after, query.created_before]
    filters += [query.updated_after, query.updated_before]
    return hashlib.blake2s(json.encode(filters).encode(), digest_size=4).hexdigest()


def _foreign_cursor(what: str) -> InvalidInputError:
    return InvalidInputError(f"cursor {what}; leave it out for the first page", "cursor")
