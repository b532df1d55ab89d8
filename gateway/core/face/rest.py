"""The HTTP+JSON binding: a table of routes.

Knows paths, queries and status codes; operations take the same parameters as by JSON-RPC.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from a2a.utils.errors import A2AError, InvalidRequestError, VersionNotSupportedError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.core import json
from gateway.core.face.answer import A2A_JSON, JsonText
from gateway.core.face.caller import Caller, caller_of
from gateway.core.face.operations import Operations
from gateway.core.face.refusals import rest_error, translated
from gateway.core.face.stream import EventStream, Streams, Subscription, rest_framing
from gateway.core.face.v03 import Old
from gateway.core.json import JsonObject

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Unary: TypeAlias = Callable[[Caller, object], Awaitable[list[bytes]]]
Streaming: TypeAlias = Callable[[Caller, object], Awaitable[Subscription]]
OldParams: TypeAlias = Callable[[Old, object], object]
OldResult: TypeAlias = Callable[[Old, JsonObject], object]


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
    return routes_of(base, table)


def old_rest_routes(base: str, operations: Operations, streams: Streams) -> list[BaseRoute]:
    """The binding of A2A 0.3 under `base`, which has no list of tasks."""
    prefix, configs = base + "/v1", "/tasks/{taskId}/pushNotificationConfigs"
    task, target = Old.task_params, Old.push_target
    sent = _old(operations.send_message, Old.send_params, Old.sent)
    table: list[tuple[str, str, Endpoint]] = [
        ("POST", "/message:send", sent),
        ("POST", "/message:stream", _streaming(streams, streams.send, Old.send_params)),
        ("POST", "/tasks/{id}:cancel", _old(operations.cancel_task, task, Old.task)),
        ("GET", "/tasks/{id}:subscribe", _streaming(streams, streams.subscribe, task)),
        ("POST", "/tasks/{id}:subscribe", _streaming(streams, streams.subscribe, task)),
        ("GET", "/tasks/{id}", _old(operations.get_task, task, Old.task)),
        ("GET", configs + "/{id}", _old(operations.get_push, target, Old.push)),
        ("DELETE", configs + "/{id}", _old(operations.delete_push, target, Old.nothing)),
        ("POST", configs, _old(operations.create_push, Old.push_params, Old.push)),
        ("GET", configs, _old(operations.list_push, target, Old.pushes)),
        ("GET", "/card", _old(operations.extended_card, task, Old.card)),
    ]
    return routes_of(prefix, table)


def routes_of(prefix: str, table: Sequence[tuple[str, str, Endpoint]]) -> list[BaseRoute]:
    return [
        Route(prefix + path + slash, endpoint, methods=[method])
        for method, path, endpoint in table
        for slash in ("", "/")  # a redirect would lose a request's body
    ]


def _unary(operation: Unary, *, old: bool = False) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        caller = caller_of(request.scope, request.receive)
        try:
            with translated(f"{request.method} {request.url.path}"):
                result = await operation(caller, await _params(request))
        except A2AError as exc:
            return rest_error(exc, old=old)
        return JsonText(result, caller=caller, media_type=A2A_JSON)

    return endpoint


def _old(operation: Unary, read: OldParams, shown: OldResult) -> Endpoint:
    """An operation for callers of 0.3, parameters and result translated."""

    async def translating(caller: Caller, params: object) -> list[bytes]:
        old = Old(proto=True)
        result = await operation(_speaking_old(caller), read(old, params))
        return [json.dump(shown(old, json.decode_object(b"".join(result))))]

    return _unary(translating, old=True)


def _streaming(
    streams: Streams, operation: Streaming, read_old: OldParams | None = None
) -> Endpoint:
    """`read_old`: for callers of 0.3."""

    async def endpoint(request: Request) -> Response:
        caller = caller_of(request.scope, request.receive)
        framing = rest_framing()
        try:
            with translated(f"{request.method} {request.url.path}"):
                params = await _params(request)
                if read_old is not None:
                    old = Old(proto=True, extended=caller.extended)
                    caller, params = _speaking_old(caller), read_old(old, params)
                    framing = rest_framing(old.item)
                granted = await operation(caller, params)
        except A2AError as exc:
            return rest_error(exc, old=read_old is not None)
        return EventStream(streams, granted, framing)

    return endpoint


def _speaking_old(caller: Caller) -> Caller:
    if not caller.old:
        raise VersionNotSupportedError(
            "paths under /v1 are A2A 0.3's; leave out 'A2A-Version', or 'v1' from the path"
        )
    return caller.as_current()


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
