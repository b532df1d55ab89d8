"""A durable task server: log, supervisor and operations, opened and closed together."""

import os
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from gateway.core.addresses import Screen
from gateway.core.clock import Clock
from gateway.core.keep import Keep
from gateway.core.life.driver import DriverFactory
from gateway.core.life.keeping import Keeping
from gateway.core.life.liveness import STALL_AFTER_S
from gateway.core.life.supervisor import Supervisor
from gateway.core.push.deliveries import Deliveries
from gateway.core.push.delivery import Patience
from gateway.core.redact import Limits
from gateway.core.secrets import Mask
from gateway.core.store.engine import Durability
from gateway.core.store.open import open_log
from gateway.core.tasks import Tasks

QUEUE_LIMIT: Final = 1000  # waiting runs; beyond it a run is rejected with a reason


def now() -> int:
    """Unix microseconds."""
    return time.time_ns() // 1000


@asynccontextmanager
async def task_server(  # noqa: PLR0913  # what a server is made with, all by keyword
    *,
    database: Path | str,
    driver_for: DriverFactory,
    capacity: int | None = None,
    queue_limit: int = QUEUE_LIMIT,
    stall_after_s: float = STALL_AFTER_S,
    clock: Clock = now,
    durability: Durability = "normal",
    replica: str | None = None,
    limits: Limits | None = None,
    mask: Mask | None = None,
    screen: Screen | None = None,
    patience: Patience | None = None,
    keep: Keep | None = None,
) -> AsyncGenerator[Tasks]:
    """The operations of a task server on `database` (a file or a URL); active runs are taken up
    again.

    `replica`: this server's name among those that share a database, the same after a restart, so
    that it finds its own runs; a new one if None.
    `capacity`: runs that may be running at once, None for no bound. `stall_after_s`: silence after
    which a running one counts as stalled. `mask` knows the secrets of this process; those that any
    text tells are masked without it. `screen`: where webhooks may be (public addresses alone
    without it); `patience`: how long one is tried. `keep`: what is kept of runs that have ended,
    everything without it. Raises: DatabaseUnusableError.
    """
    log = await open_log(database, durability=durability, mask=mask)
    supervisor = Supervisor(
        log,
        driver_for,
        clock=clock,
        limits=limits or Limits(),
        capacity=capacity,
        queue_limit=queue_limit,
        stall_after_s=stall_after_s,
    )
    replica = replica or f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    tasks = Tasks(log, supervisor, clock=clock, screen=screen)
    deliveries = Deliveries(tasks, replica, clock=clock, patience=patience or Patience())
    keeping = Keeping(log, keep or Keep(), clock=clock)
    try:
        async with supervisor.running(replica), deliveries.running(), keeping.running():
            yield tasks
    finally:
        await log.close()
