"""A wrapper's composition root: one agent, its task server and its A2A face, from start to end.

The only wrapper module that knows adapters and A2A at once. Its end leaves nothing: runs end with a
reason, then the agent's processes, then the port.
"""

import asyncio
import hashlib
import logging
import os
import signal
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import Final

from gateway.core.addresses import Screen, is_loopback_host
from gateway.core.errors import InvalidInputError
from gateway.core.extension import CodingRequest
from gateway.core.face.cards import Face, build_card
from gateway.core.face.guard import LOOPBACK_NAMES, Guard
from gateway.core.face.routes import FaceApp, health_route
from gateway.core.face.serving import Listener
from gateway.core.face.tokens import ensure_token
from gateway.core.json import JsonObject
from gateway.core.keep import Keep
from gateway.core.logs import mask_logs
from gateway.core.secrets import Mask, is_secret_name
from gateway.core.server import task_server
from gateway.core.tasks import Tasks
from wrappers.adapter import Adapter, UnsupportedError
from wrappers.agents import Agent, Making
from wrappers.ceilings import check_ceilings
from wrappers.contexts import Contexts
from wrappers.driver import AdapterDriver, Conversations, Wrapped
from wrappers.home import WrapperHome, start_time
from wrappers.process import TREE_VARIABLE, sweep
from wrappers.ready import Ready
from wrappers.settings import WrapperSettings
from wrappers.workspace import checked_cwd

DRAIN_S: Final = 1.0  # for open streams to carry the events that end their runs
MEMORY_KEPT: Final = 2 * 1024**3  # bytes left to the system
MEMORY_A_RUN: Final = 512 * 1024**2  # bytes; an agent's CLI was seen at 244 MB after 21 turns

log = logging.getLogger(__name__)


class ExposureError(Exception):
    """The address would offer this machine to others without the protection that needs."""


def check_exposure(settings: WrapperSettings) -> None:
    """Raises: ExposureError unless the address is loopback, or meant and protected."""
    if settings.host in LOOPBACK_NAMES or settings.host == "::1":
        return
    if settings.no_auth or not settings.roots or not settings.insecure_bind:
        raise ExposureError(
            f"{settings.host} is not loopback: whoever reaches it runs code here; that takes a "
            "token (no --no-auth), folders (--root) and --insecure-bind"
        )


def default_capacity() -> int:
    """Runs at once for agents with processes: two a core, and what memory carries."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    carried = (memory - MEMORY_KEPT) // MEMORY_A_RUN
    return max(1, min(2 * (os.cpu_count() or 1), carried))


async def serve(
    agent_name: str,
    agent: Agent,
    settings: WrapperSettings,
    source: Mapping[str, str],
    on_ready: Callable[[Ready], None],
    on_stop: Callable[[str], None],
) -> None:
    """Serve one agent until SIGINT or SIGTERM, and end it.

    Raises: ExposureError, home.NameTakenError, agents.AgentMissingError, serving.PortTakenError,
    tokens.TokenError.
    """
    check_exposure(settings)
    home = WrapperHome(settings.home, settings.name or agent_name)
    with home.locked():
        mark = "wrapper-" + hashlib.sha256(str(home.path).encode()).hexdigest()[:16]
        if left := sweep(mark):
            log.warning("killed %d processes that a killed wrapper had left behind", left)
        making = Making(
            settings=settings, source=source, mark={TREE_VARIABLE: mark}, folder=home.path
        )
        adapter = agent.make(making)
        token_file = None if settings.no_auth else settings.token_file or home.token
        token = ensure_token(token_file) if token_file else None
        # A command that prints its environment prints these; they reach no log.
        mask = Mask(value for name, value in source.items() if is_secret_name(name))
        mask.add(token or "")
        mask_logs(mask)
        listener = Listener(settings.host, settings.port)
        ready = Ready(
            agent=agent_name, name=home.name, base_url=listener.base_url, token_file=token_file
        )
        try:
            async with _tasks(adapter, agent, making, home, mask) as tasks:
                face = _face(ready, agent, settings)
                face.check = lambda request: _check(request, adapter, agent, settings)
                app = _app(tasks, face, token, settings)
                with home.announced(listener.port, _note(ready, home)):
                    await _serve(listener, app, tasks, lambda: on_ready(ready), on_stop)
        finally:
            listener.close()


@asynccontextmanager
async def _tasks(
    adapter: Adapter, agent: Agent, making: Making, home: WrapperHome, mask: Mask
) -> AsyncGenerator[Tasks]:
    """The task server over the adapter; both end with it, the agent after its runs."""
    settings = making.settings
    wrapped = Wrapped(
        conversations=Conversations(adapter),
        contexts=Contexts(home.contexts, settings.roots),
        check=lambda request: _check(request, adapter, agent, settings),
        environment=lambda request: agent.turn_environment(making, request),
    )
    capacity = settings.max_runs or (None if agent.unbounded else default_capacity())
    try:
        async with task_server(
            database=home.database,
            durability=settings.durability,
            driver_for=lambda run: AdapterDriver(run, wrapped),
            capacity=capacity,
            stall_after_s=settings.stall_after_s,
            keep=Keep(finished=settings.keep_finished, bytes_=settings.keep_bytes),
            mask=mask,
            screen=Screen(
                loopback=is_loopback_host(settings.host), networks=settings.push_networks
            ),
        ) as tasks:
            yield tasks
    finally:
        await wrapped.conversations.close()
        wrapped.contexts.close()


def _check(
    request: CodingRequest, adapter: Adapter, agent: Agent, settings: WrapperSettings
) -> None:
    """Refuse what this wrapper or its agent cannot honour. Raises: InvalidInputError."""
    check_ceilings(request, settings, agent.sandbox)
    if request.cwd is not None:
        checked_cwd(request.cwd, settings.roots)
    try:
        adapter.check(request)
    except UnsupportedError as exc:
        raise InvalidInputError(str(exc), exc.field) from exc


def _face(ready: Ready, agent: Agent, settings: WrapperSettings) -> Face:
    card = build_card(
        name=agent.title,
        description=f"{agent.skill.description} Wrapped by a2a-gateway.",
        base_url=ready.base_url,
        version=version("a2a-gateway"),
        skills=[agent.skill],
        token_required=ready.token_file is not None,
        require=settings.require,
    )
    return Face(agent=ready.agent, card=card, direct=agent.direct)


def _app(tasks: Tasks, face: Face, token: str | None, settings: WrapperSettings) -> Guard:
    health = health_route(face.agent, face.card.version)
    return Guard(FaceApp(tasks, face, [health]), token=token, hosts=[settings.host])


def _note(ready: Ready, home: WrapperHome) -> JsonObject:
    return {
        "agent": ready.agent,
        "name": ready.name,
        "url": ready.base_url,
        "pid": os.getpid(),
        "start_time": start_time(os.getpid()),
        "token_file": str(ready.token_file or home.token),
    }


async def _serve(
    listener: Listener,
    app: Guard,
    tasks: Tasks,
    on_ready: Callable[[], None],
    on_stop: Callable[[str], None],
) -> None:
    """Answer requests until a signal. Then the runs end first, so open streams still carry it."""
    with _signals() as signalled:
        serving = asyncio.create_task(
            listener.serve(app, on_ready=lambda _url: on_ready(), signals=False)
        )
        stopping = asyncio.create_task(signalled.get())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            on_stop(stopping.result())
        stopping.cancel()
        await tasks.stop()
        listener.stop(drain_s=DRAIN_S)
        await serving


@contextmanager
def _signals() -> Generator[asyncio.Queue[str]]:
    """A queue of the names of the signals that ask us to end."""
    loop = asyncio.get_running_loop()
    names: asyncio.Queue[str] = asyncio.Queue()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, names.put_nowait, number.name)
    try:
        yield names
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
