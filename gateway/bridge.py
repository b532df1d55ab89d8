"""The MCP side, behind the open listener: its libraries take 1.5 s to import, and A2A need not wait.

Knows the bridge's builder and nothing of MCP; calls to /mcp wait for it.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import anyio
from anyio import to_thread
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.agents.registry import Registry
from gateway.core.tasks import Tasks
from gateway.errors import BridgeError
from gateway.settings import APPLICATION

BRIDGE_WAIT_S: Final = 30.0  # a call to /mcp during start-up waits so long for the bridge

Build = Callable[
    [Tasks, Registry], tuple[list[BaseRoute], Callable[[], AbstractAsyncContextManager[None]]]
]

logger = logging.getLogger(__name__)


def _import_bridge() -> Build:
    """The bridge's builder. Raises: BridgeError when another package answers to its name."""
    try:
        # Inline: it takes the MCP libraries in, which the open listener does not wait for.
        from mcp_bridge.face import server  # noqa: PLC0415

        build: Build = server.build
    except (ImportError, AttributeError) as exc:
        raise BridgeError(
            f"the package mcp_bridge is not {APPLICATION}'s; uninstall the distribution mcp-bridge "
            f"and install {APPLICATION} again"
        ) from exc
    return build


class Bridge:
    """The ASGI app at /mcp: the bridge once it is there, until then whoever calls waits."""

    def __init__(self) -> None:
        self._ready = anyio.Event()
        self._app: ASGIApp | None = None
        self._failure = "the gateway's MCP side did not start in time; try again"

    async def run(self, tasks: Tasks, registry: Registry) -> None:
        """Import, build and serve until cancelled; what fails here costs nobody else anything."""
        try:
            build = await to_thread.run_sync(_import_bridge)
            routes, lifespan = build(tasks, registry)
            async with lifespan():
                self._app = Router(routes=routes)
                self._ready.set()
                await anyio.sleep_forever()
        except BridgeError as exc:
            logger.error("%s", exc)  # noqa: TRY400  # its text says all; no traceback
            self._failure = str(exc)
        except Exception:
            logger.exception("the MCP side stopped")
            self._app, self._failure = None, "the gateway's MCP side stopped; see its log"
        finally:
            self._ready.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(BRIDGE_WAIT_S):
            await self._ready.wait()
        if self._app is not None:
            await self._app(scope, receive, send)
            return
        body = {"error": {"code": BridgeError.code, "message": self._failure}}
        await JSONResponse(body, status_code=503)(scope, receive, send)
