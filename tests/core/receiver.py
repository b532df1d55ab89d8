"""A webhook on a real socket: it keeps what it gets and answers what the test says."""

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.face.serving import Listener
from gateway.core.json import JsonObject


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: httpx.Headers
    body: bytes

    @property
    def item(self) -> JsonObject:
        return httpx.Response(200, content=self.body).json()

    @property
    def state(self) -> str:
        """The state of a status update."""
        return self.item["statusUpdate"]["status"]["state"]

    @property
    def text(self) -> str:
        """What a status update says; empty when it says nothing."""
        message = self.item["statusUpdate"]["status"].get("message", {"parts": [{"text": ""}]})
        return message["parts"][0]["text"]


@dataclass
class Receiver:
    """`answers` are given first, in order, then 200s; while `open` is not set nobody is answered."""

    base_url: str
    answers: list[Response] = field(default_factory=list[Response])
    got: list[Got] = field(default_factory=list[Got])
    open: anyio.Event = field(default_factory=anyio.Event)
    _more: anyio.Event = field(default_factory=anyio.Event)

    @property
    def url(self) -> str:
        return f"{self.base_url}/hook"

    def answer_with(self, *statuses: int) -> None:
        self.answers += [Response(status_code=status) for status in statuses]

    async def take(self, request: Request) -> Response:
        body = await request.body()
        self.got.append(Got(request.url.path, httpx.Headers(request.headers.raw), body))
        more, self._more = self._more, anyio.Event()
        more.set()
        await self.open.wait()
        return self.answers.pop(0) if self.answers else Response(status_code=200)

    async def count(self, number: int) -> list[Got]:
        """The first `number` requests, when they have come."""
        with anyio.fail_after(10):
            while len(self.got) < number:
                await self._more.wait()
        return self.got[:number]

    async def until(self, state: str) -> list[Got]:
        """Everything up to the first status update of this state."""
        number = 1
        while True:
            last = (await self.count(number))[-1]
            if "statusUpdate" in last.item and last.state == state:
                return self.got[:number]
            number += 1


@asynccontextmanager
async def receiver() -> AsyncGenerator[Receiver]:
    """A webhook on loopback until the block ends; it answers at once."""
    listener = Listener()
    made = Receiver(listener.base_url)
    made.open.set()
    app = Starlette(routes=[Route("/{path:path}", made.take, methods=["POST"])])
    ready = anyio.Event()

    async def serve() -> None:
        await listener.serve(app, on_ready=lambda _url: ready.set(), signals=False)

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        with anyio.fail_after(10):
            await ready.wait()
        with contextlib.ExitStack() as ending:
            ending.callback(listener.stop)
            ending.callback(made.open.set)
            yield made
