"""A caller that costs nearly nothing: raw keep-alive HTTP/1.1, nothing parsed that is not needed.

Knows HTTP and the bytes of A2A; no SDK, so that what is measured is the server.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from gateway.core import json

VERSION: Final = b"A2A-Version: 1.0\r\n"
EXTENSION: Final = b"A2A-Extensions: urn:a2a-gateway:coding-run:1\r\n"
ITEM: Final = b"data: "


class RefusedError(Exception):
    """The server answered with something else than what was asked for."""


@dataclass(slots=True)
class Streamed:
    """A stream: `marks[n]` is the time at which `n` items had come, `tail` its last bytes."""

    began: float
    first: float = 0.0
    over: float = 0.0
    items: int = 0
    size: int = 0
    tail: bytes = b""
    marks: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    kept: list[tuple[float, bytes]] | None = None  # what came when

    def take(self, data: bytes) -> None:
        now = time.perf_counter()
        joined = self.tail[-(len(ITEM) - 1) :] + data
        self.items += joined.count(ITEM)
        self.size += len(data)
        self.first = self.first or now
        self.over = now
        self.marks.append((self.items, now))
        self.tail = (self.tail + data)[-4096:]
        if self.kept is not None:
            self.kept.append((now, data))

    def at(self, count: int) -> float:
        """The time at which the item of that number came, between two reads in proportion."""
        before, earlier = 0, self.began
        for items, moment in self.marks:
            if items >= count:
                share = (count - before) / (items - before)
                return earlier + share * (moment - earlier)
            before, earlier = items, moment
        raise RefusedError(f"the stream ended after {self.items} items; wanted {count}")


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._expected = -1
        self._length = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._streamed: Streamed | None = None
        self._in_body = False
        self._first_only = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(RefusedError(f"connection lost: {exc}"))

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """The body of a unary answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._buffer, self._expected = b"", -1
        self._transport.write(request)
        return self._answer

    async def stream(
        self, request: bytes, *, first_only: bool = False, keep: bool = False
    ) -> Streamed:
        """A stream to its last byte, or to its first item, left open; `keep` its bytes."""
        began = time.perf_counter()
        self._streamed = streamed = Streamed(began, kept=[] if keep else None)
        self._in_body, self._first_only = False, first_only
        answer = self.ask(request)
        await answer
        return streamed

    def data_received(self, data: bytes) -> None:
        if self._streamed is not None:
            self._more(self._streamed, data)
            return
        self._buffer += data
        if self._expected < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            if at < 0 or not head.startswith(b"http/1.1 200"):
                self._fail(self._buffer)
                return
            self._length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            self._expected = end + 4 + self._length
        if len(self._buffer) >= self._expected:
            self._done(self._buffer[self._expected - self._length :])

    def _more(self, streamed: Streamed, data: bytes) -> None:
        if not self._in_body:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            if b"text/event-stream" not in head:
                self._fail(self._buffer)
                return
            self._in_body, data = True, self._buffer[end + 4 :]
        if data:
            streamed.take(data)
        if streamed.tail.endswith(b"0\r\n\r\n"):
            self._streamed = None
            self._done(streamed.tail)
        elif self._first_only and streamed.items:
            self._done(streamed.tail)

    def _done(self, body: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(body)

    def _fail(self, said: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(RefusedError(said[:500].decode("utf-8", "replace")))


@dataclass(frozen=True, slots=True)
class Target:
    """A server to call: its port, its process, the token it wants, and its JSON-RPC's path."""

    port: int
    pid: int
    token: str
    path: str = "/a2a/jsonrpc"

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(Connection, "127.0.0.1", self.port)
        return made

    def call(self, method: str, params: json.JsonObject, *headers: bytes) -> bytes:
        """A whole request."""
        body = json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        return b"".join(
            (
                f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode(),
                b"Content-Type: application/json\r\n",
                f"Authorization: Bearer {self.token}\r\n".encode(),
                f"Content-Length: {len(body)}\r\n".encode(),
                VERSION,
                *headers,
                b"\r\n",
                body,
            )
        )

    def get(self, path: str) -> bytes:
        head = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        )
        return head.encode()

    def send(self, text: str, *headers: bytes, stream: bool = False, wait: bool = True) -> bytes:
        method = "SendStreamingMessage" if stream else "SendMessage"
        message = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}]}
        params: json.JsonObject = {"message": message}
        if not wait:
            params["configuration"] = {"returnImmediately": True}
        return self.call(method, params, *headers)


async def sequential(target: Target, count: int) -> list[float]:
    """Seconds of blocking sends, one after another on one connection."""
    request = target.send("hello")
    connection = await target.connect()
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        body = await connection.ask(request)
        taken.append(time.perf_counter() - began)
        completed(body)
    connection.close()
    return taken


async def concurrent(target: Target, callers: int, count: int, text: str = "hello") -> float:
    """Tasks a second of `count` blocking sends by `callers` connections."""
    request = target.send(text)
    connections = [await target.connect() for _ in range(callers)]
    left = iter(range(count))

    async def work(connection: Connection) -> None:
        for _ in left:
            completed(await connection.ask(request))

    began = time.perf_counter()
    await asyncio.gather(*(work(connection) for connection in connections))
    taken = time.perf_counter() - began
    _close(connections)
    return count / taken


def _close(connections: Sequence[Connection]) -> None:
    for connection in connections:
        connection.close()


def completed(body: bytes) -> None:
    """Raises: RefusedError when an answer is no completed task."""
    if b"TASK_STATE_COMPLETED" not in body:
        raise RefusedError(body.decode("utf-8", "replace"))
