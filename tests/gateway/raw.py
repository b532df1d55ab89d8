"""A server that says exactly the bytes it is told to, over a real socket, and counts them."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from gateway.core import json
from gateway.core.json import JsonObject
from tests.gateway.foreigners import card_of

WORKING: JsonObject = {"state": "TASK_STATE_WORKING"}
TASK: JsonObject = {"id": "t-1", "contextId": "c-1", "status": WORKING}


@dataclass(slots=True, kw_only=True)
class Call:
    """One request, and the way to answer it."""

    server: "Raw"
    verb: str
    path: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter

    @property
    def method(self) -> str:
        return str(json.decode_object(self.body).get("method", ""))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        self.server.sent += len(data)

    async def drip(self, data: bytes) -> None:
        """One byte at a time, for as long as the caller stays."""
        for byte in data:
            with anyio.move_on_after(0.05):
                await anyio.Event().wait()
            await self.say(bytes([byte]))

    async def answer(
        self, body: bytes = b"", status: str = "200 OK", *headers: str, protocol: str = "HTTP/1.1"
    ) -> None:
        lines = [f"{protocol} {status}", f"Content-Length: {len(body)}", "Connection: close"]
        head = "\r\n".join([*lines, *headers, "", ""]).encode()
        await self.say(head + body)

    async def result(self, result: object) -> None:
        """A JSON-RPC answer to this request."""
        await self.answer(self.wrapped(result), "200 OK", "Content-Type: application/json")

    def wrapped(self, result: object) -> bytes:
        number = json.decode_object(self.body).get("id")
        return json.dump({"jsonrpc": "2.0", "id": number, "result": result})

    async def stream(self, *results: object, protocol: str = "HTTP/1.1") -> None:
        """The head of an event stream, and these results on it; it stays open."""
        head = f"{protocol} 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        events = b"".join(b"data: " + self.wrapped(result) + b"\n\n" for result in results)
        await self.say(head.encode() + events)


Play = Callable[[Call], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Raw:
    """`sent` counts the bytes that were taken off it."""

    play: Play
    scheme: str = "http"
    port: int = 0
    sent: int = 0
    calls: list[str] = field(default_factory=list[str])
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def base_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A task of ours: asyncio's own is not awaited, and tells of its end as of an error."""
        task = asyncio.create_task(self.serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        else:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        verb, path, _ = head[0].split(" ")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        call = Call(server=self, verb=verb, path=path, headers=headers, body=body, writer=writer)
        self.calls.append(f"{verb} {path}")
        await self.play(call)


async def card(call: Call) -> bool:
    """Answers a request for the card; False when it was for something else."""
    if call.verb != "GET":
        return False
    about = json.dump(card_of(call.server.base_url))
    await call.answer(about, "200 OK", "Content-Type: application/json")
    return True


def with_card(play: Play) -> Play:
    """`play` for everything but the card, which is a plain one."""

    async def played(call: Call) -> None:
        if not await card(call):
            await play(call)

    return played


@asynccontextmanager
async def raw(play: Play, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Raw, None]:
    """A server that answers every request by `play`, one a connection."""
    made = Raw(play=play, scheme="https" if tls else "http")
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0, ssl=tls, limit=2**20)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        left = list(made.tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
