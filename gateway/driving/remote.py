"""Drives a run at an agent with the coding-run extension: its events are copied, each once.

Knows the extension's wire and nothing of A2A's other ways. The agent's server keeps answers and
cancels; its numbered events report them. Whatever breaks the link, the next one replays from the
last event that is in our log.
"""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Final
from uuid import uuid4

import anyio

from gateway.core import redact
from gateway.core.errors import AnswerRefusedError, CoreError, NotSteerableError
from gateway.core.events import Rejected, RunCompleted, RunFailed, StatusChanged
from gateway.core.extension import LAST_SEQ_KEY, LOG_ID_KEY, URI, Answer
from gateway.core.json import JsonObject, as_object
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Remote
from gateway.core.status import IllegalTransitionError
from gateway.driving.copies import copied, facts_of, payloads, place_of
from gateway.driving.foreign.task_streams import TASK_NOT_FOUND
from gateway.driving.foreign.translation import Translation
from gateway.driving.outgoing import (
    answer_message,
    first_params,
    follow_up_params,
    minted_context,
    request_key_of,
)
from gateway.driving.reach import Reach
from gateway.errors import (
    AgentLostError,
    AgentProtocolError,
    AgentRefusedError,
    AgentUnreachableError,
    GatewayError,
)
from gateway.link.jsonrpc import JsonRpcEndpoint

CANCEL_TELL_S: Final = 2.0  # our servers answer a cancel when the run has ended, at most 5 s
DRAIN_S: Final = 0.5  # the agent's server ends a stream right behind its run's last event
PLACE_S: Final = 1.0  # for a look at the agent's queue, which somebody waits for
SAY_TRIES: Final = 3  # of an answer or steer; the request_key makes repeating it harmless

# What the agent's server refuses a follow-up with, and what that is here.
_ANSWER_CODES: Final = frozenset(
    {"request_gone", "already_answered", "ambiguous_answer", "not_an_answer"}
)

logger = logging.getLogger(__name__)


class GapError(Exception):
    """The stream left events out: the rest of it is of no use, a replay is."""


class ExtensionRun:
    """One run at an agent of ours."""

    def __init__(self, writer: RunWriter, reach: Reach) -> None:
        self._writer = writer
        self._reach = reach
        self._cancel_wanted = writer.run.cancel_requested_at is not None
        self._cancel_told = False

    @property
    def _remote(self) -> Remote:
        remote = self._writer.run.remote
        return remote or Remote(agent=self._reach.agent)

    # -- the stream ------------------------------------------------------------------------------

    async def drive(self) -> None:
        """Copy events until the terminal one. Raises: GatewayError, when that cannot be."""
        while not self._writer.run.terminal:
            try:
                await self._follow(await self._reach.coding_endpoint())
            except GapError:
                logger.info("run %s: events were left out; replaying", self._writer.run.id)
            except AgentUnreachableError as exc:
                await self._reach.lost(exc)
            except AgentRefusedError as exc:
                await self._refused(exc)

    async def _follow(self, endpoint: JsonRpcEndpoint) -> None:
        """One stream, to its end; a replay once the agent's task is known."""
        remote = self._remote
        if remote.task_id is None:
            context = await self._context()
            params = first_params(self._writer.given, context)
            stream = endpoint.stream("SendStreamingMessage", params, after=0)
        else:
            await self._tell_cancel()
            params = {"id": remote.task_id}
            stream = endpoint.stream("SubscribeToTask", params, after=remote.src_seq)
        del params  # a stream may last for hours
        async with aclosing(stream):
            async for results in stream:
                for result in results:
                    await self._take(endpoint, result)
                    if self._writer.run.terminal:
                        await _drain(stream)
                        return
                self._reach.worked()
                await self._tell_cancel()
        raise AgentUnreachableError(
            endpoint.agent, endpoint.rpc_url, "the stream ended early", sent=True
        )

    async def _context(self) -> str:
        """The agent's context of this session: that of its earlier runs, else a new one."""
        run = self._writer.run
        session = await self._writer.session()
        known = session.remote if session is not None else None
        if known is not None and known.agent == self._reach.agent and known.context_id:
            return known.context_id
        return minted_context(run)

    async def _refused(self, exc: AgentRefusedError) -> None:
        """Raises what ends the run; returns when it can go on by another stream."""
        if exc.reason == "server_stopping":
            await self._reach.lost(exc)
            return
        remote = self._remote
        if remote.task_id is None:
            raise exc
        if exc.rpc_code == TASK_NOT_FOUND:
            raise AgentLostError(remote.agent, f"no longer knows task {remote.task_id}") from exc
        match exc.reason:
            case "replay_expired":
                await self._skip_to_last()
            case "replay_diverged":
                await self._end_diverged()
            case _:
                raise exc

    async def _skip_to_last(self) -> None:
        """The agent keeps no events as old as ours: say which are lost, go on with its last."""
        endpoint = await self._reach.coding_endpoint()
        facts = facts_of(await endpoint.call("GetTask", {"id": self._remote.task_id}))
        last = facts.get(LAST_SEQ_KEY)
        if not isinstance(last, int) or last <= self._remote.src_seq:
            raise AgentLostError(endpoint.agent, f"lost the events of {self._remote.task_id}")
        lost = {"from": self._remote.src_seq + 1, "to": last - 1}
        await self._writer.emit(
            StatusChanged(status=self._writer.run.status, reason="events_lost", extra=lost),
            remote=replace(self._remote, src_seq=last - 1),
        )

    async def _end_diverged(self) -> None:
        """The agent's log is behind ours (it was restored, or replaced): its seqs mean something
        else now, so only the state its task ended in can still be taken over."""
        endpoint = await self._reach.coding_endpoint()
        remote = self._remote
        task = await endpoint.call("GetTask", {"id": remote.task_id})
        status = self._writer.run.status
        await self._writer.emit(StatusChanged(status=status, reason="history_diverged"))
        ending = Translation(remote, started=True).read({"task": task})
        if ending and isinstance(ending[-1], RunCompleted | RunFailed | Rejected):
            await self._writer.emit(ending[-1])
            return
        raise AgentLostError(remote.agent, f"has another history of task {remote.task_id} than we")

    # -- its items -------------------------------------------------------------------------------

    async def _take(self, endpoint: JsonRpcEndpoint, result: JsonObject) -> None:
        if (task := result.get("task")) is not None:
            await self._take_snapshot(endpoint, as_object(task))
            return
        item = as_object(result.get("statusUpdate") or result.get("artifactUpdate"))
        if item.get("taskId") != self._remote.task_id:
            raise self._wrong(endpoint, f"an item of task {item.get('taskId')!r}")
        about = as_object(as_object(item.get("metadata")).get(URI))
        if not about:
            return  # a part of an event that is longer than one item
        seq = about.get("seq")
        if not isinstance(seq, int):
            raise self._wrong(endpoint, "an event without a seq")
        if seq <= self._remote.src_seq:
            return
        if seq != self._remote.src_seq + 1:
            raise GapError
        await self._copy(endpoint, seq, about)

    async def _take_snapshot(self, endpoint: JsonRpcEndpoint, task: JsonObject) -> None:
        task_id, context_id = task.get("id"), task.get("contextId")
        if not isinstance(task_id, str) or not isinstance(context_id, str):
            raise self._wrong(endpoint, "a task without ids")
        known = self._remote
        if known.task_id not in (None, task_id):
            raise self._wrong(endpoint, f"task {task_id!r}")
        facts = facts_of(task)
        remote = replace(
            known,
            task_id=task_id,
            context_id=context_id,
            log_id=facts.get(LOG_ID_KEY),
            agent_url=endpoint.base_url,
        )
        await self._writer.emit(remote=remote)

    async def _copy(self, endpoint: JsonRpcEndpoint, seq: int, about: JsonObject) -> None:
        data = as_object(about.get("data"))
        if refs := redact.refs_of(data):
            fetched = await payloads(endpoint, str(self._remote.task_id), seq, refs)
            data = redact.join(data, fetched)
        remote = replace(self._remote, src_seq=seq)
        session = data.get("backend_session_id") or data.get("thread_id")
        try:
            event = copied(str(about.get("type")), data, remote, self._writer.run.backend)
            await self._writer.emit(
                event,
                remote=remote,
                backend_session_id=session if isinstance(session, str) else None,
            )
        except (IllegalTransitionError, ValueError, TypeError, AttributeError) as exc:
            raise self._wrong(endpoint, f"event {seq}, which cannot happen now") from exc

    def _wrong(self, endpoint: JsonRpcEndpoint, what: str) -> AgentProtocolError:
        text = f"it sent {what} on the stream of task {self._remote.task_id!r}"
        return AgentProtocolError(endpoint.agent, endpoint.rpc_url, text)

    # -- what callers say ------------------------------------------------------------------------

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        """Raises: AnswerRefusedError, GatewayError."""
        await self._say(answer_message(list(answers), message))

    async def steer(self, message: Message) -> None:
        """Raises: NotSteerableError, GatewayError."""
        await self._say(message)

    async def _say(self, message: Message) -> None:
        run, remote = self._writer.run, self._remote
        if remote.task_id is None:
            raise NotSteerableError(run.id, "its agent has not taken it up yet")
        key = request_key_of(run, message) or uuid4().hex
        params = follow_up_params(message, key, remote.task_id, remote.context_id)
        for attempt in range(1, SAY_TRIES + 1):
            try:
                endpoint = await self._reach.coding_endpoint()
                await endpoint.call("SendMessage", params)
            except AgentRefusedError as exc:
                raise _refusal(run.id, exc) from exc
            except AgentUnreachableError:
                if attempt == SAY_TRIES:
                    raise
            else:
                return

    async def place(self) -> int | None:
        """Where the run stands in the agent's queue; None when it does not, or cannot say soon."""
        place: int | None = None
        if self._remote.task_id is not None:
            with anyio.move_on_after(PLACE_S), suppress(GatewayError):
                place = await place_of(await self._reach.coding_endpoint(), self._remote.task_id)
        return place

    async def cancel(self) -> None:
        """Forward the cancel; while the agent cannot be reached it waits for the next stream."""
        self._cancel_wanted = True
        await self._tell_cancel()

    async def _tell_cancel(self) -> None:
        if self._cancel_told or not self._cancel_wanted or self._remote.task_id is None:
            return
        self._cancel_told = True
        try:
            with anyio.move_on_after(CANCEL_TELL_S):
                endpoint = await self._reach.coding_endpoint()
                await endpoint.call("CancelTask", {"id": self._remote.task_id})
        except AgentRefusedError as exc:
            logger.info("run %s: %s", self._writer.run.id, exc)  # it ended first: its event comes
        except GatewayError as exc:
            logger.info("run %s: the cancel will be repeated: %s", self._writer.run.id, exc)
            self._cancel_told = False


async def _drain(stream: AsyncGenerator[list[JsonObject], None]) -> None:
    """Read the end of a stream that has nothing more to say: its connection can be used again."""
    with anyio.move_on_after(DRAIN_S), suppress(GatewayError):
        async for _ in stream:
            pass


def _refusal(run_id: str, exc: AgentRefusedError) -> CoreError:
    reason = exc.reason or ""
    if reason in _ANSWER_CODES:
        return AnswerRefusedError(reason, exc.text)
    if reason in ("not_steerable", "run_ended", "cancel_pending"):
        return NotSteerableError(run_id, exc.text.rpartition("takes no message now: ")[2])
    return exc
