"""One wrapper as others see it: its card and routes behind the guard, from first answer to last.

Knows the task server and the adapter as they are given; who makes and ends them is `serve`.
"""

import asyncio
import logging
import os
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.core.face.body import MAX_BODY
from gateway.core.face.cards import Face, build_card
from gateway.core.face.guard import Guard
from gateway.core.face.routes import FaceApp, health_route
from gateway.core.face.serving import Listener
from gateway.core.json import JsonObject
from gateway.core.tasks import Tasks
from wrappers.adapter import Adapter
from wrappers.agent import Agent
from wrappers.processes.process import sweep
from wrappers.serving.capacity import default_capacity
from wrappers.serving.home import WrapperHome, start_time
from wrappers.serving.idle import Activity, Member
from wrappers.serving.passes import Passes
from wrappers.serving.preflight import inspect, unusable
from wrappers.serving.ready import Ready
from wrappers.serving.register import Registrar, name_at_gateway
from wrappers.serving.shared import FAILURE, Shared
from wrappers.serving.status import Status
from wrappers.settings import WrapperSettings

# Bytes a gateway adds to a message it passes on: a profile of 256 KB, its folder, its settings.
PASSED_ON: Final = 2 * 1024 * 1024
DRAIN_S: Final = 1.0  # for open streams to carry the events that end their runs

log = logging.getLogger(__name__)


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


def capacity_of(agent: Agent, shared: Shared) -> int | None:
    """Runs at once of one wrapper of this process; None for no bound."""
    unset = None if agent.unbounded else default_capacity(shared.agents)
    return shared.settings.max_runs or unset


def _note(ready: Ready, listener: Listener, home: WrapperHome, *, launched: bool) -> JsonObject:
    return {
        "agent": ready.agent,
        "name": ready.name,
        "url": listener.base_url,
        "pid": os.getpid(),
        "start_time": start_time(os.getpid()),
        "token_file": str(ready.token_file or home.token),
        "launched": launched,
    }


class Served:
    """One wrapper's face on its listener, and what goes on beside it."""

    def __init__(
        self,
        ready: Ready,
        agent: Agent,
        adapter: Adapter,
        home: WrapperHome,
        shared: Shared,
        listener: Listener,
        tasks: Tasks,
        token: str | None,
    ) -> None:
        self._ready = ready
        self._adapter = adapter
        self._home = home
        self._shared = shared
        self._listener = listener
        self._tasks = tasks
        settings = shared.settings
        self.face = face = _face(ready, agent, settings)
        passes = Passes(home.passes, settings.register_at)
        self._registrar = _registrar(ready, shared, home, passes)
        self._status = Status(
            agent=ready.agent,
            name=ready.name,
            version=face.card.version,
            capacity=capacity_of(agent, shared),
            adapter=adapter,
            runs=lambda: tasks.active,
            registration=lambda: self._registrar and self._registrar.to_json(),
        )
        others = [health_route(face.agent, face.card.version), self._status.route]
        self._activity = Activity(FaceApp(tasks, face, others))
        self._app = Guard(
            self._activity,
            token=token,
            hosts=[settings.host, urlsplit(ready.base_url).hostname or ""],
            others=lambda given, _scope: passes.holder(given),
            max_body=MAX_BODY + PASSED_ON,
        )

    async def until_the_end(self, mark: str) -> None:
        """Answer requests until the ending begins. Then the runs end first, so that open streams
        still carry it. `mark` is on the processes of the agent."""
        listener, ending = self._listener, self._shared.ending
        note = _note(self._ready, listener, self._home, launched=self._shared.settings.launched)
        with self._home.announced(listener.port, note) as leave:
            self._shared.idle.members.append(
                Member(activity=self._activity, active=lambda: len(self._tasks.active), leave=leave)
            )
            answering = asyncio.Event()
            serving = asyncio.create_task(
                listener.serve(self._app, on_ready=lambda _url: answering.set(), signals=False)
            )
            beside = asyncio.create_task(self._beside(answering))
            begun = asyncio.create_task(ending.begun.wait())
            hurry = asyncio.create_task(self._hurry(mark))
            try:
                await asyncio.wait([serving, begun, beside], return_when=asyncio.FIRST_COMPLETED)
                leave()
                await _cancelled(begun, beside)
                goodbye = [] if self._registrar is None else [self._registrar.close()]
                await asyncio.gather(self._tasks.stop(), *goodbye)
                listener.stop(drain_s=DRAIN_S)
                await serving
            finally:
                await _cancelled(begun, beside, hurry)

    async def _beside(self, answering: asyncio.Event) -> None:
        """Say that the wrapper answers, then look whether its agent can work and register it."""
        await answering.wait()
        self._shared.says.ready(self._ready)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._preflight())
            if self._registrar is not None:
                group.create_task(self._registrar.run(self._refused))
            await asyncio.Event().wait()  # until cancelled

    async def _preflight(self) -> None:
        findings = await inspect(self._adapter)
        self._status.findings = findings
        self._shared.says.found(self._ready.agent, findings)
        if (finding := unusable(findings)) is not None:
            self._refused(f"{self._ready.agent} cannot be run: {finding.text}")

    def _refused(self, why: str) -> None:
        self._shared.ending.begin(FAILURE, why)

    async def _hurry(self, mark: str) -> None:
        await self._shared.ending.hurried.wait()
        log.warning("asked a second time to end: killing what is still at work")
        sweep(mark)
        self._listener.stop()


def _registrar(ready: Ready, shared: Shared, home: WrapperHome, passes: Passes) -> Registrar | None:
    settings = shared.settings
    if settings.register_at is None:
        return None
    given = passes.mint()
    shared.mask.add(given.token)
    shared.mask.add(given.key)
    return Registrar(
        settings.register_at,
        name=name_at_gateway(ready.agent, settings.name),
        url=ready.base_url,
        token_file=settings.register_token_file or home.register_token,
        given=given,
    )


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
