"""The way in to /mcp over HTTP: what is no request for it is refused in a line, before MCP sees it.

Pure ASGI; knows no tool. Host, Origin, token and size have been looked at before (the Guard).
"""

from collections.abc import Mapping
from typing import Final

from mcp.types import INVALID_PARAMS, INVALID_REQUEST
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.core.face.caller import BODY
from mcp_bridge.errors import RefusedError, text_of
from mcp_bridge.face import envelope
from mcp_bridge.face.envelope import EnvelopeError
from mcp_bridge.face.options import Options, read_options

BAD_REQUEST: Final = 400
METHOD_NOT_ALLOWED: Final = 405
NOT_ACCEPTABLE: Final = 406

_JSON: Final = frozenset({"application/json", "application/*", "*/*"})
_EVENTS: Final = frozenset({"text/event-stream", "text/*", "*/*"})


class Entrance:
    """ASGI middleware around the MCP side.

    POST alone: a stream that is only listened to (GET, in the handshake era) would never say
    anything, and the end of the process would have to wait for it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Spaces around a value are no part of it (RFC 9110 section 5.5), but the parser of HTTP
        # leaves them, and MCP compares Mcp-Name and others with the body.
        headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        scope = {**scope, "headers": headers}
        refusal = _refusal(scope)
        await (refusal or self._app)(scope, receive, send)


def options_of(scope: Scope) -> Options:
    """What the request asks for. Raises: RefusedError."""
    return read_options(scope["query_string"].decode("latin-1"))


def _refusal(scope: Scope) -> JSONResponse | None:
    if scope["method"] != "POST":
        text = "/mcp takes POST alone; nothing is sent unasked, poll_events waits for news"
        return _error(METHOD_NOT_ALLOWED, INVALID_REQUEST, text, headers={"Allow": "POST"})
    if not _accepts(scope):
        text = "send Accept: application/json, text/event-stream"
        return _error(NOT_ACCEPTABLE, INVALID_REQUEST, text)
    try:
        options_of(scope)
        if (body := scope.get("state", {}).get(BODY)) is not None:
            envelope.check(body)
    except RefusedError as exc:
        # With every request, so a mistake in the options is the answer to a client's first one.
        return _error(BAD_REQUEST, INVALID_PARAMS, text_of(exc))
    except EnvelopeError as exc:
        return _error(BAD_REQUEST, exc.code, str(exc), exc.request_id)
    return None


def _accepts(scope: Scope) -> bool:
    """Whether the client takes both forms of an answer, as the specification has it."""
    given = b",".join(value for name, value in scope["headers"] if name == b"accept")
    types = {kind.partition(";")[0].strip().lower() for kind in given.decode("latin-1").split(",")}
    return bool(types & _JSON and types & _EVENTS)


def _error(
    status: int,
    code: int,
    text: str,
    request_id: int | str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Clients and the relay show the message of a JSON-RPC error, whatever its status."""
    body = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}}
    return JSONResponse(body, status_code=status, headers=headers)
