"""A gateway without its HTTP side: registry, launcher, drivers and log, in one folder."""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from gateway.agents.registry import Registry
from gateway.core import json
from gateway.core.extension import CodingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message, user_text
from gateway.core.record import Run
from gateway.core.secrets import Mask
from gateway.core.server import task_server
from gateway.core.status import WAITING
from gateway.core.tasks import Tasks
from gateway.driving.driver import AgentDriver
from gateway.home import Home
from gateway.link.client import Clients
from gateway.local.launcher import Launcher

ME = "local"
PATIENCE_S = 30.0  # two shared cores; nothing here takes a second when they are free


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    tasks: Tasks
    registry: Registry
    launcher: Launcher
    home: Home

    async def agent(self, url: str, **config: Any) -> str:
        """The name of the agent at `url`, as a spawn_run would get it."""
        return await self.registry.resolve("remote_a2a", {"agent_url": url, **config}, "/")

    async def spawn(
        self, agent: str, text: str = "go", *, backend: str = "remote_a2a", **more: Any
    ) -> Run:
        context = more.pop("context_id", None)
        request = CodingRequest(cwd=more.pop("cwd", "/tmp"), **more)
        sent = await self.tasks.send(
            principal=ME,
            agent=agent,
            backend=backend,
            message=user_text("m-1", text),
            request=request,
            context_id=context,
        )
        return sent.run

    async def say(self, run: Run, message: Message) -> None:
        await self.tasks.send(principal=ME, agent=run.agent, message=message, run_id=run.id)

    async def ended(self, run: Run) -> Run:
        """The run once it is terminal."""
        with anyio.fail_after(PATIENCE_S):
            async for _ in self.tasks.follow(ME, run.id):
                pass
        return await self.tasks.get(ME, run.id)

    async def waiting(self, run: Run) -> Run:
        """The run once it waits for somebody."""
        with anyio.fail_after(PATIENCE_S):
            while (found := await self.tasks.get(ME, run.id)).status not in WAITING:
                assert not found.terminal, found.error
                await self.tasks.log.changed(run.id, found.last_seq)
            return found

    async def seen(self, run: Run, count: int) -> None:
        """Returns when the run has that many events."""
        with anyio.fail_after(PATIENCE_S):
            while (found := await self.tasks.get(ME, run.id)).last_seq < count:
                assert not found.terminal, found.error
                await self.tasks.log.changed(run.id, found.last_seq)

    async def events(self, run: Run) -> list[tuple[str, JsonObject]]:
        """Type and data of every event, its numbers checked."""
        page = await self.tasks.events(ME, run.id, limit=100_000)
        assert [event.seq for event in page.events] == list(range(1, len(page.events) + 1))
        return [(event.type, json.decode_object(event.data)) for event in page.events]


@asynccontextmanager
async def house(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    local: tuple[str, ...] = (),
    patience_s: float = PATIENCE_S,
    variables: Mapping[str, str] | None = None,
    idle_exit_s: float | None = None,
) -> AsyncGenerator[House, None]:
    home, clients = Home(folder), Clients()
    child = {**(environment or {}), "A2A_GATEWAY_HOME": str(home.path)}
    launcher = Launcher(home, environment=child, timeout_s=PATIENCE_S, idle_exit_s=idle_exit_s)
    mask, variable = Mask(), dict(variables or {}).get
    registry = Registry(home, clients, launcher, local=local, variable=variable, mask=mask)
    try:
        async with task_server(
            database=home.database,
            driver_for=lambda run: AgentDriver(run, registry, patience_s=patience_s),
            mask=mask,
        ) as tasks:
            yield House(tasks=tasks, registry=registry, launcher=launcher, home=home)
    finally:
        await registry.close()
        await launcher.stop()
        await clients.close()


def texts(events: list[tuple[str, JsonObject]]) -> list[str]:
    """What the agent said."""
    return [data["text"] for type_, data in events if type_ == "agent_message"]


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X") and os.path.exists(f"/proc/{pid}")  # noqa: PTH110
