"""Who works on which run: one owner task per active run, started when its turn and a slot come.

Knows drivers only by their protocol. Everything that happens to a run beside its own events
(an answer, a steer, a cancel, a deadline) goes through its owner, one at a time.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.core.clock import Clock
from gateway.core.errors import (
    CoreError,
    FencedError,
    NotSteerableError,
    RunNotFoundError,
    StorageError,
)
from gateway.core.events import Event, Rejected
from gateway.core.life import endings
from gateway.core.life.driver import DriverFactory
from gateway.core.life.errands import Errands
from gateway.core.life.follow_ups import Did
from gateway.core.life.kin import Kin
from gateway.core.life.owner import Owner
from gateway.core.life.slots import Queued, Slots
from gateway.core.life.stalls import Stalls
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Run
from gateway.core.redact import Limits
from gateway.core.status import WAITING, RunStatus
from gateway.core.store.entry import RequestKey
from gateway.core.store.log import RunLog

STOP_GRACE_S: Final = 5.0  # what drivers get to end their agents when the server stops
SAID_GRACE_S: Final = 0.5  # and then what is still being said to them
ADOPT_RETRY_S: Final = 1.0  # between looks for a run whose storing had an unknown outcome

logger = logging.getLogger(__name__)


class Supervisor:
    """Owns the active runs of this process.

    `capacity` is how many runs may be `running` at once (None: no bound); runs of one context go
    one after another; with `queue_limit` runs waiting, one that would have to wait is rejected.
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
        stall_after_s: float,
    ) -> None:
        self._log = log
        self._driver_for = driver_for
        self._clock = clock
        self._limits = limits
        self._queue_limit = queue_limit
        self._stalls = Stalls(clock, stall_after_s)
        self._slots = Slots(capacity)
        self._owners: dict[str, Owner] = {}
        self._kin = Kin()
        self._working: set[asyncio.Task[None]] = set()  # of owners
        self._errands = Errands()
        self._stall_timer: asyncio.TimerHandle | None = None
        self.stopping = asyncio.Event()

    @asynccontextmanager
    async def running(self, owner_id: str) -> AsyncGenerator[None]:
        """Take over what was active, supervise, and stop truthfully at the end."""
        claimed = await self._log.claim_active(owner_id)
        # Those that had started have their contexts' turns; the others queue again in order.
        for run in sorted(claimed, key=_is_new):
            self._take_on(run)
        self._schedule()
        self._watch_stalls()
        try:
            yield
        finally:
            if self._stall_timer is not None:
                self._stall_timer.cancel()
            await self.stop()

    # -- what tasks ask --------------------------------------------------------------------------

    @property
    def stall_after_s(self) -> float:
        return self._stalls.after_s

    @property
    def runs(self) -> list[Run]:
        """The runs that are worked on or queued here, of every caller."""
        return [owner.run for owner in self._owners.values()]

    def start(self, run: Run) -> None:
        """Queue a stored run; it starts when its context's turn and a slot are free."""
        if run.id in self._owners or run.terminal:
            return
        self._take_on(run)
        self._schedule()
        if self._slots.queued > self._queue_limit and self._slots.state(run.id) is not None:
            self._slots.leave(run.id)
            text = f"{self._queue_limit} runs are waiting already; try again later"
            self._spawn(run, self._end(run, Rejected(message=text, reason="queue_full")))

    def adopt(self, run_id: str) -> None:
        """Start a run if it was stored after all: whoever stored it never heard the outcome."""
        self._errands.send(self._adopt(run_id), f"adopt {run_id}")

    def active(self, principal: str, run_id: str) -> Run | None:
        """An active run of `principal`, by its id or by the id that its caller knows it by."""
        owner = self._owners.get(self._kin.own_id(principal, run_id))
        return owner.run if owner is not None and owner.run.principal == principal else None

    def at_turn(self, context_id: str) -> Run | None:
        """The run of a context that is under way."""
        run_id = self._slots.at_turn(context_id)
        return self._owners[run_id].run if run_id in self._owners else None

    def queue_state(self, run_id: str) -> Queued | None:
        """Where a queued run stands; None for one that is not waiting for its turn here."""
        return self._slots.state(run_id)

    async def place(self, run_id: str) -> int | None:
        """The place of a run that waits for its turn at its agent's own server."""
        owner = self._owners.get(run_id)
        return None if owner is None else await owner.place()

    async def message(
        self, run_id: str, message: Message, principal: str, key: RequestKey | None
    ) -> Did:
        """A follow-up for an active run; returns what it did. Done even if the caller goes away."""
        owner = self._owner(run_id)
        try:
            return await self._errands.wait(
                owner.message(message, principal, key), f"message {run_id}"
            )
        except NotSteerableError as exc:
            if (queued := self._slots.state(run_id)) is None:
                raise
            raise NotSteerableError(run_id, queued.text) from exc

    async def cancel(self, run_id: str) -> None:
        """Ask a run to stop. Raises: NotCancelableError when it has ended."""
        owner = self._owner(run_id)
        await self._errands.wait(owner.cancel(), f"cancel {run_id}")
        if self._slots.state(run_id) is not None:  # it never starts: its owner only says so
            self._slots.leave(run_id)
            self._spawn(owner.run, owner.work())
            self._schedule()
        self._cancel_children(owner.run)

    def _cancel_children(self, run: Run) -> None:
        """What was asked for from within a run that is stopped stops too."""
        for child in self._kin.children(run):
            self._errands.send(self._cancel_child(child), f"cancel {child}, asked for by {run.id}")

    async def _cancel_child(self, run_id: str) -> None:
        try:
            await self.cancel(run_id)
        except CoreError as exc:  # it ended first
            logger.info("run %s: %s", run_id, exc)

    def _owner(self, run_id: str) -> Owner:
        if (owner := self._owners.get(run_id)) is None:
            raise RunNotFoundError(run_id)
        return owner

    # -- its runs --------------------------------------------------------------------------------

    def _take_on(self, run: Run) -> None:
        """An owner for a run, and a place in the queue; one that had started is at work again."""
        try:
            driver = self._driver_for(run)
        except Exception as exc:
            logger.exception("run %s: no driver could be made for it", run.id)
            self._spawn(run, self._end(run, endings.failure_of(exc)))
            return
        owner = Owner(
            run,
            driver,
            self._log,
            clock=self._clock,
            limits=self._limits,
            on_change=self._moved,
        )
        self._owners[run.id] = owner
        self._kin.enter(run)
        parent = None
        if run.request.parent is not None:
            parent = self.active(run.principal, run.request.parent.run_id)
        self._slots.enter(run.id, run.context_id, None if parent is None else parent.id)
        if parent is not None and self._owners[parent.id].is_cancelled:
            self._errands.send(self._cancel_child(run.id), f"cancel {run.id}, asked for too late")
        if not _is_new(run) and self._slots.seize(run.id, running=run.status not in WAITING):
            self._spawn(run, owner.work())

    async def _end(self, run: Run, event: Event) -> None:
        """End a run that nobody works on."""
        writer = RunWriter(self._log, run, clock=self._clock, limits=self._limits)
        await writer.emit(event)
        await writer.flush()

    def _schedule(self) -> None:
        """Start every queued run whose turn has come while there are slots."""
        if self.stopping.is_set():
            return
        for run_id in self._slots.take():
            owner = self._owners[run_id]
            self._spawn(owner.run, owner.work())

    def _moved(self, owner: Owner) -> None:
        """A run's status changed: one that waits for somebody gives its slot to the next."""
        run = owner.run
        if run.status in WAITING:
            self._slots.waits(run.id)
        elif run.status is RunStatus.RUNNING:
            self._slots.goes_on(run.id)
        else:
            return  # it has ended: its turn and slot are free when its owner has done
        self._schedule()

    def _spawn(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        task = self._log.loop.create_task(self._own(run, work), name=f"run {run.id}")
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _own(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except FencedError:
            logger.warning("run %s: another process owns it now", run.id)
        except Exception:
            # The log refused the run's last word: the next start sweeps it.
            logger.exception("run %s: its owner stopped", run.id)
        finally:
            if (owner := self._owners.pop(run.id, None)) is not None:
                if endings.takes_children_along(owner.run):
                    self._cancel_children(owner.run)
                self._kin.leave(run)
            self._stalls.forget(run.id)
            self._slots.leave(run.id)
            self._schedule()

    async def _adopt(self, run_id: str) -> None:
        while not self.stopping.is_set():
            try:
                run = await self._log.stored(run_id)
            except StorageError:
                await asyncio.sleep(ADOPT_RETRY_S)
                continue
            if run is not None:
                self.start(run)
            return

    # -- stalls and the end ----------------------------------------------------------------------

    def _watch_stalls(self) -> None:
        self.look_for_stalls()
        loop = asyncio.get_running_loop()
        self._stall_timer = loop.call_later(self._stalls.after_s / 4, self._watch_stalls)

    def look_for_stalls(self) -> None:
        self._stalls.look(self.runs)

    async def stop(self) -> None:
        """End the owners: local agents are stopped and say so, remote runs are left to go on."""
        self.stopping.set()
        for owner in list(self._owners.values()):
            owner.stop()
        late: set[asyncio.Task[Any]] = set()
        if self._working:
            _, late = await asyncio.wait(self._working, timeout=STOP_GRACE_S)
        if said := self._errands.under_way:  # one that hangs at an agent which is gone by now
            _, hanging = await asyncio.wait(said, timeout=SAID_GRACE_S)
            late = late | hanging
        for task in late:
            logger.warning("%s: not ended in time; cut off", task.get_name())
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)


def _is_new(run: Run) -> bool:
    """True of a run that no driver has worked on yet."""
    return run.last_seq == 0 and run.remote is None
