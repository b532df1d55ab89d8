"""One HTTP/1.1 connection as its client: a request goes out, the response comes in pieces.

Knows bytes and httpx's errors, no pool. What nobody reads is bounded: then the other side waits.
"""

import asyncio
import select
from typing import Final, cast

import httptools
import httpx

HEAD_MAX: Final = 64 * 1024  # bytes of a response before its body
UNREAD_MAX: Final = 128 * 1024  # bytes of a body that wait for who reads it; then the agent waits


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    __slots__ = (
        "_complete",
        "_error",
        "_headers",
        "_lasting",
        "_loop",
        "_parser",
        "_paused",
        "_pieces",
        "_poll",
        "_received",
        "_sized",
        "_socket",
        "_status",
        "_unread",
        "_waiter",
        "since",
    )

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket: asyncio.Transport | None = None
        self._poll = select.poll()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._error: httpx.TransportError | None = None
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._received = 0  # bytes of the head
        self._sized = False  # the head says where the body ends
        self._lasting = False  # the other side awaits another request behind it
        self._complete = True
        self._pieces: list[bytes] = []
        self._unread = 0
        self._paused = False
        self.since = 0.0  # idle, by the loop's clock

    @property
    def closed(self) -> bool:
        return self._error is not None or self._socket is None or self._socket.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether the response is over, and the other side awaits another request."""
        return self._complete and self._lasting and not self._pieces and not self.closed

    @property
    def spoken_to(self) -> bool:
        """True of an idle connection that the other side closed, or spoke on without a request;
        asked of the kernel, since the loop may not have come to it yet."""
        return self.closed or bool(self._poll.poll(0))

    # -- what the transport asks -----------------------------------------------------------------

    def begin(self, request: bytes) -> None:
        """Send a request; the answer of the one before was read."""
        self._status, self._received = 0, 0
        self._headers = []
        self._sized = self._complete = False
        if self._socket is not None and not self.closed:
            self._socket.write(request)

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Status and headers. Raises: httpx.TransportError."""
        while not self._status:
            if self._error is not None:
                raise self._error
            await self._wait()
        return self._status, self._headers

    async def piece(self) -> bytes:
        """What has come of the body since the last one; nothing at its end.

        Raises: httpx.TransportError.
        """
        while not self._pieces:
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait()
        pieces, self._pieces = self._pieces, []
        self._unread = 0
        if self._paused and self._socket is not None and not self._socket.is_closing():
            self._paused = False
            self._socket.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abort(self) -> None:
        if self._socket is not None:
            self._socket.abort()

    async def _wait(self) -> None:
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: httpx.TransportError) -> None:
        self._error = self._error or error
        self._wake()
        self.abort()

    # -- what the socket says --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self._poll.register(self._socket.get_extra_info("socket").fileno(), select.POLLIN)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._complete and self._status and not self._sized and exc is None:
            self._complete = True  # a body without a length ends with its connection
        elif exc is not None:
            self._error = self._error or httpx.ReadError(str(exc))
        else:
            self._error = self._error or httpx.RemoteProtocolError("the connection was closed")
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._complete:  # of no request
            self._fail(httpx.RemoteProtocolError("an answer to no request"))
            return
        if not self._status:
            self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._fail(httpx.RemoteProtocolError(f"not HTTP/1.1: {exc}"))
            return
        if not self._status and self._received > HEAD_MAX:
            self._fail(httpx.RemoteProtocolError("the head of a response has no end"))
        elif self._unread > UNREAD_MAX and not self._paused and self._socket is not None:
            self._paused = True
            self._socket.pause_reading()

    # -- what the parser says --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:
            self._error = httpx.RemoteProtocolError("two answers to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:
            return  # behind the body: of no use to anybody here
        self._headers.append((name, value))
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._sized = True

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status < 200:  # "continue" and the like: the answer follows
            self._headers, self._sized = [], False
            return
        self._status = status
        self._sized = self._sized or status in (204, 304)
        self._lasting = self._sized and self._parser.should_keep_alive()
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self._complete:
            return
        self._pieces.append(body)
        self._unread += len(body)
        self._wake()

    def on_message_complete(self) -> None:
        if self._status:
            self._complete = True
            self._wake()
