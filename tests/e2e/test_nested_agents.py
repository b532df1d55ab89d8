"""The real Codex, with the bridge as its MCP server, and the real Claude Code ask for runs."""

import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.core.json import JsonObject
from mcp_bridge.clients.client import Entry
from mcp_bridge.clients.configuration import CLIENTS, printed
from tests.e2e.test_nested import children, delegating, ended
from tests.gateway.process import Gateway, started
from tests.models import anthropic_messages, openai_responses

BRIDGE = Path(sys.executable).with_name("a2a-mcp-bridge")
# The events of a child that says one thing: its start, that it runs, what it says; then its end.
BEFORE_THE_END = 3


@asynccontextmanager
async def one_codex(environment: dict[str, str], folder: Path) -> AsyncGenerator[Gateway]:
    entry = Entry(str(BRIDGE), [], {"A2A_GATEWAY_HOME": environment["A2A_GATEWAY_HOME"]})
    async with openai_responses.running() as model:
        home = openai_responses.codex_home(
            folder / "codex", model.url, tables=printed(CLIENTS["codex"], entry)
        )
        async with _one_agent(environment | home, "codex") as gateway:
            yield gateway


@asynccontextmanager
async def one_claude(environment: dict[str, str], folder: Path) -> AsyncGenerator[Gateway]:
    async with anthropic_messages.running() as model:
        home = anthropic_messages.claude_home(folder / "claude", model.url)
        home = {name: value for name, value in home.items() if name not in ("PATH", "HOME")}
        allowed = {"A2A_AGENT_ALLOW_ROOT": "true", "A2A_AGENT_SPARE": "true"}
        async with _one_agent(environment | home | allowed, "claude_code") as gateway:
            yield gateway


@asynccontextmanager
async def _one_agent(environment: dict[str, str], name: str) -> AsyncGenerator[Gateway]:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = json.dumps([name])
    environment["A2A_AGENT_MAX_RUNS"] = "1"
    async with started(environment) as gateway:
        try:
            yield gateway
        finally:
            assert await gateway.stop() == 0


def by_the_bridge(nickname: str, cwd: Path) -> str:
    """A model of Codex has a run spawned and waits for its end."""
    spawn = {
        "backend": "codex",
        "role": "worker",
        "prompt": "@say from the child",
        "cwd": str(cwd),
        "session_mode": "new",
        "nickname": nickname,
    }
    wait = {"agent_name": nickname, "after_seq": BEFORE_THE_END, "wait_ms": 20_000}
    calls = [("spawn_run", spawn), ("poll_events", wait)]
    lines = [f"@ns mcp__a2a_gateway {tool} {json.dumps(given)}" for tool, given in calls]
    return "\n".join([*lines, "@say parent done"])


async def two_runs_of_one_session(
    gateway: Gateway, backend: str, cwd: Path, prompts: Sequence[str]
) -> None:
    """Each has a child of its own, although one process may do the work of both."""
    session: JsonObject = {"session_mode": "new"}
    for prompt in prompts:
        spawned = await gateway.ask(
            "spawn_run", backend=backend, role="planner", prompt=prompt, cwd=str(cwd), **session
        )
        assert "run_id" in spawned, spawned
        run = await ended(gateway, spawned["run_id"])
        assert (run["status"], run["result"]["final_response"]) == ("completed", "parent done")
        [child] = await children(gateway, spawned["run_id"])
        assert (child["status"], child["summary"]) == ("completed", "from the child")
        session = {"session_mode": "resume", "session_id": spawned["session_id"]}


async def test_what_codex_asks_of_the_bridge_is_its_runs_child_and_needs_no_slot(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with one_codex(environment, tmp_path) as gateway:
        prompts = [by_the_bridge(nickname, tmp_path) for nickname in ("first", "second")]
        await two_runs_of_one_session(gateway, "codex", tmp_path, prompts)


async def test_what_a_command_of_claude_code_asks_is_its_runs_child_and_needs_no_slot(
    environment: dict[str, str], tmp_path: Path
) -> None:
    # Its wrapper gives it no MCP servers of the user's, so it asks as a command does.
    async with one_claude(environment, tmp_path) as gateway:
        line = delegating(gateway, "@say from the child", agent="claude_code")
        prompt = f"@sh {line.removeprefix('run ')}\n@say parent done"
        await two_runs_of_one_session(gateway, "claude_code", tmp_path, [prompt, prompt])
