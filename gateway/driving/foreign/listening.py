"""What a foreign run hears: one stream at a time, and everything else that happens, in one channel.

Knows no task and no item; a stream is any generator of batches.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from gateway.core.json import JsonObject
from gateway.driving.foreign.task_streams import Sent, Source
from gateway.errors import GatewayError

BACKLOG: Final = 16  # batches read ahead of the log


@dataclass(frozen=True, slots=True)
class Over:
    """The stream that was read has ended; `error` says why when it broke."""

    error: GatewayError | None


@dataclass(frozen=True, slots=True)
class Look:
    """The task is to be asked after now, unless it is heard live; `again`: what it asks is new."""

    again: bool = False


Happening: TypeAlias = list[JsonObject] | Sent | Over | Look


class Listening:
    """The ears of one run."""

    def __init__(self) -> None:
        self._send: MemoryObjectSendStream[tuple[object, Happening]]
        self._inbox: MemoryObjectReceiveStream[tuple[object, Happening]]
        self._send, self._inbox = anyio.create_memory_object_stream[tuple[object, Happening]](
            BACKLOG
        )
        self._group: TaskGroup
        self._reading: anyio.CancelScope | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Streams are read until the block ends; what is posted later is refused."""
        with self._inbox, self._send:
            async with anyio.create_task_group() as self._group:
                yield
                self._group.cancel_scope.cancel()

    def read(self, source: Source | None) -> None:
        """Read this stream, and no other any more."""
        self.stop()
        if source is not None:
            self._reading = anyio.CancelScope()
            self._group.start_soon(self._reader, source, self._reading)

    def stop(self) -> None:
        """Read no stream; what it brought before is still heard, its end is not."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def post(self, happening: Happening) -> None:
        """Raises: anyio.BrokenResourceError, anyio.ClosedResourceError when nobody listens."""
        await self._send.send((None, happening))

    async def each(self, take: Callable[[Happening], Awaitable[bool]]) -> None:
        """Hand on what happens, one by one, until `take` says that it is enough."""
        while True:
            scope, happening = await self._inbox.receive()
            if isinstance(happening, Over) and scope is not self._reading:
                continue  # of a stream that is read no more
            if await take(happening):
                return

    async def _reader(self, source: Source, scope: anyio.CancelScope) -> None:
        with scope:
            error: GatewayError | None = None
            try:
                async with aclosing(source):
                    async for results in source:
                        await self._send.send((scope, results))
            except GatewayError as exc:
                error = exc
            await self._send.send((scope, Over(error)))
