"""The real relay when the real gateway is killed under it: who waits is told, and the work goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import CallToolResult, TextContent

from gateway.core.json import JsonObject
from gateway.home import Home, read_published

BIN: Final = Path(sys.executable).parent
PATIENCE_S: Final = 60


@pytest.fixture
def home(environment: dict[str, str]) -> Generator[Path]:
    """A home in which relays start the gateway; it is stopped by its own command."""
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    yield Path(environment["A2A_GATEWAY_HOME"])
    command = [BIN / "a2a-gateway", "stop"]
    subprocess.run(command, env=environment, check=True, timeout=PATIENCE_S, capture_output=True)


def gateway_pid(home: Path) -> int:
    published = read_published(Home(home).path / "gateway.json")
    assert published is not None
    return published.process.pid


class Caller:
    """A client of a relay of its own, and the run it waits for."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self.run_id = ""
        self.waiting = anyio.Event()

    async def call(self, tool: str, **arguments: Any) -> JsonObject:
        return structure_of(await self._client.call_tool(tool, arguments))

    async def begin(self) -> None:
        spawned = await self.call(
            "spawn_run", backend="remote_a2a", backend_config={"agent": "scripted"}, role="worker",
            prompt="say begun\nask Go on? [yes|no]\nsay over", cwd=str(self._folder),
            session_mode="new",
        )  # fmt: skip
        self.run_id = spawned["run_id"]
        await self.until("input_required")

    async def until(self, status: str) -> None:
        after = 0
        while True:
            page = await self.call("poll_events", run_id=self.run_id, after_seq=after)
            after = page["next_after_seq"]
            if page["status"] == status and not page["has_more"]:
                return

    async def is_told_of_the_kill(self, other: str) -> None:
        """Wait for a run that says nothing, until somebody kills the gateway."""

        async def beat(progress: float, total: float | None, message: str | None) -> None:
            self.waiting.set()

        asked = {"run_id": other, "after_seq": 1000, "wait_ms": 30_000}
        with pytest.raises(MCPError, match=r"went away during this call; .*list_runs"):
            await self._client.call_tool("poll_events", asked, progress_callback=beat)


def structure_of(result: CallToolResult) -> JsonObject:
    assert isinstance(result.content[0], TextContent)
    assert not result.is_error, result.content[0].text
    assert result.structured_content is not None
    return result.structured_content


@asynccontextmanager
async def caller(environment: dict[str, str], mode: str, folder: Path) -> AsyncGenerator[Caller]:
    relay = StdioServerParameters(command=str(BIN / "a2a-mcp-bridge"), env=environment)
    async with Client(relay, mode=mode) as client:
        yield Caller(client, folder)


@pytest.mark.promise("relay.killed")
async def test_a_gateway_killed_during_a_call_is_told_of_and_the_next_call_starts_another(
    home: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    async with (
        caller(environment, "auto", tmp_path) as modern,
        caller(environment, "legacy", tmp_path) as legacy,
    ):
        with anyio.fail_after(PATIENCE_S):
            both = (modern, legacy)
            for each in both:
                await each.begin()
            silent = await modern.call(
                "spawn_run", backend="remote_a2a", backend_config={"agent": "scripted"},
                role="worker", prompt="hang", cwd=str(tmp_path), session_mode="new",
            )  # fmt: skip
            first = gateway_pid(home)
            async with anyio.create_task_group() as group:
                for each in both:
                    group.start_soon(each.is_told_of_the_kill, silent["run_id"])
                for each in both:
                    await each.waiting.wait()  # its first progress came through
                os.kill(first, signal.SIGKILL)
            # Both ask at once, and one of the two relays starts the next gateway.
            async with anyio.create_task_group() as group:
                for each in both:
                    group.start_soon(each.until, "input_required")
            assert gateway_pid(home) != first
            for each in both:
                answered = await each.call("continue_run", run_id=each.run_id, text="yes")
                assert answered["did"] == "answered"
                await each.until("completed")
            await legacy.call("cancel_run", run_id=silent["run_id"])
