"""The streams of a task at a foreign agent: sent to, asked, subscribed to, cancelled.

Knows A2A's methods and which of them an agent has; nothing of what their items mean.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, TypeAlias

import anyio

from gateway.core.json import JsonObject, as_object
from gateway.core.status import STATUS_OF_STATE, TERMINAL, WAITING
from gateway.driving.reach import Reach
from gateway.errors import AgentRefusedError
from gateway.link.endpoint import Endpoint

TASK_NOT_FOUND: Final = -32001  # specification 5.4

Source: TypeAlias = AsyncGenerator[list[JsonObject], None]

logger = logging.getLogger(__name__)


class TaskStreams:
    """`subscribable` is cleared when the agent refuses subscriptions; then it is polled."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self.subscribable = True

    async def sending(self, params: JsonObject) -> Source:
        """What a message brings about: its stream, or the one answer of an agent without."""
        endpoint = await self._reach.endpoint()
        if endpoint.streaming:
            async for results in _streamed(endpoint, "SendStreamingMessage", params):
                yield results
            return
        configuration = {**params["configuration"], "returnImmediately": True}
        yield [await endpoint.call("SendMessage", {**params, "configuration": configuration})]

    async def recovering(self, task_id: str, delay_s: float, *, stop: bool = False) -> Source:
        """The task as it is (asked to `stop` first), then its events live where there are any."""
        await anyio.sleep(delay_s)
        task = await self.cancel(task_id) if stop else None
        endpoint = await self._reach.endpoint()
        if task is None:
            task = await endpoint.call("GetTask", {"id": task_id})
        yield [{"task": task}]
        status = STATUS_OF_STATE.get(str(as_object(task.get("status")).get("state")))
        if status in TERMINAL | WAITING or not (endpoint.streaming and self.subscribable):
            return
        async for results in _streamed(endpoint, "SubscribeToTask", {"id": task_id}):
            yield results

    async def cancel(self, task_id: str) -> JsonObject | None:
        """The task after it was asked to stop; None when the agent refuses. Raises: GatewayError."""
        endpoint = await self._reach.endpoint()
        try:
            return await endpoint.call("CancelTask", {"id": task_id})
        except AgentRefusedError as exc:
            logger.info("task %s: %s", task_id, exc)  # it ended first, or cannot be cancelled
            return None


async def _streamed(endpoint: Endpoint, method: str, params: JsonObject) -> Source:
    async with aclosing(endpoint.stream(method, params)) as stream:
        async for results in stream:
            yield results
