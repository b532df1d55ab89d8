"""Relays MCP between a client's pipes and the gateway, message by message, in both eras.

Standard library only; knows no tool and no HTTP. A call has a thread of its own, so a long poll
delays nobody.
"""

import _thread
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, BinaryIO, Final, cast

from mcp_bridge.relaying.connections import Connections
from mcp_bridge.relaying.endpoint import Gateway
from mcp_bridge.relaying.exchange import (
    HELLO_S,
    HELLOS,
    SILENCE_S,
    WENT_AWAY,
    Exchange,
    ExchangeError,
    Handshake,
    as_object,
)
from mcp_bridge.relaying.lines import LINE_MAX, Overlong
from mcp_bridge.relaying.person import Person
from mcp_bridge.within import Within, nowhere

FAREWELL_S: Final = 1.0  # what a closed stdin leaves to calls that are under way
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
NO_ANSWER: Final = -32000
FAILED: Final = "the relay failed at this call; what it wrote to stderr says why"
TOO_LONG: Final = (
    f"a message has at most {LINE_MAX // 2} bytes; put what is longer into a file and send its path"
)
# Calls at once, each with a thread and a connection. Whoever sends more is read on when one is
# over: a call ends within 30 s, and clients were seen with 10.
CALLS_MAX: Final = 256

RequestId = int | str


class Relay:
    """One client's side of the gateway."""

    def __init__(
        self,
        gateway: Gateway,
        out: BinaryIO,
        within: Within = nowhere,
        query: str = "",
        *,
        elicit: bool = False,
    ) -> None:
        """`within` tells from within which run the client asks, if any; `query` holds what it asks
        of the gateway's MCP side. `elicit`: a client of the handshake's era asks its person too."""
        self._gateway = gateway
        self._query = query
        self._out = out
        self._writing = threading.Lock()
        self._calls: dict[RequestId, Exchange] = {}
        self._changed = threading.Condition()
        self._handshake = Handshake(within)
        self._person = Person(self._write) if elicit else None
        self._connections = Connections()
        self._room = threading.BoundedSemaphore(CALLS_MAX)

    def serve(self, lines: Iterable[bytes | Overlong]) -> None:
        """Relay until the client closes its end."""
        for line in lines:
            if isinstance(line, Overlong):
                self._error(line.id, INVALID_REQUEST, TOO_LONG)
            elif line.strip():
                self._take(line.strip())
        deadline = time.monotonic() + FAREWELL_S
        with self._changed:
            while self._calls and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def _take(self, line: bytes) -> None:
        try:
            value: Any = json.loads(line)
        except (ValueError, RecursionError):
            self._error(None, PARSE_ERROR, "the line is not JSON; send one message a line")
            return
        message = as_object(value)
        method = message.get("method")
        if method == "notifications/cancelled":
            self._cancel(as_object(message.get("params")).get("requestId"))
        elif isinstance(method, str):
            self._send(line, message)
        elif not ("result" in message or "error" in message):
            self._error(None, INVALID_REQUEST, "send one JSON-RPC message a line, no batches")
        elif self._person is not None:
            self._person.take(message)

    def _send(self, line: bytes, message: dict[str, Any]) -> None:
        asking = None
        if self._person is not None:
            if message["method"] == "initialize":
                self._person.greeted(message)
            asking = self._person.newer(message)
        exchange = self._exchange(line, message) if asking is None else self._again(asking)
        request_id = message.get("id")
        if request_id is None:
            self._in_background(lambda: self._notify(exchange))
        elif not isinstance(request_id, int | str):
            self._error(None, INVALID_REQUEST, "a request's id is a number or a string")
        else:
            with self._changed:
                self._calls[request_id] = exchange
            if message["method"] == "initialize":
                self._call(request_id, exchange, first=True)  # what follows needs its version
            else:
                self._in_background(lambda: self._call(request_id, exchange, asking=asking))

    def _exchange(self, line: bytes, message: dict[str, Any]) -> Exchange:
        silence_s = HELLO_S if message["method"] in HELLOS else SILENCE_S
        return Exchange(
            self._gateway,
            line,
            self._handshake.headers(message),
            self._query,
            silence_s=silence_s,
            connections=self._connections,
        )

    def _again(self, message: dict[str, Any]) -> Exchange:
        return self._exchange(json.dumps(message).encode(), message)

    def _cancel(self, request_id: object) -> None:
        with self._changed:
            exchange = self._calls.get(request_id) if isinstance(request_id, int | str) else None
        if exchange is not None:
            exchange.cancel()

    def _call(
        self,
        request_id: RequestId,
        exchange: Exchange,
        *,
        first: bool = False,
        asking: dict[str, Any] | None = None,
    ) -> None:
        """`asking`: the call, where what comes back may ask the person."""
        try:
            done = self._answer(request_id, exchange, first=first, asking=asking)
            if not done and not exchange.cancelled:
                self._error(request_id, NO_ANSWER, WENT_AWAY)
        except ExchangeError as exc:
            if not exchange.cancelled:
                self._error(request_id, NO_ANSWER, str(exc))
        except Exception as exc:  # noqa: BLE001 - the root of a call: whoever waits is told
            if not exchange.cancelled:
                sys.excepthook(type(exc), exc, exc.__traceback__)
                self._error(request_id, NO_ANSWER, FAILED)
        finally:
            with self._changed:
                if self._calls.get(request_id) is exchange:
                    del self._calls[request_id]
                self._changed.notify_all()

    def _answer(
        self,
        request_id: RequestId,
        exchange: Exchange,
        *,
        first: bool = False,
        asking: dict[str, Any] | None = None,
    ) -> bool:
        """Relay what comes until the answer itself; whether it came."""
        for item in exchange.items():
            message = as_object(item)
            if exchange.cancelled:
                return False
            if not ("result" in message or "error" in message):
                self._write(item)  # progress
                continue
            if first:
                self._handshake.session = exchange.session
                self._handshake.version = as_object(message.get("result")).get("protocolVersion")
            result = as_object(message.get("result"))
            if asking is not None and result.get("resultType") == "input_required":
                return self._ask(request_id, exchange, asking, result)
            same = message.get("id") == request_id  # else it was refused before its id was read
            self._write(item if same else json.dumps({**message, "id": request_id}).encode())
            return True
        return False

    def _ask(
        self,
        request_id: RequestId,
        exchange: Exchange,
        asking: dict[str, Any],
        result: dict[str, Any],
    ) -> bool:
        """Put to the person what the result asks, and call again with what they say."""
        person = cast("Person", self._person)
        asking = person.answer(asking, result, lambda: exchange.cancelled)
        following = self._again(asking)
        with self._changed:
            if exchange.cancelled:
                return False
            self._calls[request_id] = following
        try:
            return self._answer(request_id, following, asking=asking)
        finally:
            with self._changed:  # the first stands for the whole call
                self._calls[request_id] = exchange
                exchange.cancelled |= following.cancelled

    @staticmethod
    def _notify(exchange: Exchange) -> None:
        try:
            for _ in exchange.items():
                pass
        except ExchangeError:
            return  # nobody waits for an answer

    def _error(self, request_id: RequestId | None, code: int, text: str) -> None:
        error = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}}
        self._write(json.dumps(error).encode())

    def _write(self, item: bytes) -> None:
        # A client that closed its end reads no answer; the end of its other pipe ends us. Where the
        # pipes are sockets (Node's are), what it left unread makes a reset of it.
        with self._writing, suppress(BrokenPipeError, ConnectionResetError):
            self._out.write(item.replace(b"\n", b" ") + b"\n")  # between tokens only: it is JSON
            self._out.flush()

    def _in_background(self, work: Callable[[], None]) -> None:
        def working() -> None:
            try:
                work()
            finally:
                self._room.release()

        self._room.acquire()
        # Not threading.Thread: its start waits until the new thread runs, 60 us of every call.
        _thread.start_new_thread(working, ())
