"""One task server of puppets, reached through both faces: A2A on a socket, the MCP tools in memory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
from mcp import Client
from mcp.types import TextContent

from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.tasks import Tasks
from mcp_bridge.face import server
from tests.core.faces import Served, served
from tests.core.puppet import ME, Puppet, Stage
from tests.mcp_bridge.house import Agents

PATIENCE_S: Final = 10


@dataclass(frozen=True)
class Both:
    """One task server of puppets, its A2A face and its MCP tools."""

    stage: Stage
    a2a: Served
    mcp: Client

    @property
    def tasks(self) -> Tasks:
        return self.stage.tasks

    async def begin(self, **more: Any) -> tuple[Run, Puppet]:
        return await self.stage.begin(**more)

    async def ask(self, tool: str, **arguments: Any) -> JsonObject:
        """What a tool answers; a refusal is {"refused": text}."""
        with anyio.fail_after(PATIENCE_S):
            result = await self.mcp.call_tool(tool, arguments)
        if result.is_error:
            assert isinstance(result.content[0], TextContent)
            return {"refused": result.content[0].text}
        assert result.structured_content is not None
        return result.structured_content


@asynccontextmanager
async def both(folder: Path) -> AsyncGenerator[Both]:
    stage = Stage()
    async with served(folder, driver_for=stage.driver_for) as a2a:
        stage.tasks = a2a.tasks
        tools = server.mcp_server(a2a.tasks, Agents(), ME)
        async with Client(tools, mode="auto") as mcp:
            yield Both(stage, a2a, mcp)
