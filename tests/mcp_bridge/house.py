"""The bridge on a task server of puppets, reached as clients reach it: in memory and over HTTP, in
both eras."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlencode

import anyio
from mcp import Client
from mcp.client.session import ElicitationFnT
from mcp.types import CallToolResult, TextContent
from starlette.applications import Starlette

from gateway.core import json
from gateway.core.errors import InvalidInputError
from gateway.core.face.guard import Guard
from gateway.core.face.routes import health_route
from gateway.core.face.serving import Listener
from gateway.core.json import JsonObject
from mcp_bridge.face import server
from tests.core.puppet import ME, Puppet, Stage, stage

Way = Literal["memory, 2026", "memory, legacy", "http, 2026", "http, legacy"]
WAYS: Final[tuple[Way, ...]] = ("memory, 2026", "memory, legacy", "http, 2026", "http, legacy")
PATIENCE_S: Final = 10


@dataclass
class Agents:
    """A registry that knows two local agents and takes every URL but one."""

    asked: list[tuple[str, JsonObject, str]] = field(
        default_factory=list[tuple[str, JsonObject, str]]
    )

    async def resolve(self, backend: str, config: JsonObject, cwd: str) -> str:
        self.asked.append((backend, config, cwd))
        if config.get("agent_url") == "http://wrong":
            raise InvalidInputError("agent_url is\nno agent of ours; use another", "agent_url")
        return str(config.get("agent") or config.get("agent_url") or backend)


class House:
    """A client, and behind it the puppets it talks to."""

    def __init__(self, client: Client, puppets: Stage, agents: Agents, folder: Path) -> None:
        self.client = client
        self.puppets = puppets
        self.agents = agents
        self.folder = folder

    async def call(self, tool: str, /, **arguments: Any) -> JsonObject:
        """A result, after a look at what every result has."""
        result = await self._call(tool, arguments)
        text = text_of(result)
        assert not result.is_error, text
        assert result.structured_content is not None
        assert json.decode(text) == result.structured_content
        assert json.encode(json.decode(text)) == text, "the text is compact JSON"
        return result.structured_content

    async def refused(self, tool: str, /, **arguments: Any) -> str:
        """A refusal, after a look at what every refusal has."""
        result = await self._call(tool, arguments)
        text = text_of(result)
        assert result.is_error, text
        assert result.structured_content is None
        assert "\n" not in text
        assert 0 < len(text) <= 600
        return text

    async def _call(self, tool: str, arguments: JsonObject) -> CallToolResult:
        with anyio.fail_after(PATIENCE_S):
            return await self.client.call_tool(tool, arguments)

    def task(self, **more: Any) -> JsonObject:
        """The arguments of a plain spawn_run."""
        plain: JsonObject = {
            "backend": "codex",
            "role": "worker",
            "prompt": "go",
            "cwd": str(self.folder),
            "session_mode": "new",
        }
        return {key: value for key, value in (plain | more).items() if value is not None}

    async def begin(self, **more: Any) -> tuple[str, Puppet]:
        """A spawned run at work."""
        spawned = await self.call("spawn_run", **self.task(**more))
        return spawned["run_id"], await self.puppet(spawned["run_id"])

    async def puppet(self, run_id: str) -> Puppet:
        puppet = self.puppets.puppets[run_id]
        with anyio.fail_after(PATIENCE_S):
            await puppet.started.wait()
        return puppet

    async def ended(self, run_id: str) -> None:
        with anyio.fail_after(PATIENCE_S):
            await self.puppets.tasks.settled(ME, run_id)


def text_of(result: CallToolResult) -> str:
    assert len(result.content) == 1
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


@asynccontextmanager
async def http_server(
    tasks_of: Stage, agents: Agents, token: str | None = None
) -> AsyncGenerator[str]:
    """The bridge's route on a real socket, behind the guard; its base URL."""
    routes, lifespan = server.build(tasks_of.tasks, agents)
    app = Guard(Starlette(routes=[*routes, health_route("house", "0")]), token=token)
    listener = Listener()
    ready = anyio.Event()
    async with lifespan(), anyio.create_task_group() as group:
        group.start_soon(lambda: listener.serve(app, on_ready=lambda _: ready.set(), signals=False))
        with anyio.fail_after(PATIENCE_S):
            await ready.wait()
        yield listener.base_url
        listener.stop()


@asynccontextmanager
async def house(
    folder: Path,
    way: Way,
    toolsets: tuple[str, ...] = (),
    person: ElicitationFnT | None = None,
) -> AsyncGenerator[House]:
    """A client connected in one of the four ways, with further toolsets if it wants some, and a
    person behind it if it has one."""
    transport, era = way.split(", ")
    mode = "auto" if era == "2026" else "legacy"
    asked = {"toolsets": ",".join(toolsets), "elicit": "" if person is None else "true"}
    query = urlencode({name: value for name, value in asked.items() if value})
    work = folder / "work"
    work.mkdir()
    agents = Agents()
    async with stage(folder) as puppets:
        if transport == "memory":
            mcp = server.mcp_server(
                puppets.tasks, agents, ME, toolsets=toolsets, elicit=person is not None
            )
            async with Client(mcp, mode=mode, elicitation_callback=person) as client:
                yield House(client, puppets, agents, work)
        else:
            async with (
                http_server(puppets, agents) as url,
                Client(f"{url}/mcp?{query}", mode=mode, elicitation_callback=person) as client,
            ):
                yield House(client, puppets, agents, work)
