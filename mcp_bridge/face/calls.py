"""Tool calls over HTTP, in both eras: one request, one answer.

Knows MCP's wire and no tool; the SDK's kernel validates, runs and shapes each call. Its transports
would do it all, and do whatever is no regular call; but the one of the handshake's era makes a
session for each, with six tasks and four queues: 1,000 us of CPU where this takes 300. That of the
2026 era takes 450.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

import anyio
import pydantic_core
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import modern_error_data, serve_one
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    InboundLadderRejection,
    classify_inbound_request,
    find_duplicated_routing_header,
)
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp.types import ProgressToken, RequestId
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.core import json
from gateway.core.face.caller import BODY
from gateway.core.json import JsonObject

METHOD: Final = "tools/call"
OK: Final = 200
PING_S: Final = 15.0  # of silence, until a comment says that the stream lives; as in the SDK
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
_PING: Final = b": ping\r\n\r\n"
_MEMBERS: Final = frozenset({"jsonrpc", "id", "method", "params"})
_VERSION_HEADER: Final = "mcp-protocol-version"
_TRANSPORT: Final = TransportContext(kind="streamable-http", can_send_request=False)
_JSON: Final = [(b"content-type", b"application/json")]
_EVENTS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]

_Server: TypeAlias = Server[Any]


class Calls:
    """ASGI middleware between the entrance and the SDK's transports, `app`."""

    def __init__(self, app: ASGIApp, server: _Server) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = _call_in(scope.get("state", {}).get(BODY))
        request = Request(scope, receive)
        connection = None if message is None else _connection(request, message)
        if message is None or connection is None:
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        exchange = _Exchange(
            request_id=message["id"],
            message_metadata=ServerMessageMetadata(request_context=request),
            progress_token=progress_token_from_params(message.get("params")),
            answer=answer,
        )
        said: JsonObject | None = None
        async with anyio.create_task_group() as group:
            # A client that goes takes its call with it: nobody is left to read what comes of it.
            group.start_soon(_beside, receive, answer, group.cancel_scope)
            said = await self._run(exchange, connection, message.get("params"))
            group.cancel_scope.cancel()
        if said is not None:
            modern = connection.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS
            status = ERROR_CODE_HTTP_STATUS.get(_code(said), OK) if modern else OK
            await answer.end({"jsonrpc": "2.0", "id": message["id"], **said}, status)

    async def _run(
        self, exchange: "_Exchange", connection: Connection, params: JsonObject | None
    ) -> JsonObject:
        """`result` or `error` of the answer."""
        try:
            result = await serve_one(
                self._server, exchange, METHOD, params, connection=connection, lifespan_state={}
            )
        except Exception as exc:  # noqa: BLE001 - the root of a request; logged by what names it
            error = modern_error_data(exc)
            return {"error": error.model_dump(mode="json", by_alias=True, exclude_none=True)}
        return {"result": result}


def _connection(request: Request, message: JsonObject) -> Connection | None:
    """Who calls, by the headers of the handshake's era or the envelope of 2026; None: it has to be
    said what is wrong with them."""
    versions = request.headers.getlist(_VERSION_HEADER)
    if len(versions) != 1:
        return None
    if versions[0] in HANDSHAKE_PROTOCOL_VERSIONS:
        return Connection.from_envelope(versions[0], None, None)
    if find_duplicated_routing_header(request.headers.items()) is not None:
        return None
    route = classify_inbound_request(message, headers=dict(request.headers))
    if isinstance(route, InboundLadderRejection):
        return None
    about = route.client_info, route.client_capabilities
    return Connection.from_envelope(route.protocol_version, *about)


def _code(said: JsonObject) -> int:
    return json.as_object(said.get("error")).get("code", 0)


def _call_in(body: bytes | None) -> JsonObject | None:
    """The call of a tool that a body is; None: nothing of the kind, or nothing regular."""
    if body is None or b'"tools/call"' not in body:
        return None
    try:
        # The SDK's reader: the same numbers and texts as by its own transport.
        call = json.as_object(pydantic_core.from_json(body))
    except ValueError:
        return None
    request_id, params = call.get("id"), call.get("params", {})
    regular = (
        call.keys() <= _MEMBERS
        and call.get("method") == METHOD
        and call.get("jsonrpc") == "2.0"
        and _sayable(request_id)
        and isinstance(params, dict)
        and _sayable(progress_token_from_params(cast("JsonObject", params)) or 0)
    )
    return call if regular else None


def _sayable(name: object) -> bool:
    """Whether it is a request's id or token that our JSON can say again."""
    if isinstance(name, int) and not isinstance(name, bool):
        return INT_MIN <= name <= INT_MAX
    return isinstance(name, str)


async def _beside(receive: Receive, answer: "_Answer", scope: anyio.CancelScope) -> None:
    """End the call when the client goes; while it waits, say now and then that all is well."""
    while True:
        with anyio.move_on_after(PING_S):
            while (await receive())["type"] != "http.disconnect":
                """The body, which has been read before."""
            scope.cancel()
            return
        await answer.ping()


class _Answer:
    """One JSON body; a stream of events as soon as there is something to say before the end."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = anyio.Lock()
        self._streams = False

    async def notify(self, message: JsonObject) -> None:
        await self._event(_framed(message))

    async def ping(self) -> None:
        await self._event(_PING)

    async def _event(self, event: bytes) -> None:
        async with self._lock:
            if not self._streams:
                await self._start(_EVENTS)
                self._streams = True  # not before: a ping is cancelled while the wire is full
            await self._send({"type": "http.response.body", "body": event, "more_body": True})

    async def end(self, message: JsonObject, status: int) -> None:
        """`status` is that of an answer without a stream; a stream has begun with 200."""
        body = _framed(message) if self._streams else json.encode(message).encode()
        if not self._streams:
            await self._start([*_JSON, (b"content-length", b"%d" % len(body))], status)
        await self._send({"type": "http.response.body", "body": body})

    async def _start(self, headers: list[tuple[bytes, bytes]], status: int = OK) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


def _framed(message: JsonObject) -> bytes:
    return f"event: message\r\ndata: {json.encode(message)}\r\n\r\n".encode()


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """The kernel's view of one request (its DispatchContext): a way to tell the client of progress,
    none to ask it anything."""

    request_id: RequestId
    message_metadata: ServerMessageMetadata
    progress_token: ProgressToken | None
    answer: _Answer
    transport: TransportContext = _TRANSPORT
    can_send_request: bool = False
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> JsonObject:
        del params, opts
        raise NoBackChannelError(method)

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        del opts
        said = {} if params is None else {"params": dict(params)}
        await self.answer.notify({"jsonrpc": "2.0", "method": method, **said})

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        if self.progress_token is None:
            return
        said = {"progress": progress, "total": total, "message": message}
        params = {"progressToken": self.progress_token, **json.merge_null(said)}
        await self.notify("notifications/progress", params)
