"""Hands the log's writes to the database, as many at once as have gathered.

Knows futures and the engine. A write waits for nobody: what arrives while a commit is under way
goes into the next, whichever runs it belongs to.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, TypeAlias

import sqlalchemy as sa

from gateway.core.errors import CoreError, StorageError
from gateway.core.record import Run
from gateway.core.store.batch import Outcome, Write, carry_out, weight
from gateway.core.store.engine import Engine

GATHERED_MAX: Final = 256  # writes of one operation

_Waiting: TypeAlias = tuple[Write, asyncio.Future[Run]]


class Pump:
    """Writes in the order of their arrival, one operation in flight at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._in_flight = False

    def write(self, write: Write) -> asyncio.Future[Run]:
        """Done when `write` is durable: the run it led to. Raises: what it was refused with."""
        done: asyncio.Future[Run] = self._loop.create_future()
        self._waiting.append((write, done))
        if not self._in_flight:
            self._submit()
        return done

    def _submit(self) -> None:
        self._in_flight = True
        taken: list[_Waiting] = []

        def operation(connection: sa.Connection) -> list[Outcome]:
            # Called by the engine's writer, which may be a thread: takes what has gathered by now.
            # It may be called again when another operation broke the transaction.
            self._gather(taken)
            return carry_out(connection, [write for write, _ in taken])

        submitted = self._engine.submit(operation, weight=self._weight)
        submitted.add_done_callback(lambda f: self._carried_out(f, taken))

    def _gather(self, taken: list[_Waiting]) -> None:
        while self._waiting and len(taken) < GATHERED_MAX:
            taken.append(self._waiting.popleft())

    def _weight(self) -> int:
        return sum([weight(write) for write, _ in self._waiting])

    def _carried_out(self, outcome: asyncio.Future[list[Outcome]], taken: list[_Waiting]) -> None:
        error = None if outcome.cancelled() else outcome.exception()
        if not taken:
            # The database was not even reached. Who waits is told, or they would wait for as long
            # as it is gone, and the pump would ask it again without a pause.
            self._gather(taken)
        if outcome.cancelled() or isinstance(error, StorageError):
            self._settle(taken, [error or CoreError("the log was closed")] * len(taken))
        elif error is not None and len(taken) > 1:
            self._one_by_one(taken)
        elif error is not None:
            self._settle(taken, [error])
        else:
            self._settle(taken, outcome.result())
        if self._waiting:
            self._submit()
        else:
            self._in_flight = False

    def _one_by_one(self, taken: Sequence[_Waiting]) -> None:
        """One of them broke the statement of all: only the culprit fails."""
        for waiting in taken:
            alone = self._engine.submit(
                lambda connection, write=waiting[0]: carry_out(connection, [write])
            )
            alone.add_done_callback(lambda f, one=waiting: self._carried_out_alone(f, one))

    def _carried_out_alone(self, outcome: asyncio.Future[list[Outcome]], one: _Waiting) -> None:
        error = None if outcome.cancelled() else outcome.exception()
        if outcome.cancelled():
            error = CoreError("the log was closed")
        self._settle([one], outcome.result() if error is None else [error])

    def _settle(self, taken: Sequence[_Waiting], outcomes: Sequence[Run | BaseException]) -> None:
        for (_, done), outcome in zip(taken, outcomes, strict=True):
            if done.done():
                continue
            if isinstance(outcome, BaseException):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)
