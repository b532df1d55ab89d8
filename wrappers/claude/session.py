"""One context's conversation with Claude Code: runs a turn, asks the caller, is cancelled, resumes.

Knows how the pieces fit and nothing of the messages' meaning (`events`), of the end (`outcome`) or
of the process (`client`).
"""

import contextlib
import functools
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Final

from claude_agent_sdk import ToolPermissionContext

from gateway.core.events import (
    AuthRequired,
    CommandUpdated,
    Event,
    Rejected,
    RunFailed,
    StatusChanged,
)
from gateway.core.extension import Answer
from gateway.core.json import JsonObject
from gateway.core.messages import Message
from gateway.core.status import RunStatus
from wrappers.adapter import Ask, Bound, Context, Step, Turn, UnsupportedError, Withdraw
from wrappers.claude.asks import Verdict
from wrappers.claude.client import AgentDownError, Client
from wrappers.claude.events import Reading
from wrappers.claude.options import Installation, Start
from wrappers.claude.outcome import Totals, cancelled, conclude, totals_after, usage_of
from wrappers.claude.prompt import content_of, repair
from wrappers.claude.tools import Todos
from wrappers.claude.warm import LOST, Pool, Warm
from wrappers.claude.work import Work
from wrappers.resumption import Grants

LEFT_S: Final = 0.4  # for a process that goes because of what its commands left running


class ClaudeSession:
    """AgentSession over one process at most; `changed` hears that a turn begins, that it is over,
    and that the session is closed."""

    def __init__(
        self,
        context: Context,
        installation: Installation,
        pool: Pool,
        changed: Callable[["ClaudeSession"], None],
    ) -> None:
        self.context = context
        self._installation = installation
        self._warm = Warm(context, installation, pool)
        self._changed = changed
        self._todos = Todos()
        self._work: Work | None = None
        self._granted: tuple[str, Grants] = ("", Grants())

    @property
    def busy(self) -> bool:
        return self._work is not None

    @property
    def has_process(self) -> bool:
        """A process is running for this context, or being started."""
        return self._warm.client is not None

    def serves(self, context: Context) -> bool:
        """True for the same conversation, whose vendor session may have been named meanwhile."""
        named = context.vendor_session or self._warm.session
        return (context.cwd, context.profile, named) == (
            self.context.cwd,
            self.context.profile,
            self._warm.session,
        )

    # -- AgentSession ----------------------------------------------------------------------------

    async def run(self, turn: Turn) -> AsyncGenerator[Step]:
        start = self._installation.start(turn, self.context)
        self._warm.take_spare(start)
        self._installation.files.write(self._warm.session, turn.known_as)
        work = self._work = Work(
            turn=turn,
            reading=Reading(todos=self._todos),
            before=self._warm.ledger.read(self._warm.session),
            grants=self._grants(turn),
        )
        work.follow(self._warm.session, self._installation.config, start.environment)
        self._changed(self)
        finished = False
        try:
            yield Bound(vendor_session=self._warm.session)
            yield work.started(self._warm.session, start.cwd, warm=self._warm.fits(start))
            try:
                async with contextlib.aclosing(self._turns(work, start)) as steps:
                    async for step in steps:
                        yield step
                ends = self._ends(work)
            except AgentDownError as exc:
                left = [await work.outputs.whole(event) for event in work.reading.interrupt()]
                ends = [*left, self._down(work, exc)]
                await self._warm.drop()
            except UnsupportedError as exc:
                ends = [Rejected(message=str(exc), reason="unsupported")]
            await self._rest(work, refused=isinstance(ends[-1], AuthRequired))
            finished = True
            for event in ends:
                yield event
        finally:
            self._work = None
            await work.outputs.close()
            if not finished:
                await self._warm.drop(busy=True)
            if self._warm.client is not None:
                self._warm.client.listener = self._warm.client.asker = None
            self._changed(self)

    async def answer(self, answer: Answer, message: Message | None = None) -> None:
        del message
        if self._work is not None:
            self._work.answer(answer, self._installation.approved())

    async def steer(self, message: Message) -> bool:
        work, client = self._work, self._warm.client
        if work is None or client is None or not work.said or work.give_up_at is not None:
            return False
        if work.reading.ended:
            return False
        try:
            await self._say(work, client, content_of(message))
        except AgentDownError:
            return False
        return True

    async def cancel(self) -> None:
        work = self._work
        if work is None or work.cancelled:
            return
        work.cancelled = True
        work.expect_end()
        client = self._warm.client
        if client is None:
            return
        if not work.said:
            client.kill()  # it is starting up, and has nothing to keep
        elif not await client.interrupt():
            work.expect_end(0)

    async def close(self) -> None:
        work = self._work
        await self._warm.drop(busy=work is not None)
        if work is not None:
            work.listen(AgentDownError("interrupted", "the wrapper ended the conversation"))
        self._changed(self)

    # -- one turn --------------------------------------------------------------------------------

    async def _begin(self, work: Work, start: Start) -> list[Event]:
        """Have a process that fits the turn, and say the prompt; what is to be told of that.

        Raises: AgentDownError, UnsupportedError (a part of the message).
        """
        content = content_of(work.turn.message)
        notes: list[Event] = []
        if not self._warm.fits(start) and await self._warm.connect(
            start, resumed=bool(work.turn.answered)
        ):
            work.before = Totals()
            text = f"{LOST}; the run starts without its history"
            notes = [StatusChanged(status=RunStatus.RUNNING, reason="session_lost", message=text)]
        client = self._warm.client
        if client is None or work.cancelled:
            return notes
        client.listener = work.listen
        await client.set_mode(self._installation.mode(work.turn))
        prompt = str(uuid.uuid4())
        client.asker = functools.partial(self._asked, work, prompt)
        await self._say(work, client, content, prompt)
        work.said = True
        self._warm.began()
        if work.cancelled and not await client.interrupt():
            work.expect_end(0)
        return notes

    def _grants(self, turn: Turn) -> Grants:
        """A run that is tried again after a login has what is left of its permissions."""
        if self._granted[0] != turn.run_id:
            self._granted = (turn.run_id, Grants(turn.answered))
        return self._granted[1]

    async def _turns(self, work: Work, start: Start) -> AsyncGenerator[Step]:
        """The turn, and one more where its structured output has to be repaired.

        Raises: AgentDownError.
        """
        for note in await self._begin(work, start):
            yield note
        async with contextlib.aclosing(self._steps(work)) as steps:
            async for step in steps:
                yield step
        fault, client = work.fault(), self._warm.client
        if fault is None or client is None or work.cancelled:
            return
        work.repaired = True
        await self._say(work, client, repair(fault))
        text = f"the structured output does not fit ({fault}); the agent was asked for another"
        yield StatusChanged(status=RunStatus.RUNNING, reason="schema_mismatch", message=text)
        async with contextlib.aclosing(self._steps(work)) as steps:
            async for step in steps:
                yield step

    async def _steps(self, work: Work) -> AsyncGenerator[Step]:
        """Everything up to the end of what was said. Raises: AgentDownError."""
        while not work.over:
            match await work.next():
                case None:
                    steps: list[Event] = work.signs_of_life()
                case AgentDownError() as lost:
                    raise lost
                case Ask() | Withdraw() as step:
                    yield step
                    continue
                case CommandUpdated() as event:
                    steps = [event] if event.tool_use_id in work.reading.calls.open else []
                case message:
                    steps = work.reading.feed(message, time.monotonic())
                    await self._react(work)
            for event in steps:
                yield await work.outputs.whole(event)
        for event in work.reading.interrupt():
            yield await work.outputs.whole(event)

    async def _asked(
        self,
        work: Work,
        prompt: str,
        tool: str,
        arguments: JsonObject,
        context: ToolPermissionContext,
    ) -> Verdict:
        """Claude Code waits for an answer; the request may outlive it."""
        await self._warm.recorded(prompt)
        return await work.ask(tool, arguments, context)

    async def _say(
        self, work: Work, client: Client, content: list[JsonObject], message_id: str | None = None
    ) -> None:
        """Raises: AgentDownError."""
        message_id = message_id or str(uuid.uuid4())
        work.reading.awaited.add(message_id)  # before it is sent: the turn may end meanwhile
        await client.say(message_id, content)

    async def _react(self, work: Work) -> None:
        client, reading = self._warm.client, work.reading
        if client is None:
            return
        if reading.mode is not None:
            client.mode_is(reading.mode)
        if reading.auth is not None and work.give_up_at is None:
            # Ten retries with growing pauses would follow: minutes for a key that stays wrong.
            work.expect_end()
            if not await client.interrupt():
                work.expect_end(0)

    # -- the end ---------------------------------------------------------------------------------

    def _ends(self, work: Work) -> list[Event]:
        results = work.reading.results
        if results:
            self._warm.ledger.write(self._warm.session, totals_after(work.before, results))
        if work.cancelled:
            return [cancelled(usage_of(results, work.before))]
        schema = work.turn.request.output_schema
        return conclude(work.reading, schema=schema, before=work.before)

    def _down(self, work: Work, exc: AgentDownError) -> Event:
        usage = usage_of(work.reading.results, work.before)
        if work.cancelled:
            return cancelled(usage)
        return RunFailed(message=str(exc), reason=exc.reason, usage=usage)

    async def _rest(self, work: Work, *, refused: bool) -> None:
        """Keep the process if it will do for the next turn.

        Not one that was refused (a new one reads new credentials), that failed or did not react,
        that still has a message to take up (it may start a turn that nobody listens to), or that
        was cancelled and has left something running.
        """
        reading, client = work.reading, self._warm.client
        if client is None:
            return
        if work.given_up or refused or (work.cancelled and not work.said):
            client.kill()
        elif not reading.awaited and (await client.alone() if work.cancelled else not work.failed):
            return
        await self._warm.drop(end_s=LEFT_S)
