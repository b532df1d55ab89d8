"""Signs of life on streams that have nothing to say, from one timer for all of them.

Knows no stream's content. A task and a timer for each stream would be most of what it costs.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from starlette.types import Send

KEEP_ALIVE_S: Final = 15.0  # half of the shortest idle cut of common proxies (30 s)
_SIGN: Final = b": keep-alive\n\n"


class Line:
    """The way to one reader: what is written waits until the reader takes it."""

    __slots__ = ("_quiet", "_send", "_sign", "_writing")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._quiet = True  # nothing was written since the last beat
        self._writing = False
        self._sign: asyncio.Task[None] | None = None

    async def write(self, body: bytes, *, last: bool = False) -> None:
        self._quiet, self._writing = False, True
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})
        self._writing = False

    def beat(self) -> None:
        """Say that the stream lives, when it was quiet. A reader that takes nothing is left."""
        if self._quiet and not self._writing and self._sign is None:
            self._sign = asyncio.create_task(self._live())
            self._sign.add_done_callback(self._signed)
        self._quiet = True

    def close(self) -> None:
        if self._sign is not None:
            self._sign.cancel()

    async def _live(self) -> None:
        await self._send({"type": "http.response.body", "body": _SIGN, "more_body": True})

    def _signed(self, sign: asyncio.Task[None]) -> None:
        self._sign = None
        if not sign.cancelled():
            sign.exception()  # a reader that is gone is noticed elsewhere


class Pulse:
    """Beats while there are lines."""

    def __init__(self) -> None:
        self._lines: set[Line] = set()
        self._next: asyncio.TimerHandle | None = None

    @contextmanager
    def keeping(self, send: Send) -> Generator[Line]:
        """A line that is kept alive until the block ends."""
        line = Line(send)
        self._lines.add(line)
        if self._next is None:
            self._schedule()
        try:
            yield line
        finally:
            self._lines.discard(line)
            line.close()

    def _schedule(self) -> None:
        self._next = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._beat)

    def _beat(self) -> None:
        self._next = None
        for line in self._lines:
            line.beat()
        if self._lines:
            self._schedule()
