"""One run's owner: drives it to its end and takes what happens to it beside its events.

Knows the driver by its protocol. Answers are recorded before the agent gets them; a cancel that
was accepted decides how the run ends.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias

from gateway.core.answers import AnswerError, names_requests, read_answers
from gateway.core.clock import Clock, iso
from gateway.core.deadline import Deadline
from gateway.core.driver import Driver
from gateway.core.errors import (
    AnswerRefusedError,
    CancelPendingError,
    CoreError,
    FencedError,
    NotCancelableError,
    NotSteerableError,
    RunEndedError,
)
from gateway.core.events import Event, RunFailed, StatusChanged
from gateway.core.extension import Answer
from gateway.core.messages import Message
from gateway.core.record import AfterTerminalError, Run, follow_up, resolution
from gateway.core.redact import Limits
from gateway.core.status import RunStatus
from gateway.core.store.log import RunLog
from gateway.core.writer import RunWriter

CANCEL_CONFIRM_S: Final = 60.0  # then the run ends without its agent's word

Did: TypeAlias = Literal["answered", "steered", "resumed"]  # what a follow-up did

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
        self.task: asyncio.Task[None] | None = None
        self._driver = driver
        self._clock = clock
        self._on_change = on_change
        self._lock = asyncio.Lock()  # one follow-up or cancel at a time
        self._answered: set[str] = set()
        self._cancelled = False
        self._stopped = False
        self._unconfirmed: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        self._deadline = Deadline(run, self._on_deadline)

    @property
    def run(self) -> Run:
        return self.writer.run

    # -- its work --------------------------------------------------------------------------------

    async def work(self) -> None:
        """Drive the run to its end; whatever goes wrong ends it with a reason."""
        self._deadline.moved(self.run.status)
        try:
            await self._driver.drive(self.writer)
            failure = RunFailed(message="the agent ended without a result", reason="agent_lost")
        except asyncio.CancelledError:
            if not self._stopped and not self._cancelled:
                raise
            # Ours alone: `stop` or an unconfirmed cancel ended the driver, and the run's last word
            # is still to be said by this task.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            failure = self._stop_event()
        except FencedError:
            logger.warning("run %s: another process owns it now", self.run.id)
            return
        except Exception as exc:
            logger.exception("run %s: its driver failed", self.run.id)
            reason = exc.code if isinstance(exc, CoreError) else "driver_error"
            text = str(exc) if isinstance(exc, CoreError) else "the driver failed; see the log"
            failure = RunFailed(message=text, reason=reason)
        finally:
            self._deadline.close()
            if self._unconfirmed is not None:
                self._unconfirmed.cancel()
        if failure is not None and not self.run.terminal:
            await self.writer.emit(failure)
        await self.writer.flush()

    def _stop_event(self) -> Event | None:
        """How a run ends whose driver was cancelled; None leaves it for the next start."""
        if self._cancelled and not self._stopped:
            return RunFailed(
                message="the agent did not confirm the cancel", reason="cancel_unconfirmed"
            )
        if self._driver.upstream:
            return None
        return RunFailed(
            message="the agent's server was stopped; continue the session to go on",
            reason="interrupted",
        )

    def stop(self) -> None:
        """The server stops: end the driver."""
        self._stopped = True
        if self.task is not None:
            self.task.cancel()

    def _moved(self, status: RunStatus) -> None:
        self._deadline.moved(status)
        self._on_change(self)

    # -- follow-ups ------------------------------------------------------------------------------

    async def message(self, message: Message, principal: str) -> Did:
        """Answer, steer or retry with a follow-up; returns which: answered, steered, resumed.

        Raises: RunEndedError, CancelPendingError, AnswerRefusedError, NotSteerableError.
        """
        async with self._lock:
            run = self.run
            if run.terminal:
                raise RunEndedError(run.id, run.status)
            if self._cancelled or run.cancel_requested_at is not None:
                raise CancelPendingError(run.id)
            if self.task is None:
                raise NotSteerableError(run.id, "it is queued and has not started")
            if run.pending or names_requests(message):
                await self._answer(message, principal)
                return "answered"
            await self._driver.steer(message)
            if not self._driver.upstream and not self.run.terminal:
                await self.writer.emit(follow_up(message))
            return "resumed" if run.status is RunStatus.AUTH_REQUIRED else "steered"

    async def _answer(self, message: Message, principal: str) -> None:
        answers = self._read(message)
        if not self._driver.upstream:
            await self.writer.emit(follow_up(message))
            for answer in answers:
                await self.writer.emit(
                    resolution(self.run, answer.request_id, how="answered", by=principal)
                )
            await self.writer.flush()
        await self._driver.answer(answers, message)
        self._answered.update(answer.request_id for answer in answers)

    def _read(self, message: Message) -> Sequence[Answer]:
        try:
            return read_answers(message, self.run.pending)
        except AnswerError as exc:
            code = "already_answered" if exc.request_id in self._answered else exc.code
            raise AnswerRefusedError(code, str(exc)) from exc

    # -- cancel and deadline ---------------------------------------------------------------------

    async def cancel(self) -> None:
        """Ask the agent to stop; the run's own end follows as an event.

        Raises: NotCancelableError when the end was appended already.
        """
        async with self._lock:
            if self.run.terminal:
                raise NotCancelableError(self.run.id, self.run.status)
            if self._cancelled:
                return
            self._cancelled = True
            if self._driver.upstream:
                await self.writer.emit(
                    StatusChanged(status=self.run.status, cancel_requested_at=iso(self._clock()))
                )
                await self.writer.flush()
            else:
                self.writer.ending = _cancelled
            await self._tell()

    async def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        self._unconfirmed = loop.call_later(CANCEL_CONFIRM_S, self._give_up)
        with suppress(CoreError):  # an agent that cannot be told: the timer ends the run
            await self._driver.cancel()

    def _give_up(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def end_queued(self) -> None:
        """End a run that was never sent to its agent."""
        with suppress(AfterTerminalError):
            await self.writer.emit(
                StatusChanged(status=RunStatus.CANCELLED, reason="cancelled_by_caller")
            )
        await self.writer.flush()

    def _on_deadline(self, seconds: float) -> None:
        if self._driver.upstream or self.run.terminal or self._cancelled:
            return
        failure = RunFailed(message=f"no end within {seconds:g} s of running", reason="deadline")
        self._cancelled = True
        self.writer.ending = lambda _event: failure
        self._telling = asyncio.create_task(self._tell())


def _cancelled(event: Event) -> Event:
    """Whatever the agent says last, an accepted cancel ends the run as cancelled."""
    usage = getattr(event, "usage", None)
    return StatusChanged(
        status=RunStatus.CANCELLED,
        reason="cancelled_by_caller",
        extra={"usage": usage} if usage else {},
    )
