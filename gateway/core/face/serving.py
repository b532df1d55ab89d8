"""Serves an ASGI app on a socket that is bound before anything else, and ends it in seconds.

Knows no route. The socket comes first, so the real port is known to whoever builds cards; the end
is announced to the app before connections are waited for, so open streams can say so and close.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, nullcontext
from typing import Any, Final, TypeVar

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.core.face.caller import CLOSING
from gateway.core.face.closing import Closing

GRACE_S: Final = 3  # uvicorn alone waits without end for one blocking request
BACKLOG: Final = 2048

SWITCH_S: Final = 0.001  # until a busy thread lets the loop have its turn; Python's own is 0.005
GARBAGE: Final = (20_000, 20, 50)  # gc.set_threshold; Python's own are 700, 10, 10

T = TypeVar("T")

logger = logging.getLogger(__name__)


class PortTakenError(Exception):
    """The address cannot be bound."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(f"cannot listen on {host}:{port} ({why}); choose another --port")


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: it raises the signal again at its end, which would kill
    the process before its own clean-up."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


class Listener:
    """A bound socket, and later the server on it."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind. Raises: PortTakenError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((host, port))
            self._socket.listen(BACKLOG)
        except OSError as exc:
            self._socket.close()
            raise PortTakenError(host, port, exc.strerror or type(exc).__name__) from exc
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._closing = Closing()
        self._server: _Server | None = None

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def serve(
        self,
        app: ASGIApp,
        *,
        on_ready: Callable[[str], None] | None = None,
        signals: bool = True,
    ) -> None:
        """Answer requests until `stop`, or SIGINT or SIGTERM; `on_ready(base_url)` when it does."""
        config = uvicorn.Config(
            self._announcing(app),
            http="httptools",
            ws="none",
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            proxy_headers=False,  # nobody's word on where a caller is counts
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = _Server(config, lambda: on_ready(self.base_url) if on_ready else None)
        try:
            with self._ended_by_signals() if signals else nullcontext():
                await self._server.serve(sockets=[self._socket])
        finally:
            self._socket.close()  # uvicorn does, unless it is cancelled

    def stop(self, drain_s: float = 0.0) -> None:
        """Begin the end: no connection is taken any more; at most GRACE_S.

        Streams are told after `drain_s`: until then those whose runs have ended end by themselves.
        """
        asyncio.get_running_loop().call_later(drain_s, self._closing.begin)
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """Let the socket go without having served."""
        self._socket.close()

    def _announcing(self, app: ASGIApp) -> ASGIApp:
        async def announced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan":
                scope.setdefault("state", {})[CLOSING] = self._closing
            await app(scope, receive, send)

        return announced

    @contextmanager
    def _ended_by_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def serve(
    app: ASGIApp, *, host: str, port: int, on_ready: Callable[[str], None] | None = None
) -> None:
    """Bind and answer until a signal, for an app that need not know its own address."""
    await Listener(host, port).serve(app, on_ready=on_ready)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a process's main coroutine on uvloop where there is one (10-30 % per request).

    What was imported until now is nothing the garbage collector need look at again, and requests
    make few cycles: looking for them rarely takes a sixth off the CPU of a short run.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(*GARBAGE)
    sys.setswitchinterval(SWITCH_S)
    try:
        import uvloop  # noqa: PLC0415 - not built for every platform
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
