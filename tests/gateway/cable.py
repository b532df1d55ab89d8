"""A cable between two processes that a test can cut: a TCP relay on loopback."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress


class Cable:
    """`cut` drops every open connection at once; `unplug` lets no new one through either."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._plugged = True
        self.connections = 0
        self.refused = 0  # while it was unplugged
        self._knock = asyncio.Event()
        self.passed = asyncio.Event()  # something came back from the agent
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        self.passed.clear()
        for writer in list(self._writers):
            writer.transport.abort()

    def redirect(self, port: int) -> None:
        """Another server answers from now on."""
        self._target = (self._target[0], port)
        self.cut()

    def unplug(self) -> None:
        self._plugged = False
        self.cut()

    def plug(self) -> None:
        self._plugged = True

    async def knocked(self, times: int) -> None:
        """Returns once so many connections were refused."""
        while self.refused < times:
            await self._knock.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._plugged:
            self.refused += 1
            knock, self._knock = self._knock, asyncio.Event()
            knock.set()
            writer.transport.abort()
            return
        self.connections += 1
        with suppress(OSError):
            back, forth = await asyncio.open_connection(*self._target)
            self._writers |= {writer, forth}
            for source, sink in ((reader, forth), (back, writer)):
                task = asyncio.create_task(self._pump(source, sink, sink is writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
                if answers:
                    self.passed.set()
        sink.close()

    async def close(self) -> None:
        self.unplug()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def cable(port: int) -> AsyncGenerator[Cable, None]:
    """A cable to a port of this machine."""
    made = Cable("127.0.0.1", port)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
        await server.wait_closed()
