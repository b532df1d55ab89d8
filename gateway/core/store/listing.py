"""Pages of runs: the filters, the keyset cursor, and the one query behind every list."""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from gateway.core.errors import InvalidInputError
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.core.store.schema import runs
from gateway.core.store.statements import WHOLE_RUN, runs_of

PAGE_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """What to list. Unset filters match everything; `limit` is 1..200; `cursor` of a former page.

    `with_total` counts what matches, page or not: a scan, for protocols that demand the number.
    """

    agent: str | None = None
    backend: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    cwd: str | None = None
    context_id: str | None = None
    role: str | None = None
    nickname: str | None = None
    updated_after: int | None = None
    limit: int = 50
    cursor: str | None = None
    with_total: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Runs, newest first; `next_cursor` is None on the last page, `total` unless asked for."""

    runs: list[Run]
    next_cursor: str | None = None
    total: int | None = None


def encode_cursor(run: Run) -> str:
    return base64.urlsafe_b64encode(f"{run.created_at}.{run.id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[int, str]:
    """(created_at, id) of the last run of the page before. Raises: InvalidInputError."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created, _, run_id = text.partition(".")
        return int(created), run_id
    except (ValueError, binascii.Error) as exc:
        raise InvalidInputError(
            "cursor is not one of ours; leave it out for the first page", "cursor"
        ) from exc


def select_page(connection: sa.Connection, principal: str, query: RunQuery) -> RunPage:
    """One page by keyset: the same cost at any depth and for any number of runs stored."""
    limit = max(1, min(query.limit, PAGE_MAX))
    select = WHOLE_RUN.where(runs.c.principal == principal)
    for name in ("agent", "backend", "cwd", "context_id", "role", "nickname"):
        if (value := getattr(query, name)) is not None:
            select = select.where(runs.c[name] == value)
    if query.statuses:
        select = select.where(runs.c.status.in_([status.value for status in query.statuses]))
    if query.updated_after is not None:
        select = select.where(runs.c.updated_at > query.updated_after)
    total: int | None = None
    if query.with_total:
        total = connection.scalar(sa.select(sa.func.count()).select_from(select.subquery()))
    if query.cursor:
        created, run_id = decode_cursor(query.cursor)
        select = select.where(
            sa.tuple_(runs.c.created_at, runs.c.id)
            < sa.tuple_(sa.literal(created), sa.literal(run_id))
        )
    found = connection.execute(
        select.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit + 1)
    ).mappings()
    page = list(found)
    more, page = len(page) > limit, runs_of(connection, page[:limit])
    return RunPage(runs=page, next_cursor=encode_cursor(page[-1]) if more else None, total=total)
