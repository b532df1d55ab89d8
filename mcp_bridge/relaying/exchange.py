"""One message's HTTP exchange with the gateway's /mcp: headers of both eras, retries, its stream.

Standard library only; knows no client. Only what cannot have reached the gateway is sent again.
"""

import base64
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final, cast

from mcp_bridge.relaying.connections import Connections
from mcp_bridge.relaying.endpoint import Address, Gateway, GatewayGoneError
from mcp_bridge.within import PARENT_HEADER, Within, nowhere

PATH: Final = "/mcp"
VERSION_META: Final = "io.modelcontextprotocol/protocolVersion"
# Clients wait 30 s for a server to introduce itself, and when they give up they know no reason.
HELLO_S: Final = 25.0
HELLOS: Final = frozenset({"initialize", "server/discover"})
SILENCE_S: Final = 120.0  # the longest tool answers within 30 s; streams carry pings every 15 s
_WRAPPED: Final = "=?base64?"
WENT_AWAY: Final = "the gateway went away during this call; runs go on: list_runs shows them"


class ExchangeError(Exception):
    """The message has no answer; the text is for the client."""


def as_object(value: object) -> dict[str, Any]:
    """A JSON object, from its text too; anything else is an empty one."""
    if isinstance(value, bytes):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


class Handshake:
    """What `initialize` settled; the 2026 era has none and says it with each request."""

    def __init__(self, within: Within = nowhere) -> None:
        self.session: str | None = None
        self.version: str | None = None
        self._within = within

    def headers(self, message: Mapping[str, Any]) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        params = as_object(message.get("params"))
        if (run_id := self._within(params)) is not None:
            headers[PARENT_HEADER] = run_id
        version = as_object(params.get("_meta")).get(VERSION_META)
        if isinstance(version, str):
            headers |= {"MCP-Protocol-Version": version, "Mcp-Method": message["method"]}
            if isinstance(name := params.get("name") or params.get("uri"), str):
                headers["Mcp-Name"] = name
            return headers
        if self.session is not None:
            headers["Mcp-Session-Id"] = self.session
        if self.version is not None:
            headers["MCP-Protocol-Version"] = self.version
        return headers


class Exchange:
    """Sends one message and reads what comes back; `cancel` ends it from another thread."""

    def __init__(
        self,
        gateway: Gateway,
        body: bytes,
        headers: Mapping[str, str],
        query: str = "",
        *,
        silence_s: float = SILENCE_S,
        connections: Connections | None = None,
    ) -> None:
        """`silence_s`: seconds without a byte after which the gateway is taken for stuck.
        `connections`: where this one's is kept for the next; without, it is closed."""
        self._gateway = gateway
        self._silence_s = silence_s
        self._connections = connections
        self._address: Address | None = None
        self._target = f"{PATH}?{query}" if query else PATH
        self._body = body
        self._headers = headers
        self._lock = threading.Lock()
        self._wire: socket.socket | None = None
        self._connection: HTTPConnection | None = None
        self._response: HTTPResponse | None = None
        self.cancelled = False
        self.session: str | None = None  # the session id the gateway gave, if any

    def items(self) -> Iterator[bytes]:
        """The messages of the answer as they come, each a JSON text. Raises: ExchangeError."""
        try:
            response = self._answer()
            self.session = response.getheader("mcp-session-id")
            if (response.getheader("content-type") or "").startswith("text/event-stream"):
                yield from _events(response)
                return
            body = response.read().strip()
            self._keep(response)
            if body:
                yield _message(response, body)
        except GatewayGoneError as exc:
            raise ExchangeError(str(exc)) from exc
        except TimeoutError as exc:
            raise ExchangeError(self._silent()) from exc
        except (OSError, HTTPException) as exc:
            raise ExchangeError(WENT_AWAY) from exc
        finally:
            self.close()

    def cancel(self) -> None:
        """End the exchange: the gateway sees the connection close and stops waiting."""
        with self._lock:
            self.cancelled = True
            if self._wire is not None:
                with suppress(OSError):  # gone already
                    self._wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            if self._response is not None:
                self._response.close()  # it has a hold on the socket too
            if self._connection is not None:
                self._connection.close()
            self._response = self._connection = self._wire = None

    def _keep(self, response: HTTPResponse) -> None:
        """Leave the connection to the next exchange: this answer has been read."""
        with self._lock:
            if self._connections is None or self._connection is None or self._address is None:
                return
            if not (self.cancelled or response.will_close):
                self._connections.keep(self._address, self._connection)
                self._connection = self._wire = None

    def _answer(self) -> HTTPResponse:
        address = self._connect()
        response = self._send(address)
        if response.status == 401:  # another gateway in this home may have another token
            self.close()
            self._gateway.lost(address)
            response = self._send(self._connect())
        return response

    def _silent(self) -> str:
        """What is said of a gateway that takes messages and answers none; it is looked for anew."""
        if self._address is None:
            return WENT_AWAY
        self._gateway.lost(self._address)
        return (
            f"the gateway at {self._address.url} is there and does not answer; see its log, or end "
            "it: a2a-gateway stop"
        )

    def _connect(self) -> Address:
        """Connect, after a new look when nothing listens where the gateway was."""
        for again in (True, False):
            address = self._gateway.address()
            kept = None if self._connections is None else self._connections.take(address)
            if kept is not None:
                self._address = address
                self._hold(kept)
                return address
            if again and not self._gateway.stands(address):
                self._gateway.lost(address)
                continue
            connection = address.connection()
            try:
                connection.connect()
            except OSError as exc:
                self._gateway.lost(address)
                if not again:
                    raise GatewayGoneError(_unreached(address, exc)) from exc
                continue
            self._address = address
            self._hold(connection)
            return address
        raise AssertionError("unreachable")

    def _hold(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._connection = connection
            self._wire = cast("socket.socket", connection.sock)
            self._wire.settimeout(self._silence_s)
            if self.cancelled:
                raise ConnectionAbortedError

    def _send(self, address: Address) -> HTTPResponse:
        connection = cast("HTTPConnection", self._connection)
        wire = cast("socket.socket", connection.sock)
        # A message that is too large is refused while it is still being sent; why can be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            wire.sendall(self._request(address, connection))
        self._response = response = HTTPResponse(wire, method="POST")
        response.begin()
        return response

    def _request(self, address: Address, connection: HTTPConnection) -> bytes:
        """Head and body in one piece: `HTTPConnection` sends two, and the gateway would be woken
        for each."""
        name = f"[{connection.host}]" if ":" in connection.host else connection.host
        head = [
            f"POST {address.path(self._target)} HTTP/1.1",
            f"Host: {name}:{connection.port}",
            f"Content-Length: {len(self._body)}",
            *(f"{field}: {_field(value)}" for field, value in self._headers.items()),
        ]
        if address.token is not None:
            head.append(f"Authorization: {_field(f'Bearer {address.token}')}")
        return "\r\n".join([*head, "\r\n"]).encode("latin-1") + self._body


def _unreached(address: Address, error: OSError) -> str:
    """A name or a certificate that is wrong is not mended by starting a gateway."""
    why = "" if isinstance(error, ConnectionRefusedError) else f" ({error.strerror or error})"
    return f"no gateway answers at {address.url}{why}"


def _field(value: object) -> str:
    """A header value; what a header cannot carry is wrapped as the specification says."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and text == text.strip()
    if plain and not text.startswith(_WRAPPED):
        return text
    return f"{_WRAPPED}{base64.b64encode(text.encode()).decode()}?="


def _events(response: HTTPResponse) -> Iterator[bytes]:
    """The data of each server-sent event."""
    data: list[bytes] = []
    for raw in response:
        line = raw.rstrip(b"\r\n")
        if line.startswith(b"data:"):
            data.append(line[5:].strip())
        elif not line and data:
            if item := b"\n".join(data).strip():
                yield item
            data = []


def _message(response: HTTPResponse, body: bytes) -> bytes:
    """The message of a body; what is none was refused before MCP saw it. Raises: ExchangeError."""
    answer = as_object(body)
    if "jsonrpc" in answer:
        return body
    said = as_object(answer.get("error")).get("message") or response.reason
    raise ExchangeError(f"the gateway refused this (HTTP {response.status}): {said}")
