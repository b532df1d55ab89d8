"""What the bench holds our server against: the SDK's own handler, and one that does nothing.

Knows the SDK alone, nothing of ours.
"""

from collections.abc import AsyncGenerator
from typing import Any, Final, NoReturn, cast

from a2a.helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import Event, EventQueue
from a2a.server.request_handlers import DefaultRequestHandler, RequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Artifact,
    Part,
    SendMessageRequest,
    Task,
    TaskState,
    TaskStatus,
)

ECHO: Final = "echo"


class EchoExecutor(AgentExecutor):
    """Task, artifact, completed; `events N`: N status updates with a message each."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message = context.message
        assert message is not None
        task = new_task_from_user_message(message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        text = context.get_user_input()
        if text.startswith("events "):
            for n in range(int(text.split()[1])):
                said = updater.new_agent_message([Part(text=f"status {n}")])
                await updater.update_status(TaskState.TASK_STATE_WORKING, said)
        else:
            await updater.add_artifact([Part(text=text)], artifact_id=ECHO, name=ECHO)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


def sdk_handler() -> RequestHandler:
    """The SDK at its best: in memory."""
    card = AgentCard(
        name=ECHO,
        version="1",
        description=ECHO,
        capabilities=AgentCapabilities(streaming=True),
        supported_interfaces=[
            AgentInterface(
                url="http://127.0.0.1", protocol_binding="JSONRPC", protocol_version="1.0"
            )
        ],
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id=ECHO, name=ECHO, description=ECHO, tags=[ECHO])],
    )
    return DefaultRequestHandler(EchoExecutor(), InMemoryTaskStore(), card)


class _Fixed(RequestHandler):
    """The least a handler can do: the same completed task for every message."""

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task:
        return Task(
            id="4be3c8a0-4dd0-4a27-9d1c-3b6f6f0f6b52",
            context_id="9f5a1f7e-07b3-4f6f-8f3e-6f1f0a4f4a11",
            status=TaskStatus(state=TaskState.TASK_STATE_COMPLETED),
            artifacts=[Artifact(artifact_id=ECHO, name=ECHO, parts=[Part(text="x")])],
            history=[params.message],
        )

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        yield await self.on_message_send(params, context)


def fixed_handler() -> RequestHandler:
    async def not_here(*_: Any) -> NoReturn:
        raise NotImplementedError

    missing = dict.fromkeys(_Fixed.__abstractmethods__, not_here)
    return cast(RequestHandler, type("Fixed", (_Fixed,), missing)())
