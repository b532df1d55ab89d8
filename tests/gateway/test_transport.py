"""HTTP/1.1 to an agent, byte by byte: what ends a body, what is refused, what is reused."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

from gateway.link.timing import IDLE_S
from gateway.link.transport import Transport

OK = b"HTTP/1.1 200 OK\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def client(talk: Talk) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of a server that says on each connection what `talk` does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    transport = Transport(ssl.create_default_context())
    async with httpx.AsyncClient(transport=transport, base_url=url, timeout=None) as made:
        with anyio.fail_after(20):
            yield made
    server.close()
    await server.wait_closed()


def saying(*answers: bytes) -> Talk:
    """One answer a request, then the connection is closed."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    return talk


async def test_a_body_ends_where_its_length_says() -> None:
    async with client(saying(OK + b"Content-Length: 5\r\n\r\nhello")) as http:
        assert (await http.get("/")).text == "hello"


async def test_a_body_of_chunks_is_joined_and_trailers_are_left_out() -> None:
    chunks = b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n"
    async with client(saying(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)) as http:
        answer = await http.get("/")
    assert answer.text == "hello"
    assert "x-sum" not in answer.headers


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async with client(saying(OK + b"\r\nhello")) as http:
        assert (await http.get("/")).text == "hello"


async def test_a_body_that_breaks_off_is_an_error() -> None:
    async with client(saying(OK + b"Content-Length: 9\r\n\r\nhello")) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/")


async def test_a_connection_that_closes_without_an_answer_is_an_error() -> None:
    async with client(saying(b"")) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/")


async def test_what_is_no_http_is_an_error() -> None:
    async with client(saying(b"SSH-2.0-OpenSSH_9\r\n")) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/")


async def test_a_head_without_an_end_is_an_error() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        while True:
            writer.write(b"X-More: " + b"x" * 1000 + b"\r\n")
            await writer.drain()

    async with client(talk) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/")


async def test_an_interim_answer_is_passed_over() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\nLink: </x>\r\n\r\n"
    async with client(saying(interim + OK + b"Content-Length: 2\r\n\r\nok")) as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.text) == (200, "ok")
    assert "link" not in answer.headers


async def test_requests_one_after_another_share_a_connection() -> None:
    opened = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await saying(*[OK + b"Content-Length: 2\r\n\r\nok"] * 3)(reader, writer)

    async with client(talk) as http:
        assert [(await http.get("/")).text for _ in range(3)] == ["ok"] * 3
    assert opened == 1


async def test_a_connection_its_server_closed_is_not_used_again() -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(OK + b"Content-Length: 2\r\n\r\nok")(reader, writer)
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with client(talk) as http:
        assert (await http.get("/")).text == "ok"
        await closed.wait()
        assert (await http.get("/")).text == "ok"


async def test_a_second_answer_to_one_request_goes_to_no_other() -> None:
    """A server that answers twice would have its second answer taken for that to whatever request
    comes next on the connection."""
    twice = OK + b"Content-Length: 3\r\n\r\none" + OK + b"Content-Length: 3\r\n\r\ntwo"
    async with client(saying(twice, twice)) as http:
        assert [(await http.get("/")).text for _ in range(3)] == ["one"] * 3


async def test_a_body_nobody_reads_makes_the_server_wait() -> None:
    sent = 0
    stuck = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        writer.write(OK + b"Content-Length: 100000000\r\n\r\n")
        piece = b"x" * 65536
        while True:
            writer.write(piece)
            sent += len(piece)
            with anyio.move_on_after(1.0) as waited:
                await writer.drain()
            if waited.cancelled_caught:
                stuck.set()
                return

    async with client(talk) as http, http.stream("GET", "/") as response:
        await stuck.wait()
        assert response.status_code == 200
        assert 65536 < sent < 50_000_000


async def test_a_port_nobody_listens_at_is_a_connect_error() -> None:
    transport = Transport(ssl.create_default_context())
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes it
        async with httpx.AsyncClient(transport=transport) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"http://127.0.0.1:{held.getsockname()[1]}/")


async def test_an_idle_connection_is_left_to_the_server_to_close() -> None:
    # Gemini CLI's server aborts the turn behind a request when its client closes the connection,
    # also after the response: every question that waited longer than the 3 s after which idle
    # connections were closed once was gone. Servers close them after 5 s or so.
    closed: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 2\r\n\r\nok")
        await reader.read()
        closed.append(1)

    assert IDLE_S > 30
    async with client(talk) as http:
        await http.get("/")
        await anyio.lowlevel.checkpoint()
        assert closed == []
    assert closed == [1]
