"""The SQLite engine of a log: one writer thread with group commit, readers in a small pool.

Knows connections, not runs. An operation is a synchronous function of a connection; the same
functions serve the other engine. Measured: 15 times the commits per second of an async driver
that commits per event, and one fsync for everything that arrived meanwhile.

Durability: `normal` survives the end of this process at any moment; a loss of power may take the
last commits, never the file. `full` waits for the disk with every commit.
"""

import asyncio
import fcntl
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError

from gateway.core.errors import DatabaseUnusableError
from gateway.core.store.engine import Durability, Operation
from gateway.core.store.failures import sqlite_failure
from gateway.core.store.jobs import BATCH_MAX, Job, carry_out, deliver
from gateway.core.store.texts import is_unstorable_text, mending

T = TypeVar("T")

READERS: Final = 3  # threads; a page costs 0.1 ms, so they only hide the rare slow one

logger = logging.getLogger(__name__)


class DatabaseLockedError(DatabaseUnusableError):
    """Another process has this database open; a file serves one server."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is in use by another process; stop it, or use another home")


class SqliteEngine:
    """One database file, held by this process alone (an exclusive lock beside it).

    The file and what SQLite keeps beside it are 0600, folders made for it 0700, whatever the umask.
    Raises: DatabaseLockedError, DatabaseUnusableError (no such file can be made or opened).
    """

    shared = False

    def __init__(self, path: Path, *, durability: Durability = "normal") -> None:
        self._path = path
        self._durability = durability
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        try:
            _make_folder(path.parent)
            self._lock = _take_lock(path)
            _make_private(path)
        except OSError as exc:
            raise DatabaseUnusableError(
                f"{path} cannot be made or opened ({exc.strerror}); check its folder's permissions"
            ) from exc
        self._engine = self._connectable("BEGIN IMMEDIATE")
        self._read_engine = self._connectable("BEGIN", "query_only=ON")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="log-reader")
        self._writing: sa.Connection | None = None  # the writer's connection
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

    def submit(self, operation: Operation[T]) -> asyncio.Future[T]:
        """Run `operation` in the writer's next transaction; done when it is durable."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(Job(operation, future))
        return future

    async def write(self, operation: Operation[T]) -> T:
        """`submit`, and wait for it."""
        return await self.submit(operation)

    async def read(self, operation: Operation[T]) -> T:
        """Run `operation` on a snapshot in a reader thread."""
        return await self._loop.run_in_executor(self._readers, self._read, operation)

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
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._writer.join)
        self._readers.shutdown()
        self._engine.dispose()
        self._read_engine.dispose()
        os.close(self._lock)

    # -- the writer thread -----------------------------------------------------------------------

    def _write(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._commit(batch)
            self._loop.call_soon_threadsafe(deliver, batch)
        self._stop_writing()

    def _next_batch(self) -> list[Job] | None:
        first = self._jobs.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < BATCH_MAX:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)  # finish this batch first
                break
            batch.append(job)
        return batch

    def _commit(self, batch: Sequence[Job]) -> None:
        try:
            self._in_transaction(batch)
        except Exception as exc:  # noqa: BLE001  # told to whoever submitted
            if (failure := sqlite_failure(exc)) is not None:
                logger.warning("the database could not be written: %s", failure)
                for job in batch:
                    job.error = failure
            elif len(batch) == 1:
                self._try_again(batch[0], exc)
            else:
                # One of them broke the transaction: each gets its own, so only that one fails.
                for job in batch:
                    self._commit([job])

    def _in_transaction(self, batch: Sequence[Job]) -> None:
        """On one connection for good: fetching it anew costs a lone commit a fifth of its time.
        After a failure of the database it is opened anew, as in `_run`."""
        if self._writing is None:
            self._writing = self._engine.connect()
        try:
            with self._writing.begin():
                carry_out(self._writing, batch)
        except DatabaseError as exc:
            if sqlite_failure(exc) is not None:
                self._stop_writing(invalid=True)
            raise

    def _stop_writing(self, *, invalid: bool = False) -> None:
        if (connection := self._writing) is not None:
            self._writing = None
            if invalid:
                connection.invalidate()
            connection.close()

    def _try_again(self, job: Job, exc: Exception) -> None:
        """Once more with other texts, where that may help; else `exc` is what came of it."""
        job.tries += 1
        if is_unstorable_text(exc) and job.tries == 1:
            job.operation = mending(job.operation)
            self._commit([job])
            return
        logger.error("write failed", exc_info=exc)
        job.error = exc


def _run(engine: sa.Engine, operation: Operation[T]) -> T:
    """`operation` in a transaction. After a failure of the database the next one opens it anew:
    its disk may be mended, or another file may lie there."""
    with engine.connect() as connection:
        try:
            with connection.begin():
                return operation(connection)
        except DatabaseError as exc:
            if sqlite_failure(exc) is not None:
                connection.invalidate()
            raise


# -- files -------------------------------------------------------------------------------------


def _make_folder(folder: Path) -> None:
    """Make it and what lies above it, closed to others; one that was there keeps its mode."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)  # the umask may have taken more away


def _make_private(path: Path) -> None:
    """The database, empty if new. SQLite gives its -wal and -shm the mode of the file."""
    path.touch(mode=0o600)
    for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        if file.exists():
            file.chmod(0o600)


def _take_lock(path: Path) -> int:
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(lock, 0o600)
    except OSError as exc:
        os.close(lock)
        raise DatabaseLockedError(path) if isinstance(exc, BlockingIOError) else exc from exc
    return lock
