"""The task server's driver over an adapter: a session's steps become the run's events.

Knows adapters only by their interface, and no A2A. What the server records beside the events
(answers, follow-ups, cancels, deadlines) is the server's affair; here they reach the agent.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from gateway.core.clock import Clock
from gateway.core.errors import CoreError, InvalidInputError, NotSteerableError
from gateway.core.events import InputRequired, Rejected, RunFailed, RunStarted, StatusChanged
from gateway.core.extension import Answer, CodingRequest, PendingRequest
from gateway.core.life.timing import TimeLimits, default_answer
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Run, resolution
from gateway.core.server import now
from gateway.core.status import WAITING, RunStatus
from wrappers.adapter import (
    AgentSession,
    Answered,
    Ask,
    Bound,
    Step,
    Turn,
    UnsupportedError,
    Withdraw,
)
from wrappers.resumption import aborts, message_of
from wrappers.running.contexts import Contexts
from wrappers.running.conversations import Conversations
from wrappers.running.seams import Seams

INTERRUPTED: Final = RunFailed(
    message="the agent's server ended during the run; continue the session to go on",
    reason="interrupted",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """What the runs of one wrapper share. `check` refuses a request before anything is started,
    `environment` is what a run's commands may see, `answer_within_s` how long a request of the
    agent waits at most (None: for ever)."""

    conversations: Conversations
    contexts: Contexts
    check: Callable[[CodingRequest], None]
    environment: Callable[[CodingRequest], Mapping[str, str]]
    answer_within_s: float | None = None
    clock: Clock = now


class AdapterDriver:
    """Drives one run of a wrapper."""

    def __init__(self, run: Run, wrapped: Wrapped) -> None:
        self._run_id = run.id
        self._wrapped = wrapped
        self._session: AgentSession | None = None
        self._held: Held | None = None  # a run that came back collects its answers
        self._cancelled = False
        self._retry = asyncio.Event()
        self._waits_for_retry = False
        self._writer: RunWriter | None = None
        limits = run.request.limits
        asked = limits.answer_s if limits is not None else None
        given = [limit for limit in (asked, wrapped.answer_within_s) if limit is not None]
        self._times = TimeLimits(min(given, default=None), wrapped.clock, self._expire)

    @property
    def upstream(self) -> bool:
        return False

    def outlasts(self, run: Run) -> bool:
        """What waits for somebody needs no process: the vendor's session is resumed for it."""
        return run.status in WAITING

    @property
    def deadline_grace_s(self) -> float:
        return 0.0  # nobody is closer to the agent

    async def drive(self, writer: RunWriter) -> None:
        self._writer = writer
        answered: tuple[Answered, ...] = ()
        try:
            if writer.run.last_seq > 0:
                if writer.run.status not in WAITING:
                    await writer.emit(INTERRUPTED)
                    return
                self._waits_for_retry = writer.run.status is RunStatus.AUTH_REQUIRED
                answered = await self._hold(writer)
                if self._cancelled or aborts(answered):
                    reason = "cancelled_by_caller" if self._cancelled else "stopped_by_answer"
                    await writer.emit(StatusChanged(status=RunStatus.CANCELLED, reason=reason))
                    return
            await self._work(writer, answered)
        finally:
            await self._times.close()

    async def _hold(self, writer: RunWriter) -> tuple[Answered, ...]:
        """The answers to what was pending when the wrapper ended; no process waits for them."""
        if not writer.run.pending:
            return ()
        self._held = held = Held(writer.run.pending)
        self._times.watch(writer.run.pending)
        try:
            return await held.answers()
        finally:
            self._held = None

    async def _work(self, writer: RunWriter, answered: tuple[Answered, ...]) -> None:
        # Words stand for the prompt after a restart; the context has the profile as it was given.
        run = _without_profile(writer.run) if answered else writer.given
        try:
            self._wrapped.check(run.request)
            context = await self._wrapped.contexts.bind(run)
        except (CoreError, UnsupportedError) as exc:
            code = exc.code if isinstance(exc, CoreError) else InvalidInputError.code
            await writer.emit(Rejected(message=str(exc), reason=code))
            return
        turn = Turn(
            run_id=run.id,
            message=message_of(run.id, answered) if answered else run.message,
            request=run.request,
            environment=self._wrapped.environment(run.request),
            answered=answered,
            known_as=run.request.run_id or run.id,
        )
        async with self._wrapped.conversations.of(run.principal, context) as session:
            await self._converse(session, turn, writer)

    async def _converse(self, session: AgentSession, turn: Turn, writer: RunWriter) -> None:
        """Turns until one ends the run; one that misses credentials is tried again when told to."""
        while not self._cancelled:
            if writer.run.status is RunStatus.AUTH_REQUIRED:
                self._waits_for_retry = True
                await self._retry.wait()
                self._waits_for_retry = False
                self._retry.clear()
                if self._cancelled:
                    break
                await writer.emit(StatusChanged(status=RunStatus.RUNNING, reason="retried"))
            self._session = session
            try:
                await self._turn(session, turn, writer)
            finally:
                self._session = None
            if writer.run.status is not RunStatus.AUTH_REQUIRED:
                return
        await writer.emit(StatusChanged(status=RunStatus.CANCELLED, reason="cancelled_by_caller"))

    async def _turn(self, session: AgentSession, turn: Turn, writer: RunWriter) -> None:
        async with _closing(session.run(turn)) as steps:
            seams = Seams()
            async for made in steps:
                for step in seams.take(made):
                    await self._take(step, writer)
                if writer.run.terminal:
                    return

    async def _take(self, step: Step, writer: RunWriter) -> None:
        match step:
            case Bound(vendor_session=vendor_session):
                await self._wrapped.contexts.keep_session(writer.run, vendor_session)
                await writer.emit(backend_session_id=vendor_session)
            case Ask(request=request):
                asked = (*writer.run.pending, self._times.stamp(request))
                pending = [item.to_json() for item in asked]
                await writer.emit(InputRequired(text=request.text, pending=pending))
            case Withdraw(request_id=request_id, how=how):
                self._times.drop(request_id)
                if all(item.request_id != request_id for item in writer.run.pending):
                    return  # answered meanwhile
                await writer.emit(resolution(writer.run, request_id, how=how))
            case RunStarted() if writer.run.started_at is not None:
                return  # a retry after auth_required is the same run
            case _:
                await writer.emit(step)

    # -- what reaches the agent ------------------------------------------------------------------

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        for answer in answers:
            self._times.drop(answer.request_id)
            await self._deliver(answer, message)

    async def _deliver(self, answer: Answer, message: Message | None) -> None:
        if self._held is not None:
            self._held.put(answer)
        elif self._session is not None:
            await self._session.answer(answer, message)
        else:
            log.warning("run %s: its agent was gone when the answer came", self._run_id)

    async def _expire(self, request_id: str) -> None:
        """Nobody answered in time: the request's default is taken, on the record first."""
        writer = self._writer
        if writer is None or self._cancelled:
            return
        for request in writer.run.pending:
            if request.request_id == request_id:
                await writer.emit(resolution(writer.run, request_id, how="expired"))
                await writer.flush()
                await self._deliver(default_answer(request), None)

    async def steer(self, message: Message) -> None:
        # The turn that asked for a login may still be closing: what comes then is the retry too.
        asks = self._writer is not None and self._writer.run.status is RunStatus.AUTH_REQUIRED
        if self._waits_for_retry or asks:
            self._retry.set()
            return
        if self._session is None:
            raise NotSteerableError(self._run_id, "it has not started yet; try again when it runs")
        try:
            taken = await self._session.steer(message)
        except UnsupportedError as exc:
            raise InvalidInputError(str(exc), exc.field) from exc
        if not taken:
            raise NotSteerableError(
                self._run_id, "the agent cannot take one in mid-turn; wait for its end"
            )

    async def cancel(self) -> None:
        self._cancelled = True
        self._retry.set()
        if self._held is not None:
            self._held.let_go()
        if self._session is not None:
            await self._session.cancel()


class Held:
    """The requests of a run that came back, and their answers as they come."""

    def __init__(self, requests: Sequence[PendingRequest]) -> None:
        self._open = {request.request_id: request for request in requests}
        self._answered: list[Answered] = []
        self._done = asyncio.Event()

    async def answers(self) -> tuple[Answered, ...]:
        """All of them, or what there is when one says to stop or the run was let go."""
        await self._done.wait()
        return tuple(self._answered)

    def put(self, answer: Answer) -> None:
        self._answered.append(Answered(request=self._open.pop(answer.request_id), answer=answer))
        if not self._open or aborts(self._answered):
            self._done.set()

    def let_go(self) -> None:
        """Wait no longer."""
        self._done.set()


def _without_profile(run: Run) -> Run:
    return replace(run, request=run.request.model_copy(update={"profile": None}))


@asynccontextmanager
async def _closing(steps: AsyncIterator[Step]) -> AsyncGenerator[AsyncIterator[Step]]:
    """Closing the iterator is what stops an agent's work."""
    try:
        yield steps
    finally:
        if isinstance(steps, AsyncGenerator):
            await steps.aclose()
