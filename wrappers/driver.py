"""The task server's driver over an adapter: a session's steps become the run's events.

Knows adapters only by their interface, and no A2A. What the server records beside the events
(answers, follow-ups, cancels, deadlines) is the server's affair; here they reach the agent.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from gateway.core.errors import CoreError, InvalidInputError, NotSteerableError
from gateway.core.events import InputRequired, Rejected, RunFailed, RunStarted, StatusChanged
from gateway.core.extension import Answer, CodingRequest
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Run, resolution
from gateway.core.status import RunStatus
from wrappers.adapter import (
    Adapter,
    AgentSession,
    Ask,
    Bound,
    Context,
    Step,
    Turn,
    UnsupportedError,
    Withdraw,
)
from wrappers.contexts import Contexts
from wrappers.process import to_the_end
from wrappers.seams import Seams

IDLE_SESSIONS: Final = 64  # open conversations without a turn; warm processes have their own bound

log = logging.getLogger(__name__)


class Conversations:
    """The open sessions of an adapter, one a context; the least used idle ones are let go."""

    def __init__(self, adapter: Adapter, idle: int = IDLE_SESSIONS) -> None:
        self._adapter = adapter
        self._idle_most = idle
        self._idle: OrderedDict[tuple[str, str], AgentSession] = OrderedDict()

    @asynccontextmanager
    async def of(self, principal: str, context: Context) -> AsyncGenerator[AgentSession]:
        """The context's session, for one turn at a time (the server queues a context's runs)."""
        key = (principal, context.id)
        session = self._idle.pop(key, None) or await self._adapter.open(context)
        try:
            yield session
        finally:
            self._idle[key] = session
            if len(self._idle) > self._idle_most:
                _, oldest = self._idle.popitem(last=False)
                await to_the_end(oldest.close())

    async def close(self) -> None:
        """Let every conversation and then the agent itself go."""
        while self._idle:
            _, session = self._idle.popitem()
            await session.close()
        await self._adapter.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """What the runs of one wrapper share. `check` refuses a request before anything is started,
    `environment` is what a run's commands may see."""

    conversations: Conversations
    contexts: Contexts
    check: Callable[[CodingRequest], None]
    environment: Callable[[CodingRequest], Mapping[str, str]]


class AdapterDriver:
    """Drives one run of a wrapper."""

    def __init__(self, run: Run, wrapped: Wrapped) -> None:
        self._run_id = run.id
        self._wrapped = wrapped
        self._session: AgentSession | None = None
        self._cancelled = False
        self._retry = asyncio.Event()
        self._waits_for_retry = False

    @property
    def upstream(self) -> bool:
        return False

    @property
    def deadline_grace_s(self) -> float:
        return 0.0  # nobody is closer to the agent

    async def drive(self, writer: RunWriter) -> None:
        run = writer.run
        if run.last_seq > 0:
            await writer.emit(
                RunFailed(
                    message="the agent's server ended during the run; continue the session to go on",
                    reason="interrupted",
                )
            )
            return
        run = writer.given
        try:
            self._wrapped.check(run.request)
            context = await self._wrapped.contexts.bind(run)
        except (CoreError, UnsupportedError) as exc:
            code = exc.code if isinstance(exc, CoreError) else InvalidInputError.code
            await writer.emit(Rejected(message=str(exc), reason=code))
            return
        turn = Turn(
            run_id=run.id,
            message=run.message,
            request=run.request,
            environment=self._wrapped.environment(run.request),
        )
        async with self._wrapped.conversations.of(run.principal, context) as session:
            await self._converse(session, turn, writer)

    async def _converse(self, session: AgentSession, turn: Turn, writer: RunWriter) -> None:
        """Turns until one ends the run; one that misses credentials is tried again when told to."""
        while not self._cancelled:
            self._session = session
            try:
                await self._turn(session, turn, writer)
            finally:
                self._session = None
            if writer.run.status is not RunStatus.AUTH_REQUIRED:
                return
            self._waits_for_retry = True
            await self._retry.wait()
            self._waits_for_retry = False
            self._retry.clear()
            if not self._cancelled:
                await writer.emit(StatusChanged(status=RunStatus.RUNNING, reason="retried"))
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
                pending = [item.to_json() for item in (*writer.run.pending, request)]
                await writer.emit(InputRequired(text=request.text, pending=pending))
            case Withdraw(request_id=request_id, how=how):
                if all(item.request_id != request_id for item in writer.run.pending):
                    return  # answered meanwhile
                await writer.emit(resolution(writer.run, request_id, how=how))
            case RunStarted() if writer.run.started_at is not None:
                return  # a retry after auth_required is the same run
            case _:
                await writer.emit(step)

    # -- what reaches the agent ------------------------------------------------------------------

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        if self._session is None:
            log.warning("run %s: its agent was gone when the answer came", self._run_id)
            return
        for answer in answers:
            await self._session.answer(answer, message)

    async def steer(self, message: Message) -> None:
        if self._waits_for_retry:
            self._retry.set()
            return
        if self._session is None:
            raise NotSteerableError(self._run_id, "it has not started yet; try again when it runs")
        if not await self._session.steer(message):
            raise NotSteerableError(
                self._run_id, "the agent cannot take one in mid-turn; wait for its end"
            )

    async def cancel(self) -> None:
        self._cancelled = True
        self._retry.set()
        if self._session is not None:
            await self._session.cancel()


@asynccontextmanager
async def _closing(steps: AsyncIterator[Step]) -> AsyncGenerator[AsyncIterator[Step]]:
    """Closing the iterator is what stops an agent's work."""
    try:
        yield steps
    finally:
        if isinstance(steps, AsyncGenerator):
            await steps.aclose()
