"""A request's body within its limits, and how a request is refused while it is still being sent.

Pure ASGI. A server that closes while bytes arrive resets the connection, and the reset overtakes
the answer: the client would learn that something broke, not why. So what a refused client still
sends is read and thrown away, for a while.
"""

import re
from typing import Final

import anyio
from starlette.types import Message, Receive, Send

from gateway.core import json
from gateway.core.json import JsonObject

# Bytes. A text of 5 MB, the longest that callers are known to send, is 15 MB where a client writes
# every letter beyond ASCII as \uXXXX. Longer texts belong into a file that the message names.
MAX_BODY: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 64  # JSON nesting; Python's own readers run into the recursion limit at 1000
# Members and items in one body: 4 MiB of the smallest take 95 ms to parse, and nobody else has a
# turn meanwhile. These take 10 ms to look at and 5 to parse; texts may be as long as the body.
MAX_VALUES: Final = 25_000
_SMALL: Final = 64 * 1024  # bytes: too few for too many values
DRAIN_BYTES: Final = 128 * 1024 * 1024  # of a refused body; whoever sends more is cut off
DRAIN_S: Final = 5.0

_STRING: Final = re.compile(rb'"[^"]*+"?')  # of text without escaped quotes
_ALL_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class Body:
    """The body of one request, of at most `most` bytes."""

    def __init__(self, receive: Receive, length: str | None, most: int) -> None:
        self._receive = receive
        self._length = int(length) if length is not None and length.isdecimal() else 0
        self._most = most
        self._over = False  # the last of it has arrived

    async def read(self) -> bytes:
        """All of it. Raises: Refusal."""
        if self._length > self._most:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        while not self._over:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise Refusal(400, "disconnected", "the request ended early")
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > self._most:
                raise self._too_large()
            pieces.append(piece)
        return b"".join(pieces)

    async def drain(self) -> None:
        """Read what is left and keep none of it."""
        size = 0
        with anyio.move_on_after(DRAIN_S):
            while not self._over and size < DRAIN_BYTES:
                size += len((await self._next()).get("body", b""))

    async def _next(self) -> Message:
        message = await self._receive()
        self._over = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    def _too_large(self) -> "Refusal":
        return Refusal(
            413,
            "too_large",
            f"a request body has at most {self._most} bytes; "
            "put what is longer into a file and send its path",
        )


class Refusal(Exception):
    """The answer that ends a request before any route sees it; `content` is it in another form."""

    def __init__(
        self, status: int, code: str, text: str, content: JsonObject | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.content = content or {"error": {"code": code, "message": text}}

    async def send(self, send: Send, body: Body) -> None:
        """Say it at once, and close when the client has heard it."""
        content = json.encode(self.content).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"connection", b"close"),
        ]
        if self.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": True})
        await body.drain()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def check_structure(body: bytes, depth: int = MAX_DEPTH, values: int = MAX_VALUES) -> None:
    """Refuse JSON text with more than `depth` arrays and objects inside each other, or more than
    `values` members and items, before a parser meets it. Raises: Refusal."""
    if len(body) <= _SMALL and body.count(b"[") + body.count(b"{") <= depth:
        return
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A member is two strings, a string two quotes; looking at each is what costs here.
    if body.count(b'"') > 4 * values:
        raise _too_many(values)
    left = _STRING.sub(b"", body)
    brackets = left.translate(_ALL_SQUARE, _NOT_BRACKETS)
    if _deeper(brackets[: 2 * values], depth):
        raise Refusal(400, "too_deep", f"JSON is nested deeper than {depth} levels")
    if left.count(b",") + len(brackets) // 2 > values:
        raise _too_many(values)


def _too_many(values: int) -> Refusal:
    return Refusal(
        413, "too_many_values", f"JSON holds more than {values} values; send data as text or a file"
    )


def _deeper(brackets: bytes, most: int) -> bool:
    for _ in range(most):
        peeled = brackets.replace(b"[]", b"")  # every innermost pair at once
        if len(peeled) == len(brackets):
            return len(brackets) > 2 * most  # brackets that never close: not JSON
        brackets = peeled
    return bool(brackets)
