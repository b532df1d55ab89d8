"""Who works on which run: one owner task per active run, turns per context, slots, cancels.

Knows drivers only by their protocol. Everything that happens to a run beside its own events
(an answer, a steer, a cancel, a deadline) goes through its owner, one at a time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from gateway.core.clock import Clock
from gateway.core.driver import DriverFactory
from gateway.core.errors import RunNotFoundError
from gateway.core.events import Rejected
from gateway.core.messages import Message
from gateway.core.owner import Did, Owner
from gateway.core.record import Run
from gateway.core.redact import Limits
from gateway.core.status import WAITING
from gateway.core.store.log import RunLog

STOP_GRACE_S: Final = 5.0  # what drivers get to end their agents when the server stops

logger = logging.getLogger(__name__)


class Supervisor:
    """Owns the active runs of this process.

    `capacity` is how many runs may be `running` at once (None: no bound); runs of one context go
    one after another; more than `queue_limit` waiting runs are rejected.
    """

    def __init__(
        self,
        log: RunLog,
        driver_for: DriverFactory,
        *,
        clock: Clock,
        limits: Limits,
        capacity: int | None,
        queue_limit: int,
    ) -> None:
        self._log = log
        self._driver_for = driver_for
        self._clock = clock
        self._limits = limits
        self._capacity = capacity
        self._queue_limit = queue_limit
        self._owners: dict[str, Owner] = {}
        self._queue: deque[Owner] = deque()  # not started yet, oldest first
        self._contexts: dict[str, Owner] = {}  # context -> the run whose turn it is
        self._held: set[str] = set()  # runs that hold a slot: started, and not waiting for anybody
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    @asynccontextmanager
    async def running(self, owner_id: str) -> AsyncGenerator[None]:
        """Take over what was active, supervise, and stop truthfully at the end."""
        for run in await self._log.claim_active(owner_id):
            self.start(run)
        try:
            yield
        finally:
            await self.stop()

    # -- what tasks ask --------------------------------------------------------------------------

    def start(self, run: Run) -> None:
        """Queue a stored run; it starts when its context's turn and a slot are free."""
        if run.id in self._owners or run.terminal:
            return
        owner = Owner(
            run,
            self._driver_for(run),
            self._log,
            clock=self._clock,
            limits=self._limits,
            on_change=self._moved,
        )
        self._owners[run.id] = owner
        if self._full(owner):
            self._spawn(owner, partial(self._reject, owner))
            return
        self._queue.append(owner)
        self._schedule()

    def place(self, run_id: str) -> int | None:
        """1 for the next run to start, None for one that is not waiting."""
        for place, owner in enumerate(self._queue, 1):
            if owner.run.id == run_id:
                return place
        return None

    async def message(self, run_id: str, message: Message, principal: str) -> Did:
        """A follow-up for an active run; returns what it did: answered, steered or resumed."""
        return await self._owner(run_id).message(message, principal)

    async def cancel(self, run_id: str) -> None:
        """Ask a run to stop. Raises: NotCancelableError when it has ended."""
        owner = self._owner(run_id)
        if owner in self._queue and owner.run.last_seq == 0:
            self._queue.remove(owner)
            self._spawn(owner, owner.end_queued)
            return
        await owner.cancel()

    def _owner(self, run_id: str) -> Owner:
        if (owner := self._owners.get(run_id)) is None:
            raise RunNotFoundError(run_id)
        return owner

    # -- turns and slots -------------------------------------------------------------------------

    def _full(self, owner: Owner) -> bool:
        return owner.run.last_seq == 0 and len(self._queue) >= self._queue_limit

    async def _reject(self, owner: Owner) -> None:
        text = f"{len(self._queue)} runs are waiting already; try again later"
        await owner.writer.emit(Rejected(message=text, reason="queue_full"))
        await owner.writer.flush()

    def _schedule(self) -> None:
        """Start every queued run whose context is free while there are slots."""
        if self._stopping:
            return
        free = len(self._queue) if self._capacity is None else self._capacity - len(self._held)
        for owner in list(self._queue):
            if free <= 0:
                return
            if owner.run.context_id in self._contexts:
                continue
            self._queue.remove(owner)
            self._contexts[owner.run.context_id] = owner
            self._held.add(owner.run.id)
            self._spawn(owner, owner.work)
            free -= 1

    def _moved(self, owner: Owner) -> None:
        """A run's status changed: one that waits for somebody gives its slot to the next."""
        if owner.run.status in WAITING:
            self._held.discard(owner.run.id)
        elif self._contexts.get(owner.run.context_id) is owner:
            self._held.add(owner.run.id)  # a resumed run goes on at once, before any new one
        self._schedule()

    def _spawn(self, owner: Owner, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._own(owner, work), name=f"run {owner.run.id}")
        owner.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _own(self, owner: Owner, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:
            # The log refused the run's last word (fenced, disk): the next start sweeps it.
            logger.exception("run %s: its owner stopped", owner.run.id)
        finally:
            self._owners.pop(owner.run.id, None)
            self._held.discard(owner.run.id)
            if self._contexts.get(owner.run.context_id) is owner:
                del self._contexts[owner.run.context_id]
            self._schedule()

    async def stop(self) -> None:
        """End the owners: local agents are stopped and say so, remote runs are left to go on."""
        self._stopping = True
        for owner in list(self._owners.values()):
            owner.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_GRACE_S)
