"""The task that lets go of ended runs that are past their time, or take too much room.

Knows the log's batches, not what is in them. Between two batches whatever waits for the writer goes
first, so letting go of many runs delays no append for longer than one batch takes.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from gateway.core.clock import Clock
from gateway.core.errors import StorageError
from gateway.core.keep import Keep
from gateway.core.store.log import RunLog
from gateway.core.store.retention import Swept, sweep_older, sweep_oldest

BETWEEN_S: Final = 60.0  # from one look to the next

logger = logging.getLogger(__name__)


class Keeping:
    """Holds one log to its terms."""

    def __init__(self, log: RunLog, keep: Keep, *, clock: Clock) -> None:
        self._log = log
        self._keep = keep
        self._clock = clock

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Let go of what is past its time, again and again, until the block ends."""
        if self._keep.everything:
            yield
            return
        sweeping = asyncio.create_task(self._keep_sweeping(), name="retention")
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.wait({sweeping})

    async def _keep_sweeping(self) -> None:
        while True:
            try:
                await self.sweep()
            except StorageError as exc:
                logger.warning("retention waits for the database: %s", exc)
            except Exception:
                logger.exception("retention failed; it is tried again")
            await asyncio.sleep(BETWEEN_S)

    async def sweep(self) -> None:
        """Let go of everything that is past its time now. Raises: StorageError."""
        gone = 0
        if self._keep.finished is not None:
            before = self._clock() - self._keep.finished // timedelta(microseconds=1)
            while (swept := await self._batch(before)).anything:
                gone += len(swept.deleted)
        if self._keep.bytes_ is not None:
            gone += await self._make_room(self._keep.bytes_)
        if gone:
            logger.info("let go of %d runs that ended long ago", gone)

    async def _batch(self, before: int) -> Swept:
        def operation(connection: sa.Connection) -> Swept:
            return sweep_older(connection, before)

        return await self._log.let_go(operation)

    async def _make_room(self, most: int) -> int:
        """Free about as much as the database is too large, and look again."""
        gone = 0
        while (excess := await self._log.stored_bytes() - most) > 0:
            freed = 0
            while freed < excess:
                swept = await self._log.let_go(sweep_oldest)
                if not swept.anything:
                    return gone
                freed += swept.freed
                gone += len(swept.deleted)
        return gone
