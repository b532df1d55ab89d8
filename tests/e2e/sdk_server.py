"""The Python SDK's DefaultRequestHandler as a process of its own, for the gateway to call.

    python -m tests.e2e.sdk_server

Prints its base URL as one JSON line, and is ended by a signal. Prompts and environment are those of
js/server.mjs; VERSION=0.3 makes its card offer that version alone, through the SDK's compatibility.
"""

import json
import os
import signal
import sys

import anyio
from a2a.helpers.proto_helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.core.face.serving import Listener
from tests.gateway.foreigners import listening

PATHS = {"JSONRPC": "/rpc", "HTTP+JSON": "/rest"}


class Executor(AgentExecutor):
    def __init__(self) -> None:
        self.released = anyio.Event()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        said = context.get_user_input()
        answered = context.current_task is not None
        if not answered:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        await updater.start_work()
        match "echo" if answered else said.split()[0]:
            case "ask":
                await updater.requires_input(words(updater, "Which colour?"))
            case "wait":
                await anyio.sleep_forever()
            case "fail":
                await updater.failed(words(updater, "as asked"))
            case "gate":
                await chunk(updater, 1, last=False)
                await self.released.wait()
                await chunk(updater, 2, last=True)
                await updater.complete(words(updater, "released"))
            case "stream":
                for number in (1, 2, 3):
                    await chunk(updater, number, last=number == 3)
                await updater.complete(words(updater, "streamed"))
            case _:
                text = f"{'answered' if answered else 'echo'}: {said}"
                await updater.complete(words(updater, text))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def words(updater: TaskUpdater, text: str):
    return updater.new_agent_message([Part(text=text)])


async def chunk(updater: TaskUpdater, number: int, *, last: bool) -> None:
    await updater.add_artifact(
        [Part(text=f"chunk {number} ")],
        artifact_id="out",
        name="out",
        append=number > 1,
        last_chunk=last,
    )


def card_of(listener: Listener) -> AgentCard:
    base = os.environ.get("PUBLIC_URL", listener.base_url)
    version = os.environ.get("VERSION", "1.0")
    return AgentCard(
        name="SDK agent",
        description="A foreign peer.",
        version="9",
        supported_interfaces=[
            AgentInterface(
                url=base + PATHS[binding], protocol_binding=binding, protocol_version=version
            )
            for binding in os.environ.get("INTERFACES", "JSONRPC,HTTP+JSON").split(",")
        ],
        capabilities=AgentCapabilities(streaming=os.environ.get("STREAMING") != "no"),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="echo", name="Echo", description="Echoes.", tags=["test"])],
    )


async def main() -> None:
    executor = Executor()
    old = os.environ.get("VERSION") == "0.3"

    def routes(listener: Listener) -> list[BaseRoute]:
        card = card_of(listener)
        handler = DefaultRequestHandler(executor, InMemoryTaskStore(), card)

        async def release(_request: Request) -> Response:
            executor.released.set()
            return Response()

        return [
            Route("/release", release, methods=["POST"]),
            *create_agent_card_routes(card),
            *create_jsonrpc_routes(handler, "/rpc", enable_v0_3_compat=old),
            *create_rest_routes(handler, path_prefix="/rest", enable_v0_3_compat=old),
        ]

    async with listening(routes) as listener:
        sys.stdout.write(json.dumps({"url": listener.base_url}) + "\n")
        sys.stdout.flush()
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                break


if __name__ == "__main__":
    anyio.run(main)
