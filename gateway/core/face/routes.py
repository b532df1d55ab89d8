"""One agent's A2A face as Starlette routes: card, JSON-RPC, REST, payloads.

Knows HTTP only; operations are `a2a_server` and `stream`. Unary calls go through the SDK's
dispatchers, streaming ones through ours, which make the checks the SDK would have made.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from a2a.auth.user import UnauthenticatedUser
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.response_helpers import build_error_response
from a2a.server.routes.common import ServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.server.routes.rest_dispatcher import RestDispatcher
from a2a.types import SendMessageRequest, SubscribeToTaskRequest
from a2a.utils.errors import A2AError, InvalidParamsError
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message as ProtobufMessage
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.core import extension, json
from gateway.core.face.a2a_server import CALLER, A2AServer
from gateway.core.face.caller import caller_of
from gateway.core.face.cards import JSONRPC_PATH, REST_PATH, CardPage, Face, card_page
from gateway.core.face.guard import CARD_PATH, HEALTH_PATH
from gateway.core.face.payloads import PayloadRoute
from gateway.core.face.refusals import rest_error
from gateway.core.face.stream import (
    REST_FRAMING,
    EventStream,
    Streams,
    Subscription,
    jsonrpc_framing,
)
from gateway.core.messages import whole_numbers
from gateway.core.tasks import Tasks

__all__ = ["Face", "face_routes", "health_route"]

CARD_CACHE: Final = "public, max-age=60"  # then one conditional GET, answered 304
_STREAMING: Final = (b"SendStreamingMessage", b"SubscribeToTask")
_WHOLE_FLOAT: Final = re.compile(rb"\d\.0[,}\]]")

Endpoint = Callable[[Request], Awaitable[Response]]
P = TypeVar("P", bound=ProtobufMessage)


def health_route(name: str, version: str) -> Route:
    """Readiness, once a server, for anybody."""

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "name": name, "version": version})

    return Route(HEALTH_PATH, health)


def face_routes(tasks: Tasks, face: Face) -> list[BaseRoute]:
    """The routes of one agent under `face.prefix`."""
    server = A2AServer(tasks, face)
    builder = _ContextBuilder()
    rpc = JsonRpc(Streams(server), JsonRpcDispatcher(server, builder)).answer
    base = face.prefix + JSONRPC_PATH
    return [
        Route(face.prefix + CARD_PATH, CardRoute(face).answer),
        # Clients that join paths with a slash must not meet a redirect: it loses their body.
        Route(base, rpc, methods=["POST"]),
        Route(base + "/", rpc, methods=["POST"]),
        *_rest_routes(face.prefix + REST_PATH, server, RestDispatcher(server, builder)),
        Route(face.prefix + "/tasks/{id}/events/{seq:int}/payload", PayloadRoute(server).answer),
    ]


def _rest_routes(base: str, server: A2AServer, sdk: RestDispatcher) -> list[BaseRoute]:
    """The HTTP+JSON binding. The SDK's own list ends in a mount for tenants that shadows whatever
    stands behind it and expects the tenant before the base path; ours has no tenants."""
    ours = Rest(Streams(server))
    table: list[tuple[str, str, Endpoint]] = [
        ("POST", "/message:send", _tidied(sdk.on_message_send)),
        ("POST", "/message:stream", ours.send),
        ("POST", "/tasks/{id}:cancel", _tidied(sdk.on_cancel_task)),
        ("GET", "/tasks/{id}:subscribe", ours.subscribe),
        ("POST", "/tasks/{id}:subscribe", ours.subscribe),
        ("GET", "/tasks/{id}", _tidied(sdk.on_get_task)),
        ("GET", "/tasks", _tidied(sdk.list_tasks)),
        ("GET", "/tasks/{id}/pushNotificationConfigs/{push_id}", sdk.get_push_notification),
        ("DELETE", "/tasks/{id}/pushNotificationConfigs/{push_id}", sdk.delete_push_notification),
        ("POST", "/tasks/{id}/pushNotificationConfigs", sdk.set_push_notification),
        ("GET", "/tasks/{id}/pushNotificationConfigs", sdk.list_push_notifications),
        ("GET", "/extendedAgentCard", _tidied(sdk.handle_authenticated_agent_card)),
    ]
    return [Route(base + path, endpoint, methods=[method]) for method, path, endpoint in table]


class _ContextBuilder(ServerCallContextBuilder):
    """Hands our own view of a request through the SDK's dispatchers."""

    def build(self, request: Request) -> ServerCallContext:
        caller = caller_of(request)
        return ServerCallContext(
            user=UnauthenticatedUser(),
            state={CALLER: caller, "headers": dict(request.headers)},
            requested_extensions=set(caller.extensions),
        )


def _tidied(endpoint: Callable[[Request], Awaitable[Any]]) -> Endpoint:
    """What the SDK prints from protobuf, with whole numbers whole and our extension confirmed."""

    async def tidied(request: Request) -> Response:
        response: Response = await endpoint(request)
        if _WHOLE_FLOAT.search(response.body):
            response.body = json.encode(whole_numbers(json.decode(bytes(response.body)))).encode()
            response.headers["Content-Length"] = str(len(response.body))
        if caller_of(request).extended:
            response.headers[extension.EXTENSIONS_HEADER] = extension.URI
        return response

    return tidied


class CardRoute:
    """The public card; its bytes are made once per card."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._card = face.card
        self._page = card_page(face.card)

    async def answer(self, request: Request) -> Response:
        page = self._current()
        headers = {"ETag": page.etag, "Cache-Control": CARD_CACHE}
        asked = [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]
        if "*" in asked or page.etag in [tag.removeprefix("W/") for tag in asked]:
            return Response(status_code=304, headers=headers)
        return Response(page.body, media_type="application/json", headers=headers)

    def _current(self) -> CardPage:
        if self._face.card is not self._card:
            self._card = self._face.card
            self._page = card_page(self._card)
        return self._page


class JsonRpc:
    """The JSON-RPC endpoint: looks at the method; streaming is ours, the rest the SDK's."""

    def __init__(self, streams: Streams, dispatcher: JsonRpcDispatcher) -> None:
        self._streams = streams
        self._unary = _tidied(dispatcher.handle_requests)

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        call = _streaming_call(body) if any(name in body for name in _STREAMING) else None
        if call is None:
            return await self._unary(request)
        try:
            granted = await self._granted(request, call)
        except A2AError as exc:
            return JSONResponse(build_error_response(call.id, exc))
        return EventStream(granted, self._streams.batches(granted), jsonrpc_framing(call.id))

    async def _granted(self, request: Request, call: "_Call") -> Subscription:
        caller = caller_of(request)
        if call.method == "SubscribeToTask":
            return await self._streams.subscribe(
                caller, _parsed(call.params, SubscribeToTaskRequest()).id
            )
        return await self._streams.send(caller, _parsed(call.params, SendMessageRequest()))


@dataclass(frozen=True, slots=True)
class _Call:
    id: str | int | None
    method: str
    params: object


def _streaming_call(body: bytes) -> _Call | None:
    """The streaming call in a body; None for everything else, the malformed included: the SDK's
    dispatcher answers those."""
    try:
        call = json.decode_object(body)
    except ValueError:
        return None
    request_id = call.get("id")
    well_formed = (
        call.get("jsonrpc") == "2.0"
        and (request_id is None or isinstance(request_id, str | int))
        and not isinstance(request_id, bool)
    )
    method = call.get("method")
    if not well_formed or not isinstance(method, str) or method.encode() not in _STREAMING:
        return None
    return _Call(request_id, method, call.get("params") or {})


class Rest:
    """The streaming calls of the HTTP+JSON binding."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def send(self, request: Request) -> Response:
        body = await request.body()

        async def granted() -> Subscription:
            try:
                params = json.decode(body)
            except ValueError as exc:
                raise InvalidParamsError("the body is not JSON") from exc
            return await self._streams.send(
                caller_of(request), _parsed(params, SendMessageRequest())
            )

        return await self._stream(granted())

    async def subscribe(self, request: Request) -> Response:
        return await self._stream(
            self._streams.subscribe(caller_of(request), request.path_params["id"])
        )

    async def _stream(self, granting: Awaitable[Subscription]) -> Response:
        try:
            granted = await granting
        except A2AError as exc:
            return rest_error(exc)
        return EventStream(granted, self._streams.batches(granted), REST_FRAMING)


def _parsed(params: object, message: P) -> P:
    """`params` as a protobuf message; unknown fields are ignored. Raises: InvalidParamsError."""
    if not isinstance(params, dict):
        raise InvalidParamsError("params must be an object")
    try:
        return ParseDict(
            json.as_object(cast("object", params)), message, ignore_unknown_fields=True
        )
    except ParseError as exc:
        raise InvalidParamsError(
            "params do not fit the method", {"code": "invalid_input", "parseError": str(exc)}
        ) from exc
