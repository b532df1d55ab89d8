"""The JSON-RPC binding: one POST route, methods by name.

Knows envelopes, not operations: those take parameters and give JSON text, which goes into the
answer as it is. A method of A2A 0.3 is the operation of 1.0 with parameters and result translated.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from a2a.utils.errors import (
    A2AError,
    InvalidRequestError,
    JSONParseError,
    MethodNotFoundError,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.core import json
from gateway.core.face.answer import JsonText
from gateway.core.face.caller import BODY, Caller, caller_of
from gateway.core.face.operations import Operations
from gateway.core.face.pacing import turn
from gateway.core.face.refusals import jsonrpc_error, translated
from gateway.core.face.stream import EventStream, Streams, Subscription, jsonrpc_framing
from gateway.core.face.v03 import METHODS, Old
from gateway.core.json import JsonObject

Id: TypeAlias = str | int | float | None
Unary: TypeAlias = Callable[[Caller, object], Awaitable[list[bytes]]]
Streaming: TypeAlias = Callable[[Caller, object], Awaitable[Subscription]]

# Codes that 0.3 has; what came later is an internal error to its clients.
_OLD_CODES: Final = frozenset({*range(-32007, -32000), *range(-32603, -32599), -32700})


class JsonRpc:
    """The endpoint of one agent, an ASGI app."""

    def __init__(self, operations: Operations, streams: Streams) -> None:
        self._streams = streams
        self._unary: Mapping[str, Unary] = {
            "SendMessage": operations.send_message,
            "GetTask": operations.get_task,
            "ListTasks": operations.list_tasks,
            "CancelTask": operations.cancel_task,
            "GetExtendedAgentCard": operations.extended_card,
            "CreateTaskPushNotificationConfig": operations.create_push,
            "GetTaskPushNotificationConfig": operations.get_push,
            "ListTaskPushNotificationConfigs": operations.list_push,
            "DeleteTaskPushNotificationConfig": operations.delete_push,
        }
        self._streaming: Mapping[str, Streaming] = {
            "SendStreamingMessage": streams.send,
            "SubscribeToTask": streams.subscribe,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state: Mapping[str, Any] = scope.get("state") or {}
        body: bytes | None = state.get(BODY)
        if body is None:  # no Guard before us
            body = await Request(scope, receive).body()
        await turn(len(body))
        response = await self.answer(body, caller_of(scope, receive))
        await response(scope, receive, send)

    async def answer(self, body: bytes, caller: Caller) -> Response:
        request_id: Id = None
        try:
            envelope = _decoded(body)
            await turn(len(body))
            request_id = _id_of(envelope)
            call = _call_of(envelope, request_id)
            if call.method in METHODS and caller.old:
                return await self._answer_old(call, caller)
            return await self._answer(call, caller)
        except A2AError as exc:
            return JsonText([json.dump(jsonrpc_error(request_id, exc))], caller=caller)

    async def _answer(self, call: "_Call", caller: Caller) -> Response:
        if (operation := self._unary.get(call.method)) is not None:
            with translated(call.method):
                result = await operation(caller, call.params)
            return JsonText([_head(call.id), *result, b"}"], caller=caller)
        if (streaming := self._streaming.get(call.method)) is not None:
            granted = await streaming(caller, call.params)
            return EventStream(self._streams, granted, jsonrpc_framing(call.id))
        raise MethodNotFoundError(f"no method {call.method[:64]!r}")

    async def _answer_old(self, call: "_Call", caller: Caller) -> Response:
        """A method of 0.3. Its errors have the codes of 0.3, and their facts as they are."""
        meaning = METHODS[call.method]
        old = Old(proto=False, extended=caller.extended)
        caller = caller.as_current()
        try:
            params = meaning.params(old, call.params)
            if meaning.result is None:
                granted = await self._streaming[meaning.method](caller, params)
                framing = jsonrpc_framing(call.id, old.item)
                return EventStream(self._streams, granted, framing)
            with translated(call.method):
                result = await self._unary[meaning.method](caller, params)
                shown = json.dump(meaning.result(old, json.decode_object(b"".join(result))))
        except A2AError as exc:
            answer = jsonrpc_error(call.id, exc)
            code = answer["error"]["code"]
            answer["error"]["code"] = code if code in _OLD_CODES else -32603
            return JsonText([json.dump(answer)], caller=caller)
        return JsonText([_head(call.id), shown, b"}"], caller=caller)


def _head(request_id: Id) -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"result":' % json.dump(request_id)


@dataclass(frozen=True, slots=True)
class _Call:
    id: Id
    method: str
    params: object


def _decoded(body: bytes) -> JsonObject:
    try:
        envelope = json.decode(body)
    except ValueError as exc:
        raise JSONParseError("the body is not JSON") from exc
    if isinstance(envelope, list):
        raise InvalidRequestError("batch requests are not supported; send one call a request")
    if not isinstance(envelope, dict):
        raise InvalidRequestError("a call is a JSON object")
    return cast("JsonObject", envelope)


def _id_of(envelope: JsonObject) -> Id:
    """The call's id; absent is null. A2A has no notifications: every call is answered."""
    request_id: Any = envelope.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | float | None):
        raise InvalidRequestError("id must be a string, a number or null")
    return request_id


def _call_of(envelope: JsonObject, request_id: Id) -> _Call:
    if envelope.get("jsonrpc") != "2.0":
        raise InvalidRequestError("jsonrpc must be exactly '2.0'")
    method = envelope.get("method")
    if not isinstance(method, str) or not method:
        raise InvalidRequestError("method must be a string")
    params: object = envelope.get("params")
    return _Call(request_id, method, {} if params is None else params)
