"""Drives a run at an agent that knows A2A and not our extension.

Knows the protocol's ways (streams that end early, agents that only answer when polled, answers
that are lost); what the items mean is `translation`. Everything that happens comes through one
channel, so a follow-up never races the stream it replaces.
"""

from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Final

import anyio

from gateway.core.errors import CoreError, NotSteerableError, RunEndedError
from gateway.core.events import StatusChanged
from gateway.core.extension import ABORT, Answer
from gateway.core.json import JsonObject
from gateway.core.life.restored import whole_requests
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Remote
from gateway.core.server import now
from gateway.core.status import RunStatus
from gateway.dialects.dialect import Call
from gateway.dialects.spoken import Ears
from gateway.driving.foreign.listening import Happening, Listening, Look, Over
from gateway.driving.foreign.recollection import Known, known_of
from gateway.driving.foreign.recording import MisfitError, Recording
from gateway.driving.foreign.replies import Manner, Replies
from gateway.driving.foreign.search import Search
from gateway.driving.foreign.setbacks import Setbacks, pause_s
from gateway.driving.foreign.starting import Starting, may_be_there
from gateway.driving.foreign.task_streams import Sent, Source, TaskStreams
from gateway.driving.foreign.translation import Translation
from gateway.driving.reach import Reach
from gateway.errors import (
    AgentFloodError,
    AgentRefusedError,
    AgentUnreachableError,
    GatewayError,
)

POLL_MIN_S: Final = 0.25
POLL_MAX_S: Final = 5.0
WATCH_MIN_S: Final = 2.0  # who waits may go on without us: a login in a browser, another client
WATCH_MAX_S: Final = 30.0
ASKED_AGAIN_POLLS: Final = 6  # about 8 s; who still asks the same did not hear the answer
FAREWELL_S: Final = 5.0  # to ask an agent to stop whose run we end

CANCELLED: Final = StatusChanged(status=RunStatus.CANCELLED, reason="cancelled_by_caller")


class ForeignRun:
    """One run at a foreign agent."""

    def __init__(
        self,
        writer: RunWriter,
        reach: Reach,
        *,
        modes: tuple[str, ...] = (),
        history: int | None = None,
    ) -> None:
        self._writer = writer
        self._reach = reach
        manner = Manner(modes=modes, history=history)
        self._ready = anyio.Event()  # what the run has said before is known
        self._listening = Listening()
        self._streams = TaskStreams(reach, history=history)
        self._replies = Replies(
            writer,
            manner,
            remote=lambda: self._translation.remote,
            say=self._post,
            call=self._call,
            clock=now,
        )
        self._settle(Translation(writer.run.remote or Remote(agent=reach.agent)))
        self._starting = Starting(writer, reach, manner)
        self._approach = anyio.CancelScope()  # while a message cannot be brought to the agent
        self._idle_polls = 0
        self._sent: Sent | None = None  # and not reacted to yet
        self._search: Search | None = None  # for what was sent, its answer being lost
        # A cancel that the agent has not heard of: it is told with the next stream.
        self._cancel_untold = writer.run.cancel_requested_at is not None

    def _settle(self, translation: Translation, *, repair: str | None = None) -> None:
        """What is known of the run is the start of what it is told by."""
        self._translation = translation
        self._ears = Ears(self._writer.run.pending)
        self._recording = Recording(self._writer, translation, self._replies, repair=repair)
        self._setbacks = Setbacks(
            self._writer, self._reach, self._streams, translation, self._recording
        )

    # -- its life --------------------------------------------------------------------------------

    async def drive(self) -> None:
        """Translate until the run has ended. Raises: CoreError, when that cannot be."""
        failure: CoreError | None = None
        try:
            async with self._listening.open():
                try:
                    await self._begin()
                    if not self._writer.run.terminal:
                        await self._listening.each(self._take)
                except CoreError as exc:
                    failure = exc  # a group would wrap it
        finally:
            await self._replies.close()
        if isinstance(failure, AgentFloodError):
            with anyio.move_on_after(FAREWELL_S), suppress(GatewayError):
                await self._streams.cancel(str(self._translation.remote.task_id))
        if failure is not None:
            raise failure

    async def _begin(self) -> None:
        """The first stream: the task as it is, what was sent before a crash, or a new message."""
        remote = self._writer.run.remote
        try:
            if remote is not None and may_be_there(remote):
                await self._recall(remote)
        finally:
            self._ready.set()
        if self._search is not None:
            self._listening.read(self._search.source())
        elif self._translation.remote.task_id is not None:
            self._listening.read(self._recovering(0.0))
        elif self._cancel_untold:
            await self._writer.emit(CANCELLED)
        else:
            await self._send(await self._starting.message())

    async def _recall(self, remote: Remote) -> None:
        """What another process did for this run, as the log has it."""
        run = self._writer.run
        known = await known_of(self._writer.log, run) if run.last_seq else Known()
        self._writer.reopen(await whole_requests(self._writer.log, run))
        started = run.started_at is not None
        translation = Translation(remote, known=known, started=started, status=run.status)
        self._settle(translation, repair=known.repair)
        unheard = known.unheard if remote.task_id is not None else self._starting.message_id
        if unheard is not None:
            self._search = self._setbacks.search(unheard)
        self._replies.watch()

    async def _send(self, sent: Sent) -> None:
        if self._translation.remote.task_id is None:
            self._translation.remote = await self._starting.mark()
        self._sent = sent
        self._translation.sending(sent.message_id)
        self._listening.read(self._streams.sending(sent))

    # -- what happens ----------------------------------------------------------------------------

    async def _take(self, happening: Happening) -> bool:
        """True when the run has ended."""
        match happening:
            case Sent():
                await self._send(happening)
            case Over(error=error):
                self._listening.read(await self._next_source(error))
            case Look(again=again):
                if again:
                    self._translation.ask_again()
                if self._cancel_untold or not self._streams.live:
                    self._look()
            case results:
                self._sent = self._search = None
                self._setbacks.missing = 0
                await self._record(results)
                self._reach.worked()
        return self._writer.run.terminal

    async def _record(self, results: Sequence[JsonObject]) -> None:
        for result in (plain for one in results for plain in self._ears.plain(one)):
            nameless = self._translation.remote.task_id is None
            try:
                if await self._recording.take(result):
                    self._idle_polls = 0
            except MisfitError as exc:
                await self._repair(exc.fault)
            if self._writer.run.terminal:
                return
            if nameless and self._cancel_untold:
                self._look()

    async def _repair(self, fault: str) -> None:
        """Ask for an answer that fits, once."""
        self._translation.renew()
        sent = await self._replies.repair(self._writer.run, fault)
        self._recording.repair = sent.message_id
        await self._send(sent)

    # -- how to go on ----------------------------------------------------------------------------

    async def _next_source(self, error: GatewayError | None) -> Source | None:
        """How to go on after a stream's end: wait for an answer, or ask the agent how it is."""
        sent, self._sent = self._sent, None
        if error is not None:
            if sent is not None and isinstance(error, AgentUnreachableError) and not error.sent:
                return await self._again(sent, error)
            await self._setbacks.take(error, sent)
            if self._writer.run.terminal:
                return None
        if sent is not None and not isinstance(error, AgentRefusedError):
            self._search = self._setbacks.search(sent.message_id)
        if self._search is not None:
            return self._search.source()
        self._idle_polls += 1
        if self._translation.waiting:
            return self._recovering(pause_s(self._idle_polls, WATCH_MIN_S, WATCH_MAX_S))
        if self._idle_polls == ASKED_AGAIN_POLLS:
            self._translation.ask_again()
        return self._recovering(pause_s(self._idle_polls, POLL_MIN_S, POLL_MAX_S))

    async def _again(self, sent: Sent, error: AgentUnreachableError) -> Source | None:
        """Send what the agent cannot have heard of."""
        first = self._translation.remote.task_id is None
        if first:
            await self._starting.unmark()
        with anyio.CancelScope() as self._approach:
            await self._reach.lost(error)
        if first and self._cancel_untold:
            await self._writer.emit(CANCELLED)
            return None
        if first:
            await self._starting.mark()
        self._sent = sent
        return self._streams.sending(sent)

    async def _recovering(self, delay_s: float) -> Source:
        task_id = str(self._translation.remote.task_id)
        async with aclosing(
            self._streams.recovering(task_id, delay_s, stop=self._cancel_untold)
        ) as source:
            async for results in source:
                self._cancel_untold = False
                yield results

    def _look(self) -> None:
        if self._translation.remote.task_id is not None:
            self._listening.read(self._recovering(0.0))

    # -- what callers say ------------------------------------------------------------------------

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        """Record the answers (the agent would not) and say them."""
        await self._ready.wait()
        if any(answer.choice == ABORT for answer in answers):
            await self._replies.stop(answers, message)
            await self.cancel()
        else:
            await self._replies.answer(answers, message)

    async def steer(self, message: Message) -> None:
        """Only a run that waits for a login takes a message: the retry. Raises: NotSteerableError."""
        await self._ready.wait()
        run = self._writer.run
        if run.status is not RunStatus.AUTH_REQUIRED:
            raise NotSteerableError(run.id, "its agent takes messages only when it asks for them")
        await self._replies.retry(message)

    async def cancel(self) -> None:
        """Ask the agent to stop; again and again, while it cannot be asked."""
        self._cancel_untold = True
        self._approach.cancel()
        task_id = self._translation.remote.task_id
        if task_id is None or not self._ready.is_set():
            return  # its send is in flight; it is cancelled as soon as it has a name
        try:
            task = await self._streams.cancel(task_id)
        except AgentUnreachableError:
            await self._post(Look())
            return
        self._cancel_untold = False
        await self._post(Look() if task is None else [{"task": task}])

    async def _call(self, call: Call) -> None:
        """An answer that is a method beside the task; the task goes on where it is followed."""
        try:
            await self._streams.call(call.method, call.params)
        except AgentRefusedError as exc:
            await self._setbacks.say_refused(exc)
            await self._post(Look(again=True))
        except GatewayError:
            await self._post(Look(again=True))
        else:
            self._translation.heard()
            await self._post(Look())

    async def _post(self, happening: Happening) -> None:
        try:
            await self._listening.post(happening)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            run = self._writer.run
            raise RunEndedError(run.id, run.status) from exc
