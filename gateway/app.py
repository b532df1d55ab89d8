"""The gateway's composition root: what it is made of, from bound socket to last stopped wrapper.

One of the two gateway modules that see the bridge. The socket is bound and A2A answered before the
MCP libraries are imported (1.5 s); calls to /mcp wait for them.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Final

import anyio
from anyio import to_thread
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.agents.enrolment import Enrolments, Registrars, is_enrolment
from gateway.agents.registry import Registry
from gateway.core.addresses import Screen
from gateway.core.face.guard import Guard
from gateway.core.face.routes import health_route
from gateway.core.face.serving import Listener
from gateway.core.face.tokens import ensure_token
from gateway.core.keep import Keep
from gateway.core.logs import mask_logs
from gateway.core.secrets import Mask
from gateway.core.server import task_server
from gateway.core.status import ACTIVE
from gateway.core.store.listing import RunQuery
from gateway.core.store.open import password_of
from gateway.core.tasks import Tasks
from gateway.driving.driver import AgentDriver
from gateway.errors import BridgeError, ExposureError
from gateway.home import Home
from gateway.link.client import LOOPBACK, Clients
from gateway.local.launcher import Launcher
from gateway.publishing.faces import PREFIX, Faces
from gateway.settings import APPLICATION, Settings, read_variable, wrapper_environment

MCP_PATH: Final = "/mcp"
BRIDGE_WAIT_S: Final = 30.0  # a call to /mcp during start-up waits so long for the bridge
PRINCIPAL: Final = "local"

Build = Callable[
    [Tasks, Registry], tuple[list[BaseRoute], Callable[[], AbstractAsyncContextManager[None]]]
]

logger = logging.getLogger(__name__)


def _import_bridge() -> Build:
    """The bridge's builder. Raises: BridgeError when another package answers to its name."""
    try:
        # Inline: it takes the MCP libraries in, which the open listener does not wait for.
        from mcp_bridge import server  # noqa: PLC0415

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


class Site:
    """Every path of the gateway; knows when somebody last asked for one."""

    def __init__(self, faces: Faces, bridge: Bridge, enrolments: ASGIApp) -> None:
        self._faces = faces
        self._enrolments = enrolments
        self._bridge = bridge
        self._rest = Router(routes=[health_route(APPLICATION, version(APPLICATION))])
        self._open = 0
        self._last = time.monotonic()

    @property
    def idle_s(self) -> float:
        return 0.0 if self._open else time.monotonic() - self._last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        app: ASGIApp = self._rest
        if is_enrolment(scope):
            app = self._enrolments
        elif path.startswith(PREFIX):
            app = self._faces
        elif path == MCP_PATH or path.startswith(MCP_PATH + "/"):
            app = self._bridge
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        self._open += 1
        try:
            await app(scope, receive, send)
        finally:
            self._open -= 1
            self._last = time.monotonic()


@asynccontextmanager
async def agents(
    settings: Settings, home: Home, mask: Mask | None = None
) -> AsyncGenerator[Registry, None]:
    """The registry with its HTTP clients and wrappers; both end with it."""
    clients = Clients()
    launcher = Launcher(
        home,
        environment=wrapper_environment(settings),
        timeout_s=settings.launch_timeout_s,
        idle_exit_s=settings.agent_idle_exit_s,
    )
    try:
        yield Registry(
            home,
            clients,
            launcher,
            local=settings.local_agents,
            variable=read_variable,
            mask=mask,
        )
    finally:
        await launcher.stop()
        with anyio.CancelScope(shield=True):
            await clients.close()


async def run_gateway(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT, SIGTERM or idleness; `on_ready(url)` once requests are answered.

    Raises: ExposureError, HomeInUseError, PortTakenError, TokenError,
    DatabaseUnusableError.
    """
    if settings.host not in LOOPBACK:
        raise ExposureError(
            f"{settings.host} is not a loopback address",
            "listen on 127.0.0.1 and put a proxy with TLS in front",
        )
    home = Home(settings.home)
    with home.lock():
        token = ensure_token(home.token_file)
        database = (
            home.database if settings.database is None else settings.database.get_secret_value()
        )
        mask = Mask([token, password_of(database)])
        mask_logs(mask)
        listener = Listener(settings.host, settings.port)
        try:
            async with (
                agents(settings, home, mask) as registry,
                task_server(
                    database=database,
                    durability=settings.durability,
                    replica=home.replica,
                    driver_for=lambda run: AgentDriver(
                        run, registry, patience_s=settings.link_patience_s
                    ),
                    stall_after_s=settings.stall_after_s,
                    keep=Keep(finished=settings.keep_finished, bytes_=settings.keep_bytes),
                    mask=mask,
                    screen=Screen(loopback=True, networks=settings.push_networks),
                ) as tasks,
            ):
                faces = Faces(
                    tasks, registry, base_url=listener.base_url, version=version(APPLICATION)
                )
                await _serve(settings, home, listener, token, faces, tasks, registry, on_ready)
        finally:
            listener.close()


async def _serve(  # the parts of the house, each once
    settings: Settings,
    home: Home,
    listener: Listener,
    token: str,
    faces: Faces,
    tasks: Tasks,
    registry: Registry,
    on_ready: Callable[[str], None],
) -> None:
    bridge = Bridge()
    site = Site(faces, bridge, Enrolments(registry))
    registrars = Registrars(ensure_token(home.register_token_file))
    with ExitStack() as published:

        def ready(url: str) -> None:
            published.enter_context(home.published(url))
            on_ready(url)

        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(bridge.run(tasks, registry), name="bridge")]
            if settings.idle_exit_s is not None:
                idle = _stop_when_idle(site, tasks, listener, settings.idle_exit_s)
                beside.append(group.create_task(idle, name="idle"))
            guard = Guard(site, token=token, others=registrars.holder)
            await listener.serve(guard, on_ready=ready)
            for task in beside:
                task.cancel()


async def _stop_when_idle(site: Site, tasks: Tasks, listener: Listener, after_s: float) -> None:
    query = RunQuery(statuses=tuple(ACTIVE), limit=1)
    while True:
        await anyio.sleep(max(after_s - site.idle_s, after_s / 10))
        if site.idle_s >= after_s and not (await tasks.list_runs(PRINCIPAL, query)).runs:
            logger.info("nobody asked for %g s and no run is active: ending", after_s)
            listener.stop()
            return
