"""The HTTP+JSON binding: a table of routes.

Knows paths, queries and status codes; operations take the same parameters as by JSON-RPC.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from a2a.utils.errors import A2AError, InvalidRequestError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.core import json
from gateway.core.face.answer import A2A_JSON, JsonText
from gateway.core.face.caller import Caller, caller_of
from gateway.core.face.operations import Operations
from gateway.core.face.refusals import rest_error, translated
from gateway.core.face.stream import EventStream, Streams, Subscription, rest_framing
from gateway.core.json import JsonObject

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Unary: TypeAlias = Callable[[Caller, object], Awaitable[str]]
Streaming: TypeAlias = Callable[[Caller, object], Awaitable[Subscription]]


def rest_routes(base: str, operations: Operations, streams: Streams) -> list[BaseRoute]:
    """The binding under `base`. The SDK's own list ends in a mount for tenants that shadows
    whatever stands behind it and expects the tenant before the base path; ours has none."""
    configs = "/tasks/{taskId}/pushNotificationConfigs"
    table: list[tuple[str, str, Endpoint]] = [
        ("POST", "/message:send", _unary(operations.send_message)),
        ("POST", "/message:stream", _streaming(streams, streams.send)),
        ("POST", "/tasks/{id}:cancel", _unary(operations.cancel_task)),
        ("GET", "/tasks/{id}:subscribe", _streaming(streams, streams.subscribe)),
        ("POST", "/tasks/{id}:subscribe", _streaming(streams, streams.subscribe)),
        ("GET", "/tasks/{id}", _unary(operations.get_task)),
        ("GET", "/tasks", _unary(operations.list_tasks)),
        ("GET", configs + "/{id}", _unary(operations.get_push)),
        ("DELETE", configs + "/{id}", _unary(operations.delete_push)),
        ("POST", configs, _unary(operations.create_push)),
        ("GET", configs, _unary(operations.list_push)),
        ("GET", "/extendedAgentCard", _unary(operations.extended_card)),
    ]
    return [
        Route(base + path + slash, endpoint, methods=[method])
        for method, path, endpoint in table
        for slash in ("", "/")  # a redirect would lose a request's body
    ]


def _unary(operation: Unary) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        caller = caller_of(request.scope, request.receive)
        try:
            with translated(f"{request.method} {request.url.path}"):
                result = await operation(caller, await _params(request))
        except A2AError as exc:
            return rest_error(exc)
        return JsonText(result, caller=caller, media_type=A2A_JSON)

    return endpoint


def _streaming(streams: Streams, operation: Streaming) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            with translated(f"{request.method} {request.url.path}"):
                params = await _params(request)
                granted = await operation(caller_of(request.scope, request.receive), params)
        except A2AError as exc:
            return rest_error(exc)
        return EventStream(streams, granted, rest_framing())

    return endpoint


async def _params(request: Request) -> object:
    """An operation's parameters: of the body or the query, and of the path, which wins."""
    given: JsonObject = {}
    if request.method == "POST":
        if body := await request.body():
            given = _object(body)
    else:
        given = {name: _value(name, text) for name, text in request.query_params.items()}
    return given | request.path_params


def _object(body: bytes) -> JsonObject:
    try:
        return json.decode_object(body)
    except ValueError as exc:
        raise InvalidRequestError("the body must be a JSON object") from exc


def _value(name: str, text: str) -> Any:
    """A query parameter; flags are the one type that has no string form in ProtoJSON."""
    return text.lower() == "true" if name == "includeArtifacts" else text
