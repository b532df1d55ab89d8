"""One run's owner: drives it to its end and takes what happens to it beside its events.

Knows the driver by its protocol. Answers are recorded before the agent gets them; a cancel that
was accepted decides how the run ends.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from gateway.core.clock import Clock, iso
from gateway.core.errors import (
    CancelPendingError,
    CoreError,
    FencedError,
    NotCancelableError,
    NotSteerableError,
    RunEndedError,
)
from gateway.core.events import Event, RunFailed, StatusChanged
from gateway.core.life import endings
from gateway.core.life.deadline import Deadline
from gateway.core.life.driver import Distant, Driver
from gateway.core.life.follow_ups import Did, FollowUps
from gateway.core.life.restored import ends_of_open, whole_requests
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Run
from gateway.core.redact import Limits
from gateway.core.status import RunStatus
from gateway.core.store.entry import RequestKey
from gateway.core.store.log import RunLog

CANCEL_CONFIRM_S: Final = 60.0  # then the run ends without its agent's word
SAID_FIRST_S: Final = 2.0  # what a follow-up under way gets before a cancel overtakes it

logger = logging.getLogger(__name__)


class Owner:
    """The life of one active run in this process."""

    def __init__(
        self,
        run: Run,
        driver: Driver,
        log: RunLog,
        *,
        clock: Clock,
        limits: Limits,
        on_change: Callable[["Owner"], None],
    ) -> None:
        self.writer = RunWriter(log, run, clock=clock, limits=limits, on_status=self._moved)
        self._log = log
        self._driver = driver
        self._clock = clock
        self._on_change = on_change
        self._lock = asyncio.Lock()  # one follow-up at a time
        self._said = FollowUps(self.writer, driver, log)
        self._driving: asyncio.Task[None] | None = None  # ours, while the driver is at work
        self._stopped = False
        self._cancelled = run.cancel_requested_at is not None
        self._unconfirmed: asyncio.TimerHandle | None = None
        self._given_up = False
        self._telling: asyncio.Task[None] | None = None
        self._deadline = Deadline(run, clock(), self._on_deadline)
        self._restored = asyncio.Event()  # what is said to a run that comes back waits for it
        if _never_sent(run):
            self._restored.set()
        self._backstop = False  # the deadline has passed once, at an agent that keeps it itself
        self._overdue: RunFailed | None = None

    @property
    def run(self) -> Run:
        return self.writer.run

    @property
    def is_cancelled(self) -> bool:
        """A cancel was accepted, or the deadline has passed."""
        return self._cancelled

    # -- its work --------------------------------------------------------------------------------

    async def work(self) -> None:
        """Drive the run to its end; whatever goes wrong ends it with a reason."""
        try:
            last = await self._drive() if self._is_wanted() else endings.CANCELLED
            if last is not None and not self.run.terminal:
                await self.writer.emit(last)
            await self.writer.flush()
        except FencedError:
            logger.warning("run %s: another process owns it now", self.run.id)
        finally:
            self._restored.set()
            self._deadline.close()
            if self._unconfirmed is not None:
                self._unconfirmed.cancel()
            if self._telling is not None:
                self._telling.cancel()

    def _is_wanted(self) -> bool:
        """False when a cancel came before any agent heard of the run: then none ever does."""
        return not (self._cancelled and _never_sent(self.run))

    async def _drive(self) -> Event | None:
        """Let the driver work; returns the run's last word where the driver leaves it to us."""
        if self._stopped:
            return None
        self._driving = asyncio.current_task()
        try:
            await self._restore()
            if self._cancelled:  # asked before a restart, or a moment ago: its time begins anew
                self._await_confirmation() if self._driver.upstream else self._tell()
            self._deadline.moved(self.run.status)
            await self._driver.drive(self.writer)
        except asyncio.CancelledError:
            if not (self._stopped or self._given_up):
                raise
            # Ours alone: `stop` or an unconfirmed cancel ended the driver, and the run's last word
            # is still to be said by this task.
            if self._driving is not None:
                self._driving.uncancel()
        except FencedError:
            raise
        except Exception as exc:
            logger.exception("run %s: its driver failed", self.run.id)
            return endings.failure_of(exc)
        finally:
            self._driving = None
        return self._last_word()

    async def _restore(self) -> None:
        """Make a run that was active before this server complete again, at the agent's own server."""
        if self._restored.is_set():
            return
        if not self._driver.upstream:
            self.writer.reopen(await whole_requests(self._log, self.run))
            if ends := await ends_of_open(self._log, self.run):
                await self.writer.emit(*ends)
        self._restored.set()

    def _last_word(self) -> Event | None:
        """How a run ends whose driver left without an end; None: it goes on with the next start."""
        if self._stopped:
            return None if self._driver.outlasts(self.run) else endings.INTERRUPTED
        if self._given_up:
            self.writer.ending = None
            return self._overdue or endings.UNCONFIRMED
        return endings.AGENT_LOST

    def stop(self) -> None:
        """The server stops: end the driver. One that has ended already says its last word."""
        self._stopped = True
        if self._driving is not None:
            self._driving.cancel()

    def _moved(self, status: RunStatus) -> None:
        self._deadline.moved(status)
        self._on_change(self)

    async def place(self) -> int | None:
        """The place of a run that waits for its turn at its agent's own server."""
        return await self._driver.place() if isinstance(self._driver, Distant) else None

    # -- follow-ups ------------------------------------------------------------------------------

    async def message(self, message: Message, principal: str, key: RequestKey | None) -> Did:
        """Answer, steer or retry with a follow-up, once for its key; returns what it did.

        What it did is durable then. Raises: RequestConflictError, RunEndedError,
        CancelPendingError, AnswerRefusedError, NotSteerableError, StorageError.
        """
        await self._restored.wait()
        async with self._lock:
            if key is not None and await self._log.run_of_key(key) is not None:
                return "attached"
            run = self.run
            if run.terminal:
                await self.writer.flush()
                raise RunEndedError(run.id, run.status)
            if self._cancelled:
                raise CancelPendingError(run.id)
            if self._driving is None:
                raise NotSteerableError(run.id, "it is queued and has not started")
            return await self._said.take(message, principal, key)

    # -- cancel and deadline ---------------------------------------------------------------------

    async def cancel(self) -> None:
        """Accept a cancel: the agent is asked to stop, the run's own end follows as an event.

        Raises: NotCancelableError when the end was appended already.
        """
        if self.run.terminal:
            await self.writer.flush()
            raise NotCancelableError(self.run.id, self.run.status)
        if self._cancelled:
            return
        self._cancelled = True
        if self._driving is None and not self._is_wanted():
            return  # `work` sees it before the driver would
        if self._driver.upstream:
            await self._record_cancel()
        else:
            self.writer.ending = endings.cancelled
        self._tell()

    async def _record_cancel(self) -> None:
        await self.writer.emit(
            StatusChanged(status=self.run.status, cancel_requested_at=iso(self._clock()))
        )
        await self.writer.flush()

    def _tell(self) -> None:
        """Ask the driver to stop, in a task of our own: who asked us may go away meanwhile."""
        if self._driving is not None and not self.run.terminal:
            self._await_confirmation()
            self._telling = asyncio.create_task(self._say_cancel(), name=f"cancel {self.run.id}")

    async def _say_cancel(self) -> None:
        try:
            if self._overdue is not None and self._driver.upstream:
                await self._record_cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(SAID_FIRST_S), self._lock:
                    pass
            await self._driver.cancel()
        except CoreError as exc:  # an agent that cannot be told: the timer ends the run
            logger.info("run %s: its agent was not told to stop: %s", self.run.id, exc)
        except Exception:
            logger.exception("run %s: its driver failed to cancel", self.run.id)

    def _await_confirmation(self) -> None:
        loop = asyncio.get_running_loop()
        self._unconfirmed = loop.call_later(CANCEL_CONFIRM_S, self._give_up)

    def _give_up(self) -> None:
        if self._driving is not None:
            self._given_up = True
            self._driving.cancel()

    def _on_deadline(self, seconds: float) -> None:
        if self.run.terminal or self._cancelled:
            return
        if not self._backstop and (grace := self._driver.deadline_grace_s):
            self._backstop = True
            self._deadline.extend(grace)
            return
        self._cancelled = True
        self._overdue = endings.overdue(seconds)
        self.writer.ending = self._end_overdue
        self._tell()

    def _end_overdue(self, event: Event) -> Event:
        """A deadline is a cancel that ends failed; an agent's server may have ended it before."""
        if self._overdue is None or (
            self._driver.upstream and not isinstance(event, StatusChanged)
        ):
            return event
        return replace(self._overdue, usage=getattr(event, "usage", None))


def _never_sent(run: Run) -> bool:
    """True of a run that no agent can have heard of."""
    return run.last_seq == 0 and run.remote is None
