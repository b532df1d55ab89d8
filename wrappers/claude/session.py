"""One context's conversation with Claude Code: runs a turn, asks the caller, is cancelled, resumes.

Knows how the pieces fit and nothing of the messages' meaning (`events`), of the end (`outcome`) or
of the process (`client`).
"""

import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeAlias

from claude_agent_sdk import ToolPermissionContext

from gateway.core.events import Event, RunFailed, RunStarted
from gateway.core.extension import Answer
from gateway.core.messages import Message
from wrappers.adapter import Ask, Bound, Context, Step, Turn, Withdraw
from wrappers.claude.asks import Verdict
from wrappers.claude.client import AgentDownError, Client
from wrappers.claude.events import Reading
from wrappers.claude.ledger import Ledger
from wrappers.claude.options import MODES, Installation, session_of
from wrappers.claude.outcome import cancelled, conclude, totals_after, usage_of
from wrappers.claude.prompt import content_of
from wrappers.claude.tools import Todos
from wrappers.claude.work import Work

# A refusal that names the session: what the disk says of it was wrong.
MISTAKEN: Final = ("No conversation found", "already in use")

Admit: TypeAlias = Callable[["ClaudeSession"], Awaitable[None]]


class ClaudeSession:
    """AgentSession over one warm process at most. `admit` makes room before one is started,
    `changed` hears that a turn begins, that it is over, and that the session is closed."""

    def __init__(
        self,
        context: Context,
        installation: Installation,
        *,
        admit: Admit,
        changed: Callable[["ClaudeSession"], None],
    ) -> None:
        self.context = context
        self._installation = installation
        self._admit = admit
        self._changed = changed
        self._session = session_of(context)
        self._ledger = Ledger(installation.home / "totals")
        self._todos = Todos()
        self._client: Client | None = None
        self._work: Work | None = None

    @property
    def busy(self) -> bool:
        return self._work is not None

    @property
    def warm(self) -> bool:
        """A process is running for this context."""
        return self._client is not None

    # -- AgentSession ----------------------------------------------------------------------------

    async def run(self, turn: Turn) -> AsyncGenerator[Step]:
        work = self._work = Work(
            turn=turn,
            reading=Reading(todos=self._todos),
            before=self._ledger.read(self._session),
        )
        self._changed(self)
        finished = False
        try:
            yield Bound(vendor_session=self._session)
            yield self._started(turn)
            try:
                await self._begin(work)
                async with contextlib.aclosing(self._steps(work)) as steps:
                    async for step in steps:
                        yield step
                end = self._end(work)
            except AgentDownError as exc:
                for event in work.reading.interrupt():
                    yield event
                end = self._down(work, exc)
                await self._drop()
            if not self._reusable(work):
                await self._drop()
            finished = True
            yield end
        finally:
            self._work = None
            if not finished:
                await self._drop(busy=True)
            self._detach()
            self._changed(self)

    async def answer(self, answer: Answer, message: Message | None = None) -> None:
        del message
        if self._work is not None:
            self._work.answer(answer, self._installation.approved())

    async def steer(self, message: Message) -> bool:
        work, client = self._work, self._client
        if work is None or client is None or not work.said or work.give_up_at is not None:
            return False
        if work.reading.ended:
            return False
        try:
            work.reading.awaited.add(await client.say(content_of(message)))
        except AgentDownError:
            return False
        return True

    async def cancel(self) -> None:
        work = self._work
        if work is None or work.cancelled:
            return
        work.cancelled = True
        work.expect_end()
        if self._client is not None and work.said and not await self._client.interrupt():
            work.expect_end(0)

    async def close(self) -> None:
        work = self._work
        await self._drop(busy=work is not None)
        if work is not None:
            work.listen(AgentDownError("interrupted", "the wrapper ended the conversation"))
        self._changed(self)

    # -- one turn --------------------------------------------------------------------------------

    def _started(self, turn: Turn) -> Event:
        return RunStarted(
            extra={
                "backend_session_id": self._session,
                "cwd": str(self.context.cwd),
                "requested_model": turn.request.model,
                "requested_setting_sources": [],
                "requested_fast_mode": False,
                "forced_fast_mode_override": None,
                "warm": self._fits(turn),
            }
        )

    def _fits(self, turn: Turn) -> bool:
        client = self._client
        start = self._installation.start(turn)
        return client is not None and client.lost is None and client.start == start

    async def _begin(self, work: Work) -> None:
        """Have a process that fits the turn, and say the prompt. Raises: AgentDownError."""
        if not self._fits(work.turn):
            await self._drop()
            await self._admit(self)
            self._client = await self._connect(work.turn)
        client = self._client
        if client is None or work.cancelled:
            return
        client.listener = work.listen
        await client.set_mode(MODES[work.turn.request.permission_mode or "auto"])
        if work.cancelled:
            return
        work.reading.awaited.add(await client.say(content_of(work.turn.message)))
        work.said = True
        if work.cancelled and not await client.interrupt():
            work.expect_end(0)

    async def _connect(self, turn: Turn) -> Client:
        """A process that resumes the session where there is one.

        What the disk says can be wrong (a transcript without a turn), so a refusal that names the
        session is followed by one try the other way. Raises: AgentDownError.
        """
        start = self._installation.start(turn)
        resume = self._installation.has_session(self._session)
        client = Client(self.context, self._installation, start, self._can_use_tool)
        try:
            await client.connect(resume=resume)
        except AgentDownError as exc:
            if not any(sign in str(exc) for sign in MISTAKEN):
                raise
            client = Client(self.context, self._installation, start, self._can_use_tool)
            await client.connect(resume=not resume)
        return client

    async def _steps(self, work: Work) -> AsyncGenerator[Step]:
        """Everything up to the end. Raises: AgentDownError."""
        while not work.over:
            match await work.next():
                case None:
                    steps: list[Event] = work.signs_of_life()
                case AgentDownError() as lost:
                    raise lost
                case Ask() | Withdraw() as step:
                    yield step
                    continue
                case message:
                    steps = work.reading.feed(message, time.monotonic())
                    await self._react(work)
            for event in steps:
                yield event
        for event in work.reading.interrupt():
            yield event

    async def _react(self, work: Work) -> None:
        client, reading = self._client, work.reading
        if client is None:
            return
        if reading.mode is not None:
            client.mode_is(reading.mode)
        if reading.auth is not None and work.give_up_at is None:
            # Ten retries with growing pauses would follow: minutes for a key that stays wrong.
            work.expect_end()
            if not await client.interrupt():
                work.expect_end(0)

    def _reusable(self, work: Work) -> bool:
        """Will this process do for the next turn?

        Not one that was refused (a new one reads new credentials), that failed or did not react,
        or that still has a message to take up: it may start a turn that nobody listens to.
        """
        reading = work.reading
        failed = not work.cancelled and any(result.is_error for result in reading.results[-1:])
        return not (failed or reading.auth or reading.awaited or work.given_up)

    def _end(self, work: Work) -> Event:
        results = work.reading.results
        self._ledger.write(self._session, totals_after(work.before, results))
        if work.cancelled:
            return cancelled(usage_of(results, work.before))
        structured = work.turn.request.output_schema is not None
        return conclude(work.reading, structured=structured, before=work.before)

    def _down(self, work: Work, exc: AgentDownError) -> Event:
        usage = usage_of(work.reading.results, work.before)
        if work.cancelled:
            return cancelled(usage)
        return RunFailed(message=str(exc), reason=exc.reason, usage=usage)

    async def _drop(self, *, busy: bool = False) -> None:
        """End the process; the next turn resumes the session in another one."""
        client, self._client = self._client, None
        if client is not None:
            await client.close(busy=busy)

    def _detach(self) -> None:
        if self._client is not None:
            self._client.listener = None

    # -- requests to the caller ------------------------------------------------------------------

    async def _can_use_tool(
        self, tool: str, arguments: dict[str, Any], context: ToolPermissionContext
    ) -> Verdict:
        """The SDK's callback, in a task of its own for each request."""
        if self._work is None:
            raise AgentDownError("agent_error", "no run is there to answer")
        return await self._work.ask(tool, arguments, context)
