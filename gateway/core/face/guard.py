"""What a request must pass before any route sees it: Host, Origin, token, body.

Pure ASGI; knows no A2A and no MCP. A wrapper's server is remote code execution, so everything but
the public card and the health check needs the bearer token, and no browser page of another origin
gets through, token or not.
"""

import hmac
import logging
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.core.face.caller import LOCAL, PRINCIPAL

CARD_PATH: Final = "/.well-known/agent-card.json"
HEALTH_PATH: Final = "/healthz"
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})

MAX_BODY: Final = 4 * 1024 * 1024  # bytes; twice the largest message the predecessor took
MAX_DEPTH: Final = 64  # JSON nesting; the SDK's parser runs into the recursion limit at 1000

_JSON_TYPE: Final = re.compile(r"application/(?:[\w.-]+\+)?json\s*(?:;|$)", re.IGNORECASE)
_STRING: Final = re.compile(rb'"(?:[^"\\]+|\\.)*+"?', re.DOTALL)
_ALL_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))

logger = logging.getLogger(__name__)


class _Refusal(Exception):
    """The answer that ends a request here."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text

    def response(self) -> JSONResponse:
        headers = {"Connection": "close"}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        body = {"error": {"code": self.code, "message": self.text}}
        return JSONResponse(body, status_code=self.status, headers=headers)


class Guard:
    """ASGI middleware around a whole server.

    `token` None (loopback only, for conformance suites) leaves every other check in place. `hosts`
    are names beside the loopback's under which clients may address this server.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        hosts: Collection[str] = (),
        max_body: int = MAX_BODY,
        public_paths: Collection[str] = (HEALTH_PATH,),
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in hosts}
        self._max_body = max_body
        self._public = frozenset(public_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing of ours speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        try:
            self._check_address(headers)
            self._check_token(scope, headers)
            body = await self._body(scope, headers, receive)
        except _Refusal as refusal:
            logger.warning(
                "refused %s %s: %s", scope["method"], _printable(scope["path"]), refusal.code
            )
            await refusal.response()(scope, receive, send)
            return
        scope.setdefault("state", {})[PRINCIPAL] = LOCAL
        await self._app(scope, receive if body is None else _replay(body, receive), send)

    def _check_address(self, headers: Headers) -> None:
        """DNS rebinding and foreign web pages: the name asked for and the page asking are ours."""
        if _name(headers.get("host", "")) not in self._hosts:
            raise _Refusal(421, "host_refused", "this server does not answer under that Host name")
        for origin in headers.getlist("origin"):
            split = urlsplit(origin)
            if split.scheme not in ("http", "https") or _name(split.netloc) not in self._hosts:
                raise _Refusal(403, "origin_refused", "requests of this Origin are not served")

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if self._token is None or self._is_public(scope):
            return
        given = headers.getlist("authorization")
        scheme, _, credentials = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        right = hmac.compare_digest(credentials.strip().encode("latin-1"), self._token)
        if scheme.lower() != "bearer" or not right:
            raise _Refusal(
                401, "unauthorized", "send 'Authorization: Bearer <token>' with this server's token"
            )

    def _is_public(self, scope: Scope) -> bool:
        if scope["method"] not in ("GET", "HEAD"):
            return False
        path: str = scope["path"]
        return path in self._public or path.endswith(CARD_PATH)

    async def _body(self, scope: Scope, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body of a request that has one, within the limits. None: nothing was read."""
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_body:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refusal(400, "disconnected", "the request ended early")
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > self._max_body:
                raise self._too_large()
            pieces.append(piece)
            more = message.get("more_body", False)
        body = b"".join(pieces)
        if body and not _JSON_TYPE.match(headers.get("content-type", "")):
            raise _Refusal(415, "content_type", "send JSON with Content-Type: application/json")
        if nested_deeper(body, MAX_DEPTH):
            raise _Refusal(400, "too_deep", f"JSON is nested deeper than {MAX_DEPTH} levels")
        return body

    def _too_large(self) -> _Refusal:
        return _Refusal(413, "too_large", f"a request body has at most {self._max_body} bytes")


def nested_deeper(body: bytes, most: int) -> bool:
    """True when the JSON text opens more than `most` arrays and objects inside each other."""
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    left = _STRING.sub(b"", body).translate(_ALL_SQUARE, _NOT_BRACKETS)
    for _ in range(most):
        peeled = left.replace(b"[]", b"")  # every innermost pair at once
        if len(peeled) == len(left):
            return len(left) > 2 * most  # brackets that never close: not JSON
        left = peeled
    return bool(left)


def _name(host: str) -> str:
    """The name of `name:port`, in lower case; brackets of an IPv6 address stay."""
    host = host.lower()
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]


def _printable(path: str) -> str:
    return ascii(path[:200])


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hands the read body on once, then the connection's own messages (a disconnect)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
