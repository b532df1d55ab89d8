"""Drives a run at an agent that knows A2A 1.0 and not our extension.

Knows the protocol's ways (streams that end early, agents that only answer when polled); what the
items mean is `translation`. One task reads one stream at a time and everything that happens comes
through one channel, so a follow-up never races the stream it replaces.
"""

import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from gateway.core.errors import CoreError, NotSteerableError, RunEndedError
from gateway.core.events import Event, StatusChanged
from gateway.core.extension import Answer
from gateway.core.json import JsonObject
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Remote, follow_up, resolution
from gateway.core.status import RunStatus
from gateway.driving.outgoing import foreign_first_params, foreign_follow_up_params
from gateway.driving.reach import Reach
from gateway.driving.task_streams import TASK_NOT_FOUND, Source, TaskStreams
from gateway.driving.translation import Translation, WrongTaskError
from gateway.errors import (
    AgentLostError,
    AgentProtocolError,
    AgentRefusedError,
    AgentUnreachableError,
    GatewayError,
    StartUnknownError,
)

POLL_MIN_S: Final = 0.25
POLL_MAX_S: Final = 5.0
ASKED_AGAIN_POLLS: Final = 6  # about 8 s; who still asks the same did not hear the answer
BACKLOG: Final = 64  # stream batches read ahead of the log

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Over:
    """The stream that was read has ended; `error` says why when it broke."""

    error: GatewayError | None


@dataclass(frozen=True, slots=True)
class _Say:
    """A follow-up is to be sent, on a new stream."""

    params: JsonObject


Happening: TypeAlias = list[JsonObject] | _Over | _Say


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
        self._modes = modes
        self._history = history
        self._translation = self._translated()
        self._happenings: MemoryObjectSendStream[Happening]
        self._inbox: MemoryObjectReceiveStream[Happening]
        self._happenings, self._inbox = anyio.create_memory_object_stream[Happening](BACKLOG)
        self._reading: anyio.CancelScope | None = None
        self._streams = TaskStreams(reach)
        self._idle_polls = 0
        self._unheard: JsonObject | None = None  # what was sent and not reacted to yet
        # A cancel that the agent has not heard of: it is told with the next stream.
        self._cancel_untold = writer.run.cancel_requested_at is not None

    def _translated(self) -> Translation:
        run = self._writer.run
        remote = run.remote or Remote(agent=run.agent)
        done = [str(item["artifact_id"]) for item in run.result.artifacts] if run.result else []
        return Translation(remote, resumed=remote.task_id is not None, artifacts=done)

    # -- its life --------------------------------------------------------------------------------

    async def drive(self) -> None:
        """Translate until the run has ended. Raises: CoreError, when that cannot be."""
        with self._inbox, self._happenings:
            failure: CoreError | None = None
            async with anyio.create_task_group() as group:
                try:
                    self._read(group, await self._opening())
                    while not self._writer.run.terminal:
                        await self._take(group, await self._inbox.receive())
                except CoreError as exc:
                    failure = exc  # a group would wrap it
                group.cancel_scope.cancel()
            if failure is not None:
                raise failure

    async def _opening(self) -> Source:
        """The first stream: the task as it is, or the message that starts it."""
        remote = self._writer.run.remote
        if remote is not None and remote.task_id is not None:
            return self._recovering(remote.task_id, 0.0)
        if remote is not None:
            raise StartUnknownError(remote.agent)
        endpoint = await self._reach.endpoint()
        session = await self._writer.session()
        known = session.remote if session is not None else None
        run = self._writer.given
        context = known.context_id if known is not None and known.agent == run.agent else None
        # Written down before it is sent: such an agent would do the same message twice.
        marked = Remote(agent=run.agent, agent_url=endpoint.base_url)
        self._translation.remote = marked
        about = {"agent_name": marked.agent, "agent_url": marked.agent_url}
        await self._writer.emit(StatusChanged(status=run.status, extra=about), remote=marked)
        await self._writer.flush()
        self._unheard = foreign_first_params(run, context, self._modes, self._history)
        return self._streams.sending(self._unheard)

    async def _take(self, group: TaskGroup, happening: Happening) -> None:
        match happening:
            case _Say(params=params):
                self._stop_reading()
                self._unheard = params
                self._read(group, self._streams.sending(params))
            case _Over(error=error):
                self._read(group, await self._next_source(error))
            case results:
                self._unheard = None
                for result in results:
                    await self._translate(result)
                    if self._writer.run.terminal:
                        return
                self._reach.worked()

    async def _translate(self, result: JsonObject) -> None:
        translation, before = self._translation, self._translation.remote
        try:
            events = translation.read(result)
        except WrongTaskError as exc:
            raise AgentProtocolError(before.agent, before.agent_url or "", str(exc)) from exc
        if events:
            self._idle_polls = 0
        moved = translation.remote is not before
        await self._emit(events, translation.remote if moved else None)
        if moved and self._cancel_untold and (task := await self._tell_cancel()) is not None:
            await self._translate({"task": task})

    async def _emit(self, events: list[Event], remote: Remote | None) -> None:
        if events or remote is not None:
            await self._writer.emit(*events, remote=remote)

    async def _next_source(self, error: GatewayError | None) -> Source | None:
        """How to go on after a stream's end: wait for an answer, or ask the agent how it is."""
        remote, unheard = self._translation.remote, self._unheard
        if error is not None:
            await self._broken(error, remote)
            if unheard is not None and isinstance(error, AgentUnreachableError) and not error.sent:
                return self._streams.sending(unheard)
        if remote.task_id is None:
            raise StartUnknownError(remote.agent)
        if unheard is not None:
            self._unheard = None
            self._translation.ask_again()  # whether it heard the answer, its task will show
        elif self._translation.waiting:
            return None
        self._idle_polls += 1
        if self._idle_polls == ASKED_AGAIN_POLLS:
            self._translation.ask_again()
        delay_s = min(POLL_MIN_S * 2 ** (self._idle_polls - 1), POLL_MAX_S)
        return self._recovering(remote.task_id, delay_s)

    async def _recovering(self, task_id: str, delay_s: float) -> Source:
        async with aclosing(
            self._streams.recovering(task_id, delay_s, stop=self._cancel_untold)
        ) as source:
            async for results in source:
                self._cancel_untold = False
                yield results

    async def _broken(self, error: GatewayError, remote: Remote) -> None:
        """Raises what ends the run; returns, after a while, when it can be tried again."""
        if isinstance(error, AgentUnreachableError):
            if remote.task_id is None and error.sent:
                raise StartUnknownError(remote.agent) from error
            await self._reach.lost(error)
            return
        if not isinstance(error, AgentRefusedError) or remote.task_id is None:
            raise error
        if error.rpc_code == TASK_NOT_FOUND:
            raise AgentLostError(remote.agent, f"no longer knows task {remote.task_id}") from error
        if error.method == "SubscribeToTask":
            self._streams.subscribable = False  # it is polled from now on
        elif self._unheard is not None:
            refused = StatusChanged(
                status=self._writer.run.status, reason="follow_up_refused", message=error.text
            )
            await self._writer.emit(refused)
        else:
            raise error

    # -- streams ---------------------------------------------------------------------------------

    def _read(self, group: TaskGroup, source: Source | None) -> None:
        if source is not None:
            self._reading = anyio.CancelScope()
            group.start_soon(self._reader, source, self._reading)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _reader(self, source: Source, scope: anyio.CancelScope) -> None:
        with scope:
            error: GatewayError | None = None
            try:
                async with aclosing(source):
                    async for results in source:
                        await self._happenings.send(results)
            except GatewayError as exc:
                error = exc
            await self._happenings.send(_Over(error))

    # -- what callers say ------------------------------------------------------------------------

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        """Record the answers (the agent would not) and send them in words."""
        run = self._writer.run
        await self._writer.emit(follow_up(message))
        for answer in answers:
            await self._writer.emit(
                resolution(self._writer.run, answer.request_id, how="answered", by=run.principal)
            )
        await self._writer.flush()
        await self._follow_up(message, list(answers))

    async def steer(self, message: Message) -> None:
        """Only a run that waits for a login takes a message: the retry. Raises: NotSteerableError."""
        run = self._writer.run
        if run.status is not RunStatus.AUTH_REQUIRED:
            raise NotSteerableError(run.id, "its agent takes messages only when it asks for them")
        await self._writer.emit(follow_up(message))
        await self._writer.emit(StatusChanged(status=RunStatus.RUNNING, reason="continue_run"))
        await self._writer.flush()
        await self._follow_up(message, [])

    async def _follow_up(self, message: Message, answers: list[Answer]) -> None:
        remote = self._translation.remote
        self._translation.answered()
        params = foreign_follow_up_params(message, answers, str(remote.task_id), remote.context_id)
        await self._post(_Say(params))

    async def cancel(self) -> None:
        """Ask the agent to stop. Raises: GatewayError when it cannot be asked now."""
        self._cancel_untold = True
        if (task := await self._tell_cancel()) is not None:
            await self._post([{"task": task}])

    async def _tell_cancel(self) -> JsonObject | None:
        task_id = self._translation.remote.task_id
        if task_id is None:
            return None  # its send is in flight; it is cancelled as soon as it has a name
        task = await self._streams.cancel(task_id)
        self._cancel_untold = False
        return task

    async def _post(self, happening: Happening) -> None:
        try:
            await self._happenings.send(happening)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            run = self._writer.run
            raise RunEndedError(run.id, run.status) from exc
