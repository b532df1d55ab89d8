"""Every path of the gateway, and when somebody last asked for one.

Knows paths; what answers at them is made elsewhere.
"""

import time
from collections.abc import Callable
from importlib.metadata import version

from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.core.face.routes import health_route
from gateway.settings import APPLICATION

# Whether a request is for the app beside it; asked in order, the first that says so has it.
Serves = Callable[[Scope], bool]


class Site:
    """The ASGI app of the gateway: `rooms` in order, else /healthz or 404."""

    def __init__(self, *rooms: tuple[Serves, ASGIApp]) -> None:
        self._rooms = rooms
        self._rest = Router(routes=[health_route(APPLICATION, version(APPLICATION))])
        self._open = 0
        self._last = time.monotonic()

    @property
    def idle_s(self) -> float:
        """Seconds without an open request."""
        return 0.0 if self._open else time.monotonic() - self._last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        app = next((app for serves, app in self._rooms if serves(scope)), self._rest)
        self._open += 1
        try:
            await app(scope, receive, send)
        finally:
            self._open -= 1
            self._last = time.monotonic()


def under(prefix: str) -> Serves:
    """Requests for `prefix` itself and everything below it."""

    def serves(scope: Scope) -> bool:
        path: str = scope["path"]
        return path == prefix or path.startswith(prefix + "/")

    return serves
