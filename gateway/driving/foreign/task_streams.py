"""The streams of a task at a foreign agent: sent to, asked, subscribed to, looked for, cancelled.

Knows A2A's methods and which of them an agent has; nothing of what their items mean.
"""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio

from gateway.core.json import JsonObject, as_object, objects
from gateway.core.status import STATUS_OF_STATE, TERMINAL, WAITING
from gateway.driving.reach import Reach
from gateway.errors import AgentLostError, AgentProtocolError, AgentRefusedError
from gateway.link.endpoint import Endpoint

TASK_NOT_FOUND: Final = -32001  # specification 5.4
# Unsupported operation (specification 5.4) and JSON-RPC's method not found.
UNSUPPORTED: Final = frozenset({-32004, -32601})
PAGE: Final = 50  # tasks
PAGES_MAX: Final = 10  # newest first: what was sent a moment ago is not behind 500 others
ASKED_MAX: Final = 20  # tasks looked at one by one, where a list shows no history

Source: TypeAlias = AsyncGenerator[list[JsonObject], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message and what goes with it; those `before` it are said one by one first."""

    message_id: str
    params: JsonObject
    before: Sequence[JsonObject] = ()


class TaskStreams:
    """`subscribable` is cleared when the agent refuses subscriptions; then it is polled. `live`:
    what happens is heard as it happens."""

    def __init__(self, reach: Reach, *, history: int | None = None) -> None:
        self._reach = reach
        self._history = {} if history is None else {"historyLength": history}
        self.subscribable = True
        self.live = False

    async def sending(self, sent: Sent) -> Source:
        """What a message brings about: its stream, or the one answer of an agent without."""
        endpoint = await self._reach.endpoint()
        for params in sent.before:
            await endpoint.call("SendMessage", _at_once(params))
        if endpoint.streaming:
            async for results in self._streamed(endpoint, "SendStreamingMessage", sent.params):
                yield results
            return
        yield [await endpoint.call("SendMessage", _at_once(sent.params))]

    async def recovering(self, task_id: str, delay_s: float, *, stop: bool = False) -> Source:
        """The task as it is (asked to `stop` first), then its events live where there are any."""
        await anyio.sleep(delay_s)
        task = await self.cancel(task_id) if stop else None
        endpoint = await self._reach.endpoint()
        streams = endpoint.streaming and self.subscribable
        try:
            task = task or await self.ask(task_id)
        except AgentRefusedError as exc:
            if exc.rpc_code not in UNSUPPORTED:
                raise
            if not streams:
                what = f"can neither be asked for task {task_id} nor followed ({exc.text})"
                raise AgentLostError(self._reach.agent, what) from exc
        else:
            yield [{"task": task}]
            status = STATUS_OF_STATE.get(str(as_object(task.get("status")).get("state")))
            if status in TERMINAL | WAITING or not streams:
                return
        async for results in self._streamed(endpoint, "SubscribeToTask", {"id": task_id}):
            yield results

    async def ask(self, task_id: str) -> JsonObject:
        """The task as it is. Raises: GatewayError."""
        endpoint = await self._reach.endpoint()
        return await endpoint.call("GetTask", {"id": task_id, **self._history})

    async def cancel(self, task_id: str) -> JsonObject | None:
        """The task after it was asked to stop; None when the agent refuses. Raises: GatewayError."""
        endpoint = await self._reach.endpoint()
        try:
            return await endpoint.call("CancelTask", {"id": task_id})
        except AgentRefusedError as exc:
            logger.info("task %s: %s", task_id, exc)  # it ended first, or cannot be cancelled
            return None

    async def call(self, method: str, params: JsonObject) -> None:
        """A method beside the task. Raises: GatewayError."""
        await (await self._reach.endpoint()).call(method, params)

    async def find(self, message_id: str, context_id: str | None) -> JsonObject | None:
        """The task whose history has this message, of the context's or else the newest; None when
        there is none, or none to be found. Raises: errors.AgentUnreachableError."""
        endpoint = await self._reach.endpoint()
        query: JsonObject = {"pageSize": PAGE}
        if context_id is not None:
            query["contextId"] = context_id
        asked = 0
        try:
            for _ in range(PAGES_MAX):
                page = await endpoint.call("ListTasks", query)
                for listed in objects(page.get("tasks")):
                    task = listed
                    if not listed.get("history") and asked < ASKED_MAX:
                        asked += 1
                        task = await self._whole(endpoint, listed)
                    if heard(task, message_id):
                        return await self._whole(endpoint, task)
                if not (token := page.get("nextPageToken")):
                    return None
                query["pageToken"] = token
        except (AgentRefusedError, AgentProtocolError) as exc:
            logger.info("message %s cannot be looked for: %s", message_id, exc)
        return None

    async def _whole(self, endpoint: Endpoint, task: JsonObject) -> JsonObject:
        """A listed task with all that a list leaves out."""
        try:
            return await endpoint.call("GetTask", {"id": task.get("id")})
        except AgentRefusedError:
            return task

    async def _streamed(self, endpoint: Endpoint, method: str, params: JsonObject) -> Source:
        async with aclosing(endpoint.stream(method, params)) as stream:
            try:
                async for results in stream:
                    self.live = True
                    yield results
            finally:
                self.live = False


def heard(task: JsonObject, message_id: str) -> bool:
    """Whether the history of a task has a message."""
    return any(said.get("messageId") == message_id for said in objects(task.get("history")))


def unmoved(task: JsonObject) -> bool:
    """Whether a task waits for somebody."""
    return STATUS_OF_STATE.get(str(as_object(task.get("status")).get("state"))) in WAITING


def _at_once(params: JsonObject) -> JsonObject:
    return {**params, "configuration": {**params["configuration"], "returnImmediately": True}}
