"""A doorman before a server that wants a token, for clients that cannot send one: a relay on loopback
that adds the header to each request and changes nothing else."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

HEAD_END = b"\r\n\r\n"


class _Doorman:
    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token.encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(HEAD_END)
            back, forth = await asyncio.open_connection("127.0.0.1", self._port)
            forth.write(self._admitted(head))
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, forth))
                group.create_task(_pass(back, writer))
        writer.close()

    def _admitted(self, head: bytes) -> bytes:
        """One request a connection: only the first head on it is seen here."""
        first, *rest = head.removesuffix(HEAD_END).split(b"\r\n")
        kept = [line for line in rest if not line.lower().startswith(b"connection:")]
        added = [b"Authorization: Bearer " + self._token, b"Connection: close"]
        return b"\r\n".join([first, *kept, *added]) + HEAD_END


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def admitted(port: int, token: str) -> AsyncGenerator[str, None]:
    """The URL at which the server at `port` of this machine takes everybody."""
    server = await asyncio.start_server(_Doorman(port, token).serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
