"""Which process works on which run, where several serve one database.

A replica says that it lives by one row that it renews, not by a row a run; the clock is the
database's. A claim raises the run's epoch, which fences whoever owned it before: an append of an
older epoch changes nothing. Where a database serves one process there is nobody to tell: nobody
is alive in `replicas`, and everything active is its own.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

import sqlalchemy as sa

from gateway.core.errors import StorageError
from gateway.core.record import Run
from gateway.core.store.dialect import clock, insert
from gateway.core.store.engine import Engine
from gateway.core.store.schema import ACTIVE_STATUSES, replicas, runs
from gateway.core.store.statements import WHOLE_RUN, runs_of

TTL_S: Final = 15.0  # a process that was killed is known to be gone after this
BEAT_S: Final = 5.0  # two beats may be lost
CLAIMED_AT_ONCE: Final = 500
FORGOTTEN_S: Final = 86_400.0  # then the row of a replica that never came back goes

logger = logging.getLogger(__name__)


class Ownership:
    """This process's part: it lives, it has taken over what it should, it lets go at its end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._replica: str | None = None
        self._beating: asyncio.Task[None] | None = None

    async def begin(self, replica: str) -> list[Run]:
        """Take over what nobody alive works on, and what `replica` had before it was started
        anew; from now on it counts as alive. Oldest first."""
        self._replica = replica
        if self._engine.shared:
            await self._engine.write(lambda connection: heartbeat(connection, replica, TTL_S))
            self._beating = asyncio.create_task(self._beat(replica), name="heartbeat")
        claimed: list[Run] = []
        while True:
            some = await self._claim_some(replica, {run.id for run in claimed})
            claimed += some
            if len(some) < CLAIMED_AT_ONCE:
                return sorted(claimed, key=lambda run: (run.created_at, run.id))

    async def _claim_some(self, replica: str, besides: set[str]) -> list[Run]:
        return await self._engine.write(
            lambda connection: claim(connection, replica, CLAIMED_AT_ONCE, besides=besides)
        )

    async def end(self) -> None:
        """Let others have what is still active."""
        if self._beating is None or self._replica is None:
            return
        self._beating.cancel()
        with suppress(asyncio.CancelledError):
            await self._beating
        replica = self._replica
        with suppress(StorageError):  # then it expires
            await self._engine.write(lambda connection: release(connection, replica))

    async def _beat(self, replica: str) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._engine.write(lambda connection: heartbeat(connection, replica, TTL_S))
            except StorageError as exc:
                logger.warning("replica %s could not say that it lives: %s", replica, exc)


# -- statements ----------------------------------------------------------------------------------


def heartbeat(connection: sa.Connection, replica: str, ttl_s: float) -> None:
    """`replica` is alive for `ttl_s` more seconds."""
    until = clock(connection) + round(ttl_s * 1e6)
    row = insert(connection, replicas).values(id=replica, expires_at=until)
    connection.execute(
        row.on_conflict_do_update(
            index_elements=["id"], set_={"expires_at": row.excluded.expires_at}
        )
    )


def claim(
    connection: sa.Connection,
    replica: str,
    limit: int,
    *,
    besides: set[str] | None = None,
) -> list[Run]:
    """At most `limit` active runs that nobody alive owns, now owned by `replica`; oldest first.

    With `besides` those of `replica` itself count too, for it was started anew, except the given
    ones. Claimers that compete get different runs: PostgreSQL skips what another one is taking.
    """
    now = clock(connection)
    connection.execute(
        sa.delete(replicas).where(replicas.c.expires_at < now - round(FORGOTTEN_S * 1e6))
    )
    alive = sa.select(replicas.c.id).where(replicas.c.expires_at > now)
    free = runs.c.owner.is_(None) | runs.c.owner.not_in(alive)
    if besides is not None:
        free |= runs.c.owner == replica
        free &= runs.c.id.not_in(besides)
    ids = connection.scalars(
        sa.select(runs.c.id)
        .where(ACTIVE_STATUSES, free)
        .order_by(runs.c.created_at, runs.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not ids:
        return []
    connection.execute(
        sa.update(runs).where(runs.c.id.in_(ids)).values(owner=replica, epoch=runs.c.epoch + 1)
    )
    found = connection.execute(
        WHOLE_RUN.where(runs.c.id.in_(ids)).order_by(runs.c.created_at, runs.c.id)
    )
    return runs_of(connection, found.mappings())


def release(connection: sa.Connection, replica: str) -> None:
    """`replica` ends: anybody may have its runs at once."""
    connection.execute(
        sa.update(runs).where(ACTIVE_STATUSES, runs.c.owner == replica).values(owner=None)
    )
    connection.execute(sa.delete(replicas).where(replicas.c.id == replica))
