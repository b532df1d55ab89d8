"""The PostgreSQL engine of a log: one writer task with group commit, a read pool, LISTEN/NOTIFY.

Knows connections, not runs. An operation is the same synchronous function of a connection that the
SQLite engine runs; here it runs beside the event loop's other work, not in a thread.

Durability: a commit of either kind is on the database server's disk before anybody is told, so it
survives the end of this process and of that server. `full` waits for the synchronous standbys as
well, where the server has any. Leaving the disk out (synchronous_commit = off) was measured 1.5
times as fast for single commits and is not offered: a server that comes back without what this
process was told is stored would make every active run here fence itself.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gateway.core.store.engine import Durability, Operation
from gateway.core.store.failures import connection_lost, postgres_failure, sqlstate
from gateway.core.store.jobs import BATCH_MAX, Job, carry_out, deliver
from gateway.core.store.texts import is_unstorable_text, mending

T = TypeVar("T")

READERS: Final = 6  # connections; a page costs under a millisecond
CONNECT_S: Final = 10.0
COMMAND_S: Final = 60.0  # a statement that takes longer waits for a lock, or for a dead server
RETRY_MIN_S: Final = 0.2  # between two tries to listen again
RETRY_MAX_S: Final = 5.0
PING_S: Final = 30.0  # a link that nothing goes over breaks unnoticed
HINT_WAIT_S: Final = 0.003  # next to 1.3 ms that a hint takes to arrive
CHANNEL: Final = "a2a_gateway_runs"
NOTICE_MAX: Final = 7900  # bytes; the server takes 8,000
SET_UP_LOCK: Final = 0x61326167  # advisory lock ("a2ag") of whoever looks after the tables
# Lost against another process on the same database: run again, it sees what the other stored.
_RACES: Final = {"23505", "40001", "40P01"}  # unique_violation, serialization, deadlock
_TRIES: Final = 3

_NOTIFY: Final = sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("notice")))

logger = logging.getLogger(__name__)


class PostgresEngine:
    """One database of a server that may serve other processes too. Connects on first use."""

    shared = True

    def __init__(self, url: sa.URL, *, durability: Durability = "normal") -> None:
        commit = "on" if durability == "full" else "local"
        self._write_engine = _connectable(url, commit, pool_size=1, max_overflow=0)
        pool = _connectable(url, commit, pool_size=READERS, max_overflow=0)
        self._read_engine = pool.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._lone_engine = _connectable(url, commit, poolclass=NullPool)
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Job | set[str]] = deque()
        self._work = asyncio.Event()
        self._closing = False
        self._writer = asyncio.create_task(self._write(), name="log-writer")
        self._listener: asyncio.Task[None] | None = None
        self._name = uuid.uuid4().hex[:8]  # tells our own notices from others'

    async def set_up(self, operation: Operation[T]) -> T:
        """Run `operation` alone: no other process sets up this database meanwhile."""

        def locked(connection: sa.Connection) -> T:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SET_UP_LOCK)))
            return operation(connection)

        try:
            async with self._lone_engine.begin() as connection:
                return await connection.run_sync(locked)
        except Exception as exc:
            raise postgres_failure(exc) or exc from exc

    def submit(
        self, operation: Operation[T], *, weight: Callable[[], int] | None = None
    ) -> asyncio.Future[T]:
        """Run `operation` in the writer's next transaction; done when it is durable."""
        del weight  # nothing here holds up the loop
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.append(Job(operation, future))
        self._work.set()
        return future

    async def write(self, operation: Operation[T]) -> T:
        """`submit`, and wait for it."""
        return await self.submit(operation)

    async def read(self, operation: Operation[T], *, brief: bool = False) -> T:
        """Run `operation` on a snapshot."""
        del brief  # every read is a question to another process
        try:
            return await _run(self._read_engine, operation)
        except Exception as exc:
            if is_unstorable_text(exc):
                return await _run(self._read_engine, mending(operation))
            failure = postgres_failure(exc)
            if failure is None:
                raise
            logger.warning("the database could not be read: %s", _reason(exc))
            raise failure from exc

    def announce(self, run_ids: set[str]) -> None:
        """Tell the other processes, with the commit of what was submitted before."""
        self._queue.append(set(run_ids))
        self._work.set()

    def on_hint(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with the id of each run that another process announced."""
        if self._listener is not None:
            self._listener.cancel()
        self._listener = asyncio.create_task(self._listen(heard), name="log-listener")

    async def close(self) -> None:
        """Finish what was submitted, then let the connections go."""
        self._closing = True
        self._work.set()
        await self._writer
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
        for engine in (self._write_engine, self._read_engine, self._lone_engine):
            await engine.dispose()

    # -- the writer task -------------------------------------------------------------------------

    async def _write(self) -> None:
        while self._queue or not self._closing:
            if not self._queue:
                self._work.clear()
                await self._work.wait()
                continue
            if not any(isinstance(item, Job) for item in self._queue):
                await self._company()
            batch, told = self._next_batch()
            await self._commit(batch, told)
            deliver(batch)

    async def _company(self) -> None:
        """A hint alone waits a moment for a commit to go with: a run that says much would else
        pay for two transactions an event."""
        self._work.clear()
        if not self._closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._work.wait(), HINT_WAIT_S)

    def _next_batch(self) -> tuple[list[Job], set[str]]:
        batch: list[Job] = []
        told: set[str] = set()
        while self._queue and len(batch) < BATCH_MAX:
            item = self._queue.popleft()
            if isinstance(item, Job):
                batch.append(item)
            else:
                told |= item
        while self._queue and not isinstance(item := self._queue[0], Job):
            told |= item  # announced after the last of the batch: it goes with it
            self._queue.popleft()
        return batch, told

    async def _commit(self, batch: Sequence[Job], told: set[str]) -> None:
        notices = _notices(self._name, told)
        try:
            await _run(self._write_engine, lambda it: _carry_all_out(it, batch, notices))
        except Exception as exc:  # noqa: BLE001  # told to whoever submitted
            if (failure := postgres_failure(exc)) is not None:
                logger.warning("the database could not be written: %s", _reason(exc))
                for job in batch:
                    job.error = failure
            elif len(batch) == 1:
                await self._try_again(batch[0], exc)
            else:
                # One of them broke the transaction: each gets its own, so only that one fails.
                for job in batch:
                    await self._commit([job], set())

    async def _try_again(self, job: Job, exc: Exception) -> None:
        """Once more alone, where that may help; else `exc` is what came of it."""
        job.tries += 1
        if is_unstorable_text(exc) and job.tries < _TRIES:
            job.operation = mending(job.operation)
            await self._commit([job], set())
        elif sqlstate(exc) in _RACES and job.tries < _TRIES:
            await self._commit([job], set())
        else:
            logger.error("write failed", exc_info=exc)
            job.error = exc

    # -- hints from other processes --------------------------------------------------------------

    async def _listen(self, heard: Callable[[str], None]) -> None:
        """Hear the others, for ever; what they say while the link is broken is lost."""

        def on_notice(_connection: object, _pid: int, _channel: str, notice: str) -> None:
            name, *run_ids = notice.split()
            if name != self._name:
                for run_id in run_ids:
                    heard(run_id)

        pause = RETRY_MIN_S
        while True:
            try:
                async with self._lone_engine.connect() as connection:
                    link: Any = (await connection.get_raw_connection()).driver_connection
                    await link.add_listener(CHANNEL, on_notice)
                    pause = RETRY_MIN_S
                    try:
                        await _until_broken(link)
                    finally:
                        link.terminate()
                        await connection.invalidate()
            except Exception as exc:
                if postgres_failure(exc) is None:
                    logger.exception("cannot listen to the database")
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_MAX_S)


def _carry_all_out(connection: sa.Connection, batch: Sequence[Job], notices: Sequence[str]) -> None:
    carry_out(connection, batch)
    for notice in notices:
        connection.execute(_NOTIFY, {"notice": notice})


async def _until_broken(link: Any) -> None:
    broken = asyncio.Event()

    def on_end(_connection: object) -> None:
        broken.set()

    link.add_termination_listener(on_end)
    while not broken.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(broken.wait(), PING_S)
            return
        await link.execute("select 1", timeout=CONNECT_S)


async def _run(engine: AsyncEngine, operation: Operation[T]) -> T:
    """`operation` in a transaction. A connection that broke while it was idle is noticed only
    now: then once more on a new one, unless the commit was already under way."""
    for last in (False, True):
        committing = False
        try:
            async with engine.connect() as connection:
                transaction = await connection.begin()
                outcome = await connection.run_sync(operation)
                committing = True
                await transaction.commit()
                return outcome
        except DBAPIError as exc:
            if last or committing or not connection_lost(exc):
                raise
    raise AssertionError("unreachable")


def _notices(name: str, run_ids: set[str]) -> list[str]:
    """`name id id …`, as many as it takes to stay under the server's limit."""
    notices: list[str] = []
    for run_id in sorted(run_ids):
        if notices and len(notices[-1]) + len(run_id) < NOTICE_MAX:
            notices[-1] += f" {run_id}"
        else:
            notices.append(f"{name} {run_id}")
    return notices


def _reason(exc: BaseException) -> str:
    """For our log: the driver's words without the statement."""
    cause = exc.orig if isinstance(exc, DBAPIError) else exc
    return " ".join(str(cause).split()) or type(cause).__name__


def _connectable(url: sa.URL, commit: str, **pool: Any) -> AsyncEngine:
    return create_async_engine(
        url,
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT_S,
            "command_timeout": COMMAND_S,
            "server_settings": {
                "application_name": "a2a-gateway",
                "synchronous_commit": commit,
            },
        },
        **pool,
    )
