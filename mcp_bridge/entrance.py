"""The way in to /mcp over HTTP: a request whose options nobody knows is refused before MCP sees it.

Pure ASGI; knows no tool. A client asks for its options with every request, so a mistake in them
is the answer to its very first one.
"""

from typing import Final

from mcp.types import INVALID_PARAMS
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_bridge.errors import RefusedError, text_of
from mcp_bridge.options import Options, read_options

BAD_REQUEST: Final = 400


class Entrance:
    """ASGI middleware around the MCP side."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            options_of(scope)
        except RefusedError as exc:
            # Clients and the relay show the message of a JSON-RPC error, whatever its status.
            error = {"code": INVALID_PARAMS, "message": text_of(exc)}
            body = {"jsonrpc": "2.0", "id": None, "error": error}
            await JSONResponse(body, status_code=BAD_REQUEST)(scope, receive, send)
            return
        # Spaces around a value are no part of it (RFC 9110 section 5.5), but the parser of HTTP
        # leaves them, and MCP compares Mcp-Name and others with the body.
        headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        await self._app({**scope, "headers": headers}, receive, send)


def options_of(scope: Scope) -> Options:
    """What the request asks for. Raises: RefusedError."""
    return read_options(scope["query_string"].decode("latin-1"))
