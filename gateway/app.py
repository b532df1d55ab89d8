"""The gateway's composition root: what it is made of, from bound socket to last stopped wrapper.

Makes and connects; what the parts do is theirs.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Final

import anyio

from gateway.agents.admin import PATH as REGISTRY_PATH
from gateway.agents.admin import Administration
from gateway.agents.enrolment import Enrolments, Registrars, is_enrolment
from gateway.agents.registry import Registry
from gateway.bridge import Bridge
from gateway.core.addresses import Screen
from gateway.core.face.guard import Guard
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
from gateway.errors import ExposureError
from gateway.folders.follower import run_folders
from gateway.folders.places import works_here
from gateway.home import Home
from gateway.link.client import LOOPBACK, Clients
from gateway.local.launcher import Launcher
from gateway.publishing.faces import Faces
from gateway.publishing.own import OwnFace, is_own
from gateway.settings import APPLICATION, Settings, read_variable, wrapper_environment
from gateway.site import Site, under

MCP_PATH: Final = "/mcp"
AGENTS_PATH: Final = "/agents"
PRINCIPAL: Final = "local"

logger = logging.getLogger(__name__)


@asynccontextmanager
async def agents(
    settings: Settings, home: Home, mask: Mask | None = None, own_url: str | None = None
) -> AsyncGenerator[Registry, None]:
    """The registry with its HTTP clients and wrappers; both end with it."""
    clients = Clients()
    launcher = Launcher(
        home,
        environment=wrapper_environment(settings),
        timeout_s=settings.launch_timeout_s,
        idle_exit_s=settings.agent_idle_exit_s,
    )
    registry = Registry(
        home,
        clients,
        launcher,
        local=settings.local_agents,
        variable=read_variable,
        mask=mask,
        fixed=settings.agents_file,
        own_url=own_url,
    )
    try:
        yield registry
    finally:
        await registry.close()
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
                agents(settings, home, mask, listener.base_url) as registry,
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
                _folders(settings, home, registry, tasks),
            ):
                await _serve(settings, home, listener, token, tasks, registry, on_ready)
        finally:
            listener.close()


@asynccontextmanager
async def _folders(
    settings: Settings, home: Home, registry: Registry, tasks: Tasks
) -> AsyncGenerator[None, None]:
    """Run folders, unless they are off: then runs of that time stay without one."""
    note = home.path / "folders.json"
    if not settings.run_folders:
        note.unlink(missing_ok=True)
        yield
        return
    async with run_folders(tasks.log, here=partial(works_here, registry), note=note):
        yield


async def _serve(  # the parts of the house, each once
    settings: Settings,
    home: Home,
    listener: Listener,
    token: str,
    tasks: Tasks,
    registry: Registry,
    on_ready: Callable[[str], None],
) -> None:
    bridge = Bridge()
    about = {"base_url": listener.base_url, "version": version(APPLICATION)}
    site = Site(
        (is_enrolment, Enrolments(registry)),
        (under(AGENTS_PATH), Faces(tasks, registry, **about)),
        (is_own, OwnFace(tasks, registry, **about)),
        (under(MCP_PATH), bridge),
        (under(REGISTRY_PATH), Administration(tasks, registry)),
    )
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
