"""Agents that are none of ours: the SDK's own server, and servers that lie."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from a2a.helpers.proto_helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    Message,
    Part,
    Role,
    TaskState,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.core import json
from gateway.core.face.serving import Listener

Answer = Callable[[Request], Awaitable[Response]]


class Executor(AgentExecutor):
    """Does what the first word of the message says; `heard` are all texts it was sent."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.release = anyio.Event()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = context.get_user_input()
        self.heard.append(text)
        assert context.message is not None
        if text == "message":
            await event_queue.enqueue_event(_message("just a word"))
            return
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        await getattr(self, f"do_{text.split()[0]}", self.do_echo)(updater, text)

    async def do_echo(self, updater: TaskUpdater, text: str) -> None:
        await updater.start_work()
        await updater.add_artifact([Part(text=f"echo: {text}")], artifact_id="a-1", name="answer")
        await updater.complete()

    async def do_chunks(self, updater: TaskUpdater, text: str) -> None:
        await updater.start_work(message=updater.new_agent_message([Part(text="working on it")]))
        for number in range(4):
            await updater.add_artifact(
                [Part(text=f"chunk{number} ")],
                artifact_id="a-1",
                append=number > 0,
                last_chunk=number == 3,
            )
        await updater.complete(message=updater.new_agent_message([Part(text="all chunks sent")]))

    async def do_ask(self, updater: TaskUpdater, text: str) -> None:
        await updater.start_work()
        await updater.requires_input(
            message=updater.new_agent_message([Part(text="Which colour?")])
        )

    async def do_ticks(self, updater: TaskUpdater, text: str) -> None:
        """`ticks N`: as many messages, and an artifact with each fifth."""
        await updater.start_work()
        for number in range(1, int(text.split()[1]) + 1):
            said = updater.new_agent_message([Part(text=f"tick {number}")])
            await updater.update_status(TaskState.TASK_STATE_WORKING, message=said)
            if number % 5 == 0:
                made = [Part(text=f"made {number}")]
                await updater.add_artifact(made, artifact_id=f"a-{number}", last_chunk=True)
            await anyio.sleep(0.01)
        await updater.complete(message=updater.new_agent_message([Part(text="all ticked")]))

    async def do_fail(self, updater: TaskUpdater, text: str) -> None:
        await updater.failed(message=updater.new_agent_message([Part(text="out of paint")]))

    async def do_reject(self, updater: TaskUpdater, text: str) -> None:
        await updater.reject(message=updater.new_agent_message([Part(text="not my job")]))

    async def do_wait(self, updater: TaskUpdater, text: str) -> None:
        await updater.start_work()
        await self.release.wait()
        await updater.complete(message=updater.new_agent_message([Part(text="released")]))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def _message(text: str) -> Message:
    return Message(message_id="m-agent", role=Role.ROLE_AGENT, parts=[Part(text=text)])


@asynccontextmanager
async def listening(
    routes: Callable[[Listener], list[BaseRoute]],
) -> AsyncGenerator[Listener, None]:
    """Routes on a real socket."""
    listener = Listener()
    ready = anyio.Event()
    app = Starlette(routes=routes(listener))

    async def serve() -> None:
        await listener.serve(app, on_ready=lambda _url: ready.set(), signals=False)

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        await ready.wait()
        try:
            yield listener
        finally:
            listener.stop()


@asynccontextmanager
async def sdk_agent(
    executor: Executor, *, streaming: bool = True, url: str | None = None
) -> AsyncGenerator[Listener, None]:
    """The SDK's DefaultRequestHandler, as its users start it. `url`: what its card says instead."""
    handlers: list[DefaultRequestHandler] = []

    def routes(listener: Listener) -> list[BaseRoute]:
        card = AgentCard(
            name="SDK agent",
            description="Plain A2A.",
            version="9",
            supported_interfaces=[
                AgentInterface(
                    url=f"{url or listener.base_url}/rpc",
                    protocol_binding="JSONRPC",
                    protocol_version="1.0",
                )
            ],
            capabilities=AgentCapabilities(streaming=streaming),
            default_input_modes=["text/plain"],
            default_output_modes=["text/plain"],
        )
        handler = DefaultRequestHandler(executor, InMemoryTaskStore(), card)
        handlers.append(handler)
        return [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/rpc")]

    async with listening(routes) as listener:
        yield listener
        executor.release.set()
        for handler in handlers:
            await handler.aclose()


def card_of(base_url: str, **more: Any) -> dict[str, Any]:
    """A plausible card, as JSON."""
    interface = {
        "url": f"{base_url}/rpc",
        "protocolBinding": "JSONRPC",
        "protocolVersion": "1.0",
    }
    return {
        "name": "Liar",
        "supportedInterfaces": [interface],
        "capabilities": {"streaming": True},
        **more,
    }


@asynccontextmanager
async def liar(rpc: Answer, card: Callable[[str], Any] = card_of) -> AsyncGenerator[Listener, None]:
    """An agent that answers every call with `rpc`; `card(base_url)` is its card or a Response."""

    def routes(listener: Listener) -> list[BaseRoute]:
        async def show(_request: Request) -> Response:
            made = card(listener.base_url)
            return made if isinstance(made, Response) else Response(json.encode(made))

        return [
            Route("/.well-known/agent-card.json", show),
            Route("/rpc", rpc, methods=["POST"]),
        ]

    async with listening(routes) as listener:
        yield listener


def stream_of(*results: Any) -> Answer:
    """A stream with these results under the request's id; then it ends."""

    async def answer(request: Request) -> Response:
        number = json.decode_object(await request.body())["id"]
        items = [{"jsonrpc": "2.0", "id": number, "result": result} for result in results]
        body = "".join(f"data: {json.encode(item)}\n\n" for item in items)
        return Response(body, media_type="text/event-stream")

    return answer
