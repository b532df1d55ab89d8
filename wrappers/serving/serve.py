"""A wrapper's composition root: one agent, its task server and its A2A face, from start to end.

The only wrapper module that knows adapters and A2A at once. Its end leaves nothing: runs end with a
reason, then the agent's processes, then the port.
"""

import hashlib
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from gateway.core.addresses import Screen, is_loopback_host
from gateway.core.errors import InvalidInputError
from gateway.core.extension import CodingRequest
from gateway.core.face.serving import Listener
from gateway.core.face.tokens import ensure_token
from gateway.core.keep import Keep
from gateway.core.server import task_server
from gateway.core.tasks import Tasks
from wrappers.adapter import Adapter, UnsupportedError
from wrappers.agent import Agent, Making
from wrappers.processes.process import TREE_VARIABLE, instance_of, sweep, swept_after
from wrappers.running.contexts import Contexts
from wrappers.running.conversations import Conversations
from wrappers.running.driver import AdapterDriver, Wrapped
from wrappers.running.workspace import checked_cwd
from wrappers.serving.ceilings import check_ceilings
from wrappers.serving.home import WrapperHome
from wrappers.serving.ready import Ready
from wrappers.serving.served import Served, capacity_of
from wrappers.serving.shared import Shared
from wrappers.settings import WrapperSettings

log = logging.getLogger(__name__)


async def serve(agent_name: str, agent: Agent, shared: Shared) -> None:
    """Serve one agent until the ending begins, and end it.

    Raises: home.NameTakenError, agents.AgentMissingError, serving.PortTakenError,
    tokens.TokenError, DatabaseUnusableError.
    """
    settings = shared.settings
    home = WrapperHome(settings.home, settings.name or agent_name)
    with home.locked():
        mark = "wrapper-" + hashlib.sha256(str(home.path).encode()).hexdigest()[:16]
        if left := sweep(mark):
            log.warning("killed %d processes that a killed wrapper had left behind", left)
        mark = instance_of(mark)
        making = Making(
            settings=settings, source=shared.source, mark={TREE_VARIABLE: mark}, folder=home.path
        )
        adapter = agent.make(making)
        token_file = None if settings.no_auth else settings.token_file or home.token
        token = ensure_token(token_file) if token_file else None
        shared.mask.add(token or "")
        listener = Listener(settings.host, settings.port)
        ready = Ready(
            agent=agent_name,
            name=home.name,
            base_url=settings.public_url or listener.base_url,
            token_file=token_file,
        )
        try:
            async with (
                swept_after(mark),
                _tasks(adapter, agent, making, home, shared) as tasks,
            ):
                served = Served(ready, agent, adapter, home, shared, listener, tasks, token)
                served.face.check = lambda request: _check(request, adapter, agent, settings)
                await served.until_the_end(mark)
        finally:
            listener.close()


@asynccontextmanager
async def _tasks(
    adapter: Adapter, agent: Agent, making: Making, home: WrapperHome, shared: Shared
) -> AsyncGenerator[Tasks]:
    """The task server over the adapter; both end with it, the agent after its runs."""
    settings = making.settings
    wrapped = Wrapped(
        conversations=Conversations(adapter),
        contexts=Contexts(home.contexts, settings.roots),
        check=lambda request: _check(request, adapter, agent, settings),
        environment=lambda request: agent.turn_environment(making, request),
        answer_within_s=settings.answer_within_s,
    )
    try:
        async with task_server(
            database=home.database,
            durability=settings.durability,
            driver_for=lambda run: AdapterDriver(run, wrapped),
            capacity=capacity_of(agent, shared),
            stall_after_s=settings.stall_after_s,
            keep=Keep(finished=settings.keep_finished, bytes_=settings.keep_bytes),
            mask=shared.mask,
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
    check_ceilings(request, settings, agent.sandbox, asks_beyond_sandbox=agent.asks_beyond_sandbox)
    if request.cwd is not None:
        checked_cwd(request.cwd, settings.roots)
    try:
        adapter.check(request)
    except UnsupportedError as exc:
        raise InvalidInputError(str(exc), exc.field) from exc
