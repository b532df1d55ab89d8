"""The SQLite engine of a log: group commits on the event loop or in a thread, readers in a pool.

Knows connections, not runs. An operation is a synchronous function of a connection; the same
functions serve the other engine. Whatever is submitted in one turn of the loop is one commit, and
what arrives during a commit is the next: 15 times the commits per second of an async driver that
commits per event.

Where a commit happens: a small one takes 0.2 ms without waiting for the disk, half of what handing
it to a thread and back takes, so it happens on the loop. The thread takes what may wait: large
batches, every commit of durability `full`, everything for a while after a commit on the loop was
slow or failed, and now and then one to move the write-ahead log into the file.

Durability: `normal` survives the end of this process at any moment; a loss of power may take the
last commits, never the file. `full` waits for the disk with every commit.
"""

import asyncio
import logging
import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError

from gateway.core.errors import StorageError
from gateway.core.store import files
from gateway.core.store.committer import Committer
from gateway.core.store.engine import Durability, Operation
from gateway.core.store.failures import sqlite_failure
from gateway.core.store.jobs import BATCH_MAX, Job, deliver
from gateway.core.store.texts import mending

T = TypeVar("T")

READERS: Final = 3  # threads; a page costs 0.1 ms, so they only hide the rare slow one
SLOW_S: Final = 0.01  # a commit on the loop that took longer: the disk makes it wait
AWAY_S: Final = 5.0  # for so long then all commits go to the thread
PROMPT_MAX: Final = 64  # weight of a commit on the loop: a few milliseconds
LOGGED_MAX: Final = 384  # weight of all since the thread's last: 4,000 pages, 16 MB, to be moved

logger = logging.getLogger(__name__)


class SqliteEngine:
    """One database file, held by this process alone (an exclusive lock beside it).

    Raises: files.DatabaseLockedError, DatabaseUnusableError.
    """

    shared = False

    def __init__(self, path: Path, *, durability: Durability = "normal") -> None:
        self._path = path
        self._durability = durability
        self._loop = asyncio.get_running_loop()
        self._lock = files.take(path)
        self._engine = self._connectable("BEGIN IMMEDIATE")
        # On the loop nothing is waited for: not for a lock, not for the disk.
        self._prompt_engine = self._connectable(
            "BEGIN IMMEDIATE", "busy_timeout=0", "wal_autocheckpoint=0"
        )
        self._read_engine = self._connectable("BEGIN", "query_only=ON")
        self._here = Committer(self._prompt_engine)
        self._looking: sa.Connection | None = None  # for brief reads on the loop
        self._waiting: deque[Job] = deque()
        self._due = False  # `_turn` will be called
        self._away = False  # the thread is at work, and nobody else writes
        self._away_until = 0.0
        self._logged = 0.0  # weight of the commits on the loop since the thread's last
        self._closed = False
        self._batches: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="log-reader")
        self._writer = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._writer.start()

    def _connectable(self, begin: str, *pragmas: str) -> sa.Engine:
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self._path)),
            connect_args={"check_same_thread": False},
            hide_parameters=True,
        )
        synchronous = "FULL" if self._durability == "full" else "NORMAL"

        def on_connect(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # we begin transactions ourselves
            cursor = connection.cursor()
            for pragma in (
                "journal_mode=WAL",
                f"synchronous={synchronous}",
                "foreign_keys=ON",
                "busy_timeout=5000",
                *pragmas,
            ):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        def on_begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql(begin)

        event.listen(engine, "connect", on_connect)
        event.listen(engine, "begin", on_begin)
        return engine

    async def set_up(self, operation: Operation[T]) -> T:
        """Run `operation` alone, before anything else. Foreign keys are not enforced: a table
        that a migration makes anew would take the rows that refer to it along."""
        return await self._loop.run_in_executor(self._readers, self._set_up, operation)

    def _set_up(self, operation: Operation[T]) -> T:
        engine = self._connectable("BEGIN IMMEDIATE", "foreign_keys=OFF")
        try:
            with engine.connect() as connection, connection.begin():
                return operation(connection)
        except DatabaseError as exc:
            raise sqlite_failure(exc) or exc from exc
        finally:
            engine.dispose()

    def submit(
        self, operation: Operation[T], *, weight: Callable[[], int] | None = None
    ) -> asyncio.Future[T]:
        """Run `operation` in the next transaction; done when it is durable."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.cancel()
            return future
        self._waiting.append(Job(operation, future, weight))
        if not self._due and not self._away:
            self._due = True
            self._loop.call_soon(self._turn)
        return future

    async def write(self, operation: Operation[T]) -> T:
        """`submit`, and wait for it."""
        return await self.submit(operation)

    async def read(self, operation: Operation[T], *, brief: bool = False) -> T:
        """Run `operation` on a snapshot in a reader thread; a brief one, which takes 20 us, here:
        the way to the thread and back takes twenty times as long."""
        if brief and self._loop.time() >= self._away_until and not self._closed:
            with suppress(Exception):  # the thread says what is wrong, and may mend it
                return self._look(operation)
        return await self._loop.run_in_executor(self._readers, self._read, operation)

    def _look(self, operation: Operation[T]) -> T:
        """On a connection for good, outside of transactions: one statement is a snapshot."""
        if self._looking is None:
            self._looking = self._read_engine.connect()
        connection, self._looking = self._looking, None
        try:
            found = operation(connection)
            if connection.in_transaction():
                connection.rollback()
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        self._looking = connection
        return found

    def _read(self, operation: Operation[T]) -> T:
        try:
            return _run(self._read_engine, operation)
        except UnicodeEncodeError:
            return _run(self._read_engine, mending(operation))
        except DatabaseError as exc:
            if (failure := sqlite_failure(exc)) is None:
                raise
            logger.warning("the database could not be read: %s", exc.orig)
            raise failure from exc

    def announce(self, run_ids: set[str]) -> None:
        """Nobody else reads this file."""

    def on_hint(self, heard: Callable[[str], None]) -> None:
        """Nobody else writes this file."""

    async def close(self) -> None:
        """Finish what was submitted, then let the file go."""
        self._closed = True
        self._here.close()
        if self._looking is not None:
            self._looking.close()
        self._batches.put(list(self._waiting))
        self._waiting.clear()
        self._batches.put(None)
        await self._loop.run_in_executor(None, self._writer.join)
        self._readers.shutdown()
        for engine in (self._engine, self._prompt_engine, self._read_engine):
            engine.dispose()
        os.close(self._lock)

    # -- commits ---------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Commit what was submitted in this turn of the loop, or hand it to the thread."""
        self._due = False
        if not self._waiting or self._away or self._closed:
            return
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
        weight = _weight_of(batch)
        if not self._may_be_here(weight) or not self._commit_here(batch, weight):
            self._away = True
            self._logged = 0.0
            self._batches.put(batch)
            return
        deliver(batch)
        if self._waiting:
            self._due = True
            self._loop.call_soon(self._turn)

    def _may_be_here(self, weight: float) -> bool:
        return (
            self._durability == "normal"
            and self._loop.time() >= self._away_until
            and weight <= PROMPT_MAX
            and self._logged + weight <= LOGGED_MAX
        )

    def _commit_here(self, batch: Sequence[Job], weight: float) -> bool:
        """False: the database would have made us wait, or failed; the thread has more patience."""
        self._logged += weight
        began = time.perf_counter()
        self._here.commit(batch)
        failed = any(isinstance(job.error, StorageError) for job in batch)
        if failed or time.perf_counter() - began > SLOW_S:
            self._away_until = self._loop.time() + AWAY_S
        return not failed

    def _back(self, batch: Sequence[Job]) -> None:
        """The thread has done."""
        self._away = False
        deliver(batch)
        if self._waiting and not self._due:
            self._due = True
            self._loop.call_soon(self._turn)

    def _write(self) -> None:
        """The writer's thread."""
        committer = Committer(self._engine)
        while (batch := self._batches.get()) is not None:
            committer.commit(batch)
            if failures := {str(job.error) for job in batch if isinstance(job.error, StorageError)}:
                logger.warning("the database could not be written: %s", ", ".join(failures))
            self._loop.call_soon_threadsafe(self._back, batch)
        committer.close()


def _weight_of(batch: Sequence[Job]) -> float:
    """Infinity when one of them may write anything."""
    return sum(job.weight() if job.weight is not None else math.inf for job in batch)


def _run(engine: sa.Engine, operation: Operation[T]) -> T:
    """`operation` in a transaction. After a failure of the database the next one opens it anew."""
    with engine.connect() as connection:
        try:
            with connection.begin():
                return operation(connection)
        except DatabaseError as exc:
            if sqlite_failure(exc) is not None:
                connection.invalidate()
            raise
