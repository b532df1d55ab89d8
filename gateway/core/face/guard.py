"""What a request must pass before any route sees it: Host, Origin, token, body.

Pure ASGI; knows no MCP, and of A2A how it says one refusal. A wrapper's server is remote code
execution, so everything but the public card and the health check needs the bearer token, and no
browser page of another origin gets through, token or not.
"""

import hmac
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from anyio import to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.core.face.body import MAX_BODY, Body, Refusal, check_structure
from gateway.core.face.caller import BODY, LOCAL, PRINCIPAL
from gateway.core.face.pacing import turn
from gateway.core.face.refusals import unsupported_type

CARD_PATH: Final = "/.well-known/agent-card.json"
OLD_CARD_PATH: Final = "/.well-known/agent.json"  # the card's name before 0.3; there 0.3's card is
HEALTH_PATH: Final = "/healthz"
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})

_JSON_TYPE: Final = re.compile(r"application/(?:[\w.-]+\+)?json\s*(?:;|$)", re.IGNORECASE)

# Bytes of a body that is looked at beside the loop: 15 MB of escaped text take 50 ms, in steps of
# which none is longer than 20.
_LARGE: Final = 1024 * 1024
_LOOKED_AT: Final = frozenset(
    {b"host", b"origin", b"authorization", b"content-length", b"content-type"}
)
_Checked: TypeAlias = Mapping[bytes, Sequence[str]]
Others: TypeAlias = Callable[[bytes, Scope], str | None]

logger = logging.getLogger(__name__)


class Guard:
    """ASGI middleware around a whole server.

    `token` None (loopback only, for conformance suites) leaves every other check in place. `hosts`
    are names beside the loopback's under which clients may address this server. `others` knows
    further tokens: the principal behind one for this very request, None for one that is wrong; it
    compares in constant time.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        hosts: Collection[str] = (),
        others: Others | None = None,
        max_body: int = MAX_BODY,
        public_paths: Collection[str] = (HEALTH_PATH,),
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._hosts = LOOPBACK_NAMES | {_bracketed(host.lower()) for host in hosts}
        self._others = others
        self._max_body = max_body
        self._public = frozenset(public_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing of ours speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = _checked(scope)
        body = Body(receive, headers.get(b"content-length", [None])[0], self._max_body)
        try:
            self._check_address(headers)
            principal = self._principal(scope, headers)
            content = await self._content(scope, headers, body)
        except Refusal as refusal:
            logger.warning(
                "refused %s %s: %s", scope["method"], _printable(scope["path"]), refusal.code
            )
            await refusal.send(send, body)
            return
        state = scope.setdefault("state", {})
        state[PRINCIPAL] = principal
        state[BODY] = content
        await self._app(scope, receive if content is None else _replay(content, receive), send)

    def _check_address(self, headers: _Checked) -> None:
        """DNS rebinding and foreign web pages: the name asked for and the page asking are ours."""
        if _name(headers.get(b"host", [""])[0]) not in self._hosts:
            raise Refusal(421, "host_refused", "this server does not answer under that Host name")
        for origin in headers.get(b"origin", ()):
            split = urlsplit(origin)
            if split.scheme not in ("http", "https") or _name(split.netloc) not in self._hosts:
                raise Refusal(403, "origin_refused", "requests of this Origin are not served")

    def _principal(self, scope: Scope, headers: _Checked) -> str:
        """Who calls, by the token. Raises: Refusal."""
        if self._token is None or is_public(scope, self._public):
            return LOCAL
        given = headers.get(b"authorization", ())
        scheme, _, credentials = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        token = credentials.strip().encode("latin-1")
        if scheme.lower() == "bearer":
            if hmac.compare_digest(token, self._token):
                return LOCAL
            if self._others is not None and (principal := self._others(token, scope)) is not None:
                return principal
        text = "send 'Authorization: Bearer <token>' with this server's token, from its token file"
        text += "; what was sent is not it" if given else ""
        raise Refusal(401, "unauthorized", text)

    async def _content(self, scope: Scope, headers: _Checked, body: Body) -> bytes | None:
        """The whole body of a request that has one, within the limits. None: nothing was read."""
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        content = await body.read()
        if content and not _JSON_TYPE.match(headers.get(b"content-type", [""])[0]):
            text = "send JSON with Content-Type: application/json"
            raise Refusal(415, "content_type", text, unsupported_type(scope["path"]))
        await turn(len(content))
        if len(content) > _LARGE:
            await to_thread.run_sync(check_structure, content)
        else:
            check_structure(content)
        await turn(len(content))
        return content


def is_public(scope: Scope, paths: Collection[str] = (HEALTH_PATH,)) -> bool:
    """What anybody may ask for: to read cards, and what stands at `paths`."""
    if scope["method"] not in ("GET", "HEAD"):
        return False
    path: str = scope["path"]
    return path in paths or path.rstrip("/").endswith((CARD_PATH, OLD_CARD_PATH))


def _checked(scope: Scope) -> _Checked:
    """The headers that are looked at here, by name, in one walk through all of them."""
    found: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        if name in _LOOKED_AT:
            found.setdefault(name, []).append(value.decode("latin-1"))
    return found


def _name(host: str) -> str:
    """The name of `name:port`, in lower case; brackets of an IPv6 address stay."""
    host = host.lower()
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]


def _bracketed(host: str) -> str:
    """A literal IPv6 address as it stands in a Host header."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


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
