"""HTTP/1.1 on asyncio's own connections, as a transport of httpx: one pool an origin.

Knows sockets and httpx's errors, no agent and no credentials. httpx's own transport costs a
request four times as much CPU, a stream twice the memory, and its pool looks at every connection
at every request.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator
from typing import Final

import httpx

from gateway.core.addresses import Screen
from gateway.link.connection import Connection

IDLE_CONNECTIONS: Final = 20  # kept open for the next request
# Some agents (Gemini CLI's) abort what a request brought about when its client closes the
# connection, also long after the response. Servers close idle ones themselves after 5 s or so.
PARKED_S: Final = 60.0


class Transport(httpx.AsyncBaseTransport):
    """Connections to one origin. Raises httpx's errors, as every transport of it.

    Only connecting has a time-out here: what follows waits until it is cancelled.
    """

    def __init__(
        self, context: ssl.SSLContext, *, keep_s: float, screen: Screen | None = None
    ) -> None:
        """`keep_s`: how long a connection is kept for the next request. `screen` judges where the
        origin's name leads, at every connection; without one it is for the system to resolve."""
        self._context = context
        self._screen = screen
        self._keep_s = keep_s
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Connection] = deque()
        self._parked: deque[Connection] = deque()  # too old for another request

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connection = self._kept()
        if connection is None:
            limits: dict[str, float | None] = request.extensions.get("timeout", {})
            connection = await self._connected(request.url, limits.get("connect"))
        try:
            connection.begin(_bytes_of(request, await request.aread()))
            status, headers = await connection.head()
        except BaseException:
            connection.abort()
            raise
        body = _Body(self, connection)
        return httpx.Response(status, headers=headers, stream=body)

    def _kept(self) -> Connection | None:
        """An idle connection, the one used last; those that are too old are left to the other
        side to close."""
        now = self._loop.time()
        while self._parked and (self._parked[0].closed or now - self._parked[0].since > PARKED_S):
            self._parked.popleft().abort()
        while self._idle and (self._idle[0].closed or now - self._idle[0].since > self._keep_s):
            self._parked.append(self._idle.popleft())
        while self._idle:
            connection = self._idle.pop()
            if not connection.spoken_to:
                return connection
            connection.abort()
        return None

    async def _connected(self, url: httpx.URL, timeout_s: float | None) -> Connection:
        """Raises: httpx.ConnectError, httpx.ConnectTimeout, AddressRefusedError."""
        host = url.raw_host.decode("ascii").strip("[]")
        port = url.port or (443 if url.scheme == "https" else 80)
        failure: OSError | None = None
        try:
            async with asyncio.timeout(timeout_s):
                found = [host] if self._screen is None else await self._screen.addresses(host, port)
                for address in found:
                    try:
                        return await self._dialled(address, port, host, url.scheme == "https")
                    except OSError as exc:  # ssl.SSLError is one too
                        failure = exc
        except TimeoutError as exc:
            raise httpx.ConnectTimeout(f"no connection within {timeout_s} s") from exc
        except (OSError, UnicodeError) as exc:
            failure = failure or OSError(str(exc))
        raise httpx.ConnectError(str(failure or "its name has no address")) from failure

    async def _dialled(self, address: str, port: int, host: str, secure: bool) -> Connection:
        _, made = await self._loop.create_connection(
            Connection,
            address,
            port,
            ssl=self._context if secure else None,
            server_hostname=host if secure else None,
        )
        return made

    def take_back(self, connection: Connection) -> None:
        """A connection whose response was read to its end."""
        if connection.reusable and len(self._idle) < IDLE_CONNECTIONS:
            connection.since = self._loop.time()
            self._idle.append(connection)
        else:
            connection.abort()

    async def aclose(self) -> None:
        while left := self._idle or self._parked:
            left.pop().abort()


class _Body(httpx.AsyncByteStream):
    """The body of a response, in the pieces it comes in; closing it gives the connection back."""

    __slots__ = ("_connection", "_transport")

    def __init__(self, transport: Transport, connection: Connection) -> None:
        self._transport = transport
        self._connection: Connection | None = connection

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        while (connection := self._connection) is not None:
            piece = await connection.piece()
            if not piece:
                return
            yield piece

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.take_back(connection)


def _bytes_of(request: httpx.Request, content: bytes) -> bytes:
    """A request as it is sent; httpx has checked what stands in its headers."""
    lines = [b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%b: %b\r\n" % header for header in request.headers.raw]
    return b"".join([*lines, b"\r\n", content])
