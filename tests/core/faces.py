"""One agent's face on a real socket, over the real task server."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

from gateway.core.addresses import Screen
from gateway.core.extension import EXTENSIONS_HEADER, LAST_EVENT_ID_HEADER, URI, CodingRequest
from gateway.core.face.cards import Skill, build_card
from gateway.core.face.guard import Guard
from gateway.core.face.routes import Face, FaceApp, health_route
from gateway.core.face.serving import Listener
from gateway.core.json import JsonObject
from gateway.core.life.driver import DriverFactory
from gateway.core.record import Run
from gateway.core.server import task_server
from gateway.core.tasks import Tasks
from tests.core.drivers import Player
from tests.core.puppet import Puppet

AGENT = "puppet"
TIMEOUT = httpx.Timeout(10)


@dataclass
class Served:
    """A served face and a raw client of it."""

    base_url: str
    tasks: Tasks
    face: Face
    listener: Listener
    http: httpx.AsyncClient

    async def rpc(
        self, method: str, params: JsonObject, *, extended: bool = False, path: str = "/a2a/jsonrpc"
    ) -> JsonObject:
        """The whole JSON-RPC answer of a unary call."""
        response = await self.http.post(
            path,
            json={"jsonrpc": "2.0", "id": 7, "method": method, "params": params},
            headers=headers(extended=extended),
        )
        assert response.status_code == 200, response.text
        return response.json()

    async def send(self, text: str, *, extended: bool = False, **more: Any) -> JsonObject:
        """The task that a blocking SendMessage answers."""
        answer = await self.rpc("SendMessage", params(text, **more), extended=extended)
        return answer["result"]["task"]


def headers(*, extended: bool = False, last_event_id: int | str | None = None) -> dict[str, str]:
    made = {"A2A-Version": "1.0"}
    if extended:
        made[EXTENSIONS_HEADER] = URI
    if last_event_id is not None:
        made[LAST_EVENT_ID_HEADER] = str(last_event_id)
    return made


def params(
    text: str,
    *,
    task_id: str | None = None,
    context_id: str | None = None,
    parts: list[JsonObject] | None = None,
    asked: JsonObject | None = None,
    configuration: JsonObject | None = None,
) -> JsonObject:
    """The parameters of SendMessage."""
    message: JsonObject = {
        "messageId": f"m-{text[:20]}",
        "role": "ROLE_USER",
        "parts": parts or [{"text": text}],
    }
    if task_id:
        message["taskId"] = task_id
    if context_id:
        message["contextId"] = context_id
    if asked:
        message["metadata"] = {URI: asked}
    return {"message": message, **({"configuration": configuration} if configuration else {})}


@asynccontextmanager
async def served(
    folder: Path,
    *,
    driver_for: DriverFactory = Player,
    token: str | None = None,
    check: Callable[[CodingRequest], None] | None = None,
    prefix: str = "",
    max_body: int = 4 * 1024 * 1024,
    capacity: int | None = None,
) -> AsyncGenerator[Served]:
    """A face that answers on loopback until the block ends."""
    listener = Listener()
    card = build_card(
        name="Puppet",
        description="Plays its prompt.",
        base_url=listener.base_url + prefix,
        version="1.2.3",
        skills=[Skill(id="play", name="Play", description="Plays.", tags=("test",))],
        token_required=token is not None,
    )
    face = Face(agent=AGENT, card=card, prefix=prefix, check=check)
    async with task_server(
        database=folder / "runs.db",
        driver_for=driver_for,
        screen=Screen(loopback=True),
        capacity=capacity,
    ) as tasks:
        app = FaceApp(tasks, face, [health_route("test", "1.2.3")])
        guarded = Guard(app, token=token, max_body=max_body)
        ready = anyio.Event()

        async def serve() -> None:
            await listener.serve(guarded, on_ready=lambda _url: ready.set(), signals=False)

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            with anyio.fail_after(10):
                await ready.wait()
            async with httpx.AsyncClient(base_url=listener.base_url, timeout=TIMEOUT) as http:
                if token is not None:
                    http.headers["Authorization"] = f"Bearer {token}"
                try:
                    yield Served(listener.base_url + prefix, tasks, face, listener, http)
                finally:
                    listener.stop()


class Puppets:
    """Drivers by the id of their run, and word of each new one."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Puppet](100)

    def __call__(self, run: Run) -> Puppet:
        puppet = Puppet(run)
        self._send.send_nowait(puppet)
        return puppet

    async def next(self) -> Puppet:
        with anyio.fail_after(5):
            puppet = await self._receive.receive()
            await puppet.started.wait()
            return puppet

    def close(self) -> None:
        self._send.close()
        self._receive.close()


@asynccontextmanager
async def puppet_theatre(folder: Path) -> AsyncGenerator[tuple[Served, Puppets]]:
    puppets = Puppets()
    async with served(folder, driver_for=puppets) as on:
        yield on, puppets
    puppets.close()


@dataclass(frozen=True)
class Sse:
    """One server-sent event."""

    id: int | None
    event: str
    data: JsonObject


async def read_sse(response: httpx.Response) -> AsyncGenerator[Sse]:
    """The events of a response, comments left out."""
    event_id: int | None = None
    name, data = "message", ""
    async for line in response.aiter_lines():
        key, _, value = line.partition(": ")
        if key == "id":
            event_id = int(value)
        elif key == "event":
            name = value
        elif key == "data":
            data += value
        elif not line and data:
            yield Sse(event_id, name, httpx.Response(200, text=data).json())
            event_id, name, data = None, "message", ""
