"""Connections that the relay keeps: one for calls one after another, none that is not good any more."""

import threading
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from socket import create_server, socket
from typing import Final

import pytest
from mcp.shared.inbound import decode_header_value

from mcp_bridge.relaying import connections
from mcp_bridge.relaying.connections import KEPT_MOST, Connections
from mcp_bridge.relaying.endpoint import Address, Gateway
from mcp_bridge.relaying.exchange import VERSION_META, Exchange, ExchangeError, Handshake

PATIENCE_S: Final = 10
PING: Final = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
PONG: Final = b'{"jsonrpc":"2.0","id":1,"result":{}}'
JSON: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
KEPT: Final = JSON % len(PONG) + b"\r\n" + PONG
CLOSED: Final = JSON % len(PONG) + b"Connection: close\r\n\r\n" + PONG

# Answers one request; whether the connection stays.
Answer = Callable[[socket], bool]


@dataclass
class Server:
    """Takes connections one after another; `taken` counts them."""

    url: str
    taken: int = 0
    closed: threading.Event = field(default_factory=threading.Event)


def keep(wire: socket) -> bool:
    wire.sendall(KEPT)
    return True


def close(wire: socket) -> bool:
    """Say it stays, and close it all the same: so does a gateway that is stopped."""
    wire.sendall(KEPT)
    return False


def close_as_said(wire: socket) -> bool:
    wire.sendall(CLOSED)
    return False


@contextmanager
def serving(answer: Answer, heard: list[bytes] | None = None) -> Generator[Server]:
    """What is asked is put on `heard`."""
    listening = create_server(("127.0.0.1", 0))
    listening.settimeout(PATIENCE_S)
    server = Server(f"http://127.0.0.1:{listening.getsockname()[1]}")

    def serve() -> None:
        while True:
            try:
                wire, _ = listening.accept()
            except OSError:
                return
            server.taken += 1
            with wire:
                wire.settimeout(PATIENCE_S)
                while _request(wire, heard) and answer(wire):
                    """The next one on the same connection."""
            server.closed.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown(2)
        listening.close()


def _request(wire: socket, heard: list[bytes] | None) -> bool:
    """Read one; False at the end of the connection."""
    read = b""
    while PING not in read:
        if not (piece := wire.recv(65536)):
            return False
        read += piece
    if heard is not None:
        heard.append(read)
    return True


def ping(server: Server, kept: Connections) -> list[bytes]:
    exchange = Exchange(Gateway({}, url=server.url), PING, {}, connections=kept)
    return list(exchange.items())


def test_calls_one_after_another_share_a_connection() -> None:
    with serving(keep) as server, closing(Connections()) as kept:
        assert [ping(server, kept) for _ in range(5)] == [[PONG]] * 5
        assert server.taken == 1


@pytest.mark.parametrize("answer", [close, close_as_said])
def test_a_connection_that_was_closed_meanwhile_is_replaced(answer: Answer) -> None:
    # A restarted gateway: what is sent on the old connection would be lost, and could not be
    # told from a call that was lost while it was worked on.
    with serving(answer) as server, closing(Connections()) as kept:
        for count in range(1, 4):
            assert ping(server, kept) == [PONG]
            assert server.closed.wait(PATIENCE_S)
            server.closed.clear()
            assert server.taken == count


def test_a_connection_that_is_idle_for_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEPT_S", 0.0)
    with serving(keep) as server, closing(Connections()) as kept:
        assert [ping(server, kept) for _ in range(3)] == [[PONG]] * 3
        assert server.taken == 3


def test_a_call_that_may_have_arrived_is_not_sent_again() -> None:
    pongs = iter([KEPT])

    def once(wire: socket) -> bool:
        """The second call is read, and then the gateway dies."""
        if (pong := next(pongs, None)) is not None:
            wire.sendall(pong)
        return pong is not None

    with serving(once) as server, closing(Connections()) as kept:
        assert ping(server, kept) == [PONG]
        with pytest.raises(ExchangeError, match="went away during this call"):
            ping(server, kept)
        assert server.taken == 1


def test_an_answer_that_is_left_unread_takes_its_connection_with_it() -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: %s\r\n\r\n" % PONG

    def streamed(wire: socket) -> bool:
        wire.sendall(stream)
        return True

    with serving(streamed) as server, closing(Connections()) as kept:
        for _ in range(2):
            exchange = Exchange(Gateway({}, url=server.url), PING, {}, connections=kept)
            for item in exchange.items():
                assert item == PONG
                break
            exchange.close()
        assert server.taken == 2


def test_few_are_kept_and_each_for_its_own_address() -> None:
    with serving(keep) as server, closing(Connections()) as kept:
        address = Address(server.url, None)
        for _ in range(KEPT_MOST + 3):
            connection = address.connection()
            connection.connect()
            kept.keep(address, connection)
        assert kept.take(Address(server.url, "another token")) is None
        assert kept.take(address) is None, "those of another address are let go"


def test_a_header_cannot_end_its_line() -> None:
    # Versions come from the client's message, and go out as a header.
    heard: list[bytes] = []

    meta = {VERSION_META: "2026\r\nX-Other: 1", "name": "ü"}
    headers = Handshake().headers({"method": "ping", "params": {"_meta": meta}})
    with serving(keep, heard) as server, closing(Connections()) as kept:
        exchange = Exchange(Gateway({}, url=server.url), PING, headers, connections=kept)
        assert list(exchange.items()) == [PONG]
    lines = heard[0].split(b"\r\n")
    assert [line for line in lines if b"Other" in line or b"2026" in line] == []
    assert b"Mcp-Method: ping" in lines


def test_who_speaks_no_tls_is_told_of_as_that() -> None:
    # What was wrong with a certificate was said to be no gateway, and people looked for one.
    with create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_S)

        def refuse() -> None:
            for _ in range(2):  # the relay looks twice
                wire, _ = listening.accept()
                with wire:
                    wire.settimeout(PATIENCE_S)
                    wire.recv(65536)
                    wire.sendall(CLOSED)

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ExchangeError, match=rf"no gateway answers at {url} \(.*SSL") as gone:
            list(Exchange(Gateway({}, url=url), PING, {}).items())
        assert "\n" not in str(gone.value)
        thread.join(PATIENCE_S)


@pytest.mark.parametrize("name", ["=?base64?cGluZw==?=", "\u00fc", " padded", "plain"])
def test_a_name_in_a_header_is_read_as_it_was_sent(name: str) -> None:
    # What looks like the wrapped form has to be wrapped (basic/transports, "Value Encoding").
    heard: list[bytes] = []
    with serving(keep, heard) as server, closing(Connections()) as kept:
        headers = {"Mcp-Name": name}
        exchange = Exchange(Gateway({}, url=server.url), PING, headers, connections=kept)
        assert list(exchange.items()) == [PONG]
    lines = (line.partition(b": ") for line in heard[0].split(b"\r\n"))
    sent = next(value.decode() for field, _, value in lines if field == b"Mcp-Name")
    assert decode_header_value(sent) == name
