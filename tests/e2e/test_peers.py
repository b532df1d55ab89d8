"""Two agents that write to each other, over real processes and the real relay."""

import shlex
import sys
from pathlib import Path

from gateway.core.json import JsonObject
from mcp_bridge.agents.toolset import AGENTS_TOOLSET
from tests.e2e.test_nested import ROOT, ended
from tests.gateway.process import Gateway, started

PEER = Path(__file__).with_name("peer.py")


async def spawn(gateway: Gateway, cwd: Path, name: str, *words: str) -> str:
    place = f"A2A_GATEWAY_HOME={shlex.quote(str(gateway.home.path))} PYTHONPATH={ROOT}"
    spawned = await gateway.ask(
        "spawn_run",
        backend="remote_a2a",
        backend_config={"agent": "scripted"},
        role="worker",
        nickname=name,
        prompt=f"run {place} {shlex.join([sys.executable, str(PEER), *words])}",
        cwd=str(cwd),
        session_mode="new",
    )
    return spawned["run_id"]


async def told(gateway: Gateway, run_id: str) -> str:
    """What the command of a run printed."""
    await ended(gateway, run_id)
    page = await gateway.ask("poll_events", run_id=run_id, after_seq=0)
    [finished] = [event for event in page["events"] if event["type"] == "command_finished"]
    assert finished["data"]["exit_code"] == 0, finished
    return str(finished["data"]["output"]).strip()


async def test_two_agents_write_to_each_other_through_the_bridge(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    async with started(environment) as gateway:
        ann = await spawn(gateway, tmp_path, "ann", "answer", "blue")
        bob = await spawn(gateway, tmp_path, "bob", "ask", "ann", "Which colour?")
        assert await told(gateway, ann) == "bob said Which colour?"
        assert await told(gateway, bob) == "ann said blue to bob"
        listed = await gateway.ask("list_agents", toolsets="agents", within=ann)
        assert listed["you"] == "ann"
        assert [agent["last_run_id"] for agent in listed["agents"]] == [bob, ann]
        assert {agent["status"] for agent in listed["agents"]} == {"completed"}
        body: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        headers = {"Accept": "application/json, text/event-stream"}
        offered = (await gateway.http.post("/mcp", json=body, headers=headers)).text
        asked = (await gateway.http.post("/mcp?toolsets=agents", json=body, headers=headers)).text
        for tool in AGENTS_TOOLSET:
            assert f'"{tool.name}"' not in offered
            assert f'"{tool.name}"' in asked
        assert await gateway.stop() == 0
    # What was written is there for the next gateway.
    async with started(environment) as gateway:
        page = await gateway.ask("fetch_agent_messages", toolsets="agents", agent_name="ann")
        assert [message["from_agent_name"] for message in page["messages"]] == ["bob"]
        assert await gateway.stop() == 0
