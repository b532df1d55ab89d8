"""Commits batches of operations to SQLite on a connection of its own.

Knows one connection, not who calls it: the writer's thread or the event loop, one at a time.
"""

import logging
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from gateway.core.store.failures import sqlite_failure
from gateway.core.store.jobs import Job, carry_out
from gateway.core.store.texts import is_unstorable_text, mending

logger = logging.getLogger(__name__)


class Committer:
    """Leaves in each job what came of it; raises nothing."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._connection: sa.Connection | None = None

    def commit(self, batch: Sequence[Job]) -> None:
        """All of `batch` in one transaction; one that breaks it fails alone."""
        try:
            self._in_transaction(batch)
        except Exception as exc:  # noqa: BLE001  # told to whoever submitted
            if (failure := sqlite_failure(exc)) is not None:
                for job in batch:
                    job.error = failure
            elif len(batch) == 1:
                self._try_again(batch[0], exc)
            else:
                # One of them broke the transaction: each gets its own, so only that one fails.
                for job in batch:
                    self.commit([job])

    def close(self, *, broken: bool = False) -> None:
        if (connection := self._connection) is not None:
            self._connection = None
            if broken:
                connection.invalidate()
            connection.close()

    def _in_transaction(self, batch: Sequence[Job]) -> None:
        """On one connection for good: fetching it anew costs a lone commit a fifth of its time.
        After a failure of the database it is opened anew: its disk may be mended, or another file
        may lie there."""
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            with self._connection.begin():
                carry_out(self._connection, batch)
        except DatabaseError as exc:
            if sqlite_failure(exc) is not None:
                self.close(broken=True)
            raise

    def _try_again(self, job: Job, exc: Exception) -> None:
        """Once more with other texts, where that may help; else `exc` is what came of it."""
        job.tries += 1
        if is_unstorable_text(exc) and job.tries == 1:
            job.operation = mending(job.operation)
            self.commit([job])
            return
        logger.error("write failed", exc_info=exc)
        job.error = exc
