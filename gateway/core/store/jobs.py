"""Operations on their way through a writer: what was asked, and what came of it.

Knows no database. Both engines commit many at once and deliver each its own outcome.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from gateway.core.errors import CoreError
from gateway.core.store.engine import Operation

BATCH_MAX: Final = 256  # operations of one commit; beyond it latency grows and speed does not


@dataclass(slots=True)
class Job:
    """One operation; `tries` counts its transactions of its own. `weight` says how many
    rows it would write now; without it nobody knows."""

    operation: Operation[Any]
    future: asyncio.Future[Any]
    weight: Callable[[], int] | None = None
    outcome: Any = None
    error: BaseException | None = None
    tries: int = 0

    def carry_out(self, connection: sa.Connection) -> None:
        """Run it. What it refuses is its outcome, and no reason to roll others back."""
        self.outcome = self.error = None
        try:
            self.outcome = self.operation(connection)
        except CoreError as exc:
            self.error = exc


def carry_out(connection: sa.Connection, batch: Sequence[Job]) -> None:
    """Run all of them, in order."""
    for job in batch:
        job.carry_out(connection)


def deliver(batch: Sequence[Job]) -> None:
    """Tell those who wait, in the order of their submission."""
    for job in batch:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.outcome)
