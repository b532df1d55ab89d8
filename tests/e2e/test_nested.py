"""Runs that ask for runs, over real processes: agents with the real bridge, gateways with gateways."""

import shlex
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from gateway.core.hops import HOPS_MAX
from gateway.core.json import JsonObject
from gateway.core.life.lineage import DEPTH_MAX
from tests.gateway.process import START_S, Gateway, started

DELEGATE = Path(__file__).with_name("delegate.py")
ROOT = DELEGATE.parents[2]


@asynccontextmanager
async def one_at_a_time(environment: dict[str, str]) -> AsyncGenerator[Gateway]:
    """A gateway whose one agent takes one run at a time."""
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    environment["A2A_AGENT_MAX_RUNS"] = "1"
    async with started(environment) as gateway:
        try:
            yield gateway
        finally:
            assert await gateway.stop() == 0


def delegating(gateway: Gateway, prompt: str, *, agent: str = "scripted") -> str:
    """The script's line by which an agent has another one do something."""
    # Who sets up an agent says where the gateway is; from within which run is not its to say.
    place = f"A2A_GATEWAY_HOME={shlex.quote(str(gateway.home.path))} PYTHONPATH={ROOT}"
    words = shlex.join([sys.executable, str(DELEGATE), agent, prompt])
    return f"run {place} {words}"


async def spawn(gateway: Gateway, cwd: Path, prompt: str, agent: str = "scripted") -> str:
    spawned = await gateway.ask(
        "spawn_run",
        backend="remote_a2a",
        backend_config={"agent": agent},
        role="worker",
        prompt=prompt,
        cwd=str(cwd),
        session_mode="new",
    )
    assert "run_id" in spawned, spawned
    return spawned["run_id"]


async def ended(gateway: Gateway, run_id: str) -> JsonObject:
    with anyio.fail_after(START_S):
        after = 0
        while True:
            page = await gateway.ask("poll_events", run_id=run_id, after_seq=after, wait_ms=10_000)
            after = page["next_after_seq"]
            if page["status"] in ("completed", "failed", "cancelled", "rejected"):
                return await gateway.ask("get_run", run_id=run_id)


async def children(gateway: Gateway, run_id: str) -> list[JsonObject]:
    return (await gateway.ask("list_runs", parent_run_id=run_id))["runs"]


async def until_it_delegated(gateway: Gateway, run_id: str) -> str:
    """The child of a run whose command has said which it is."""
    with anyio.fail_after(START_S):
        after = 0
        while True:
            page = await gateway.ask("poll_events", run_id=run_id, after_seq=after, wait_ms=10_000)
            after = page["next_after_seq"]
            for event in page["events"]:
                output = str(event["data"].get("output") or "")
                if event["type"] == "command_updated" and output.startswith("child "):
                    return output.split()[1]
            assert page["status"] == "running", page


async def test_with_one_slot_a_parent_that_waits_for_its_child_completes(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with one_at_a_time(environment) as gateway:
        child = delegating(gateway, delegating(gateway, "say from below"))
        top = await spawn(gateway, tmp_path, f"{child}\nsay from the top")
        run = await ended(gateway, top)
        assert run["result"]["final_response"] == "from the top"
        assert "parent_run_id" not in run
        [middle] = await children(gateway, top)
        [below] = await children(gateway, middle["run_id"])
        assert await children(gateway, below["run_id"]) == []
        assert (middle["status"], below["status"]) == ("completed", "completed")
        assert below["summary"] == "from below"
        assert (middle["parent_run_id"], below["parent_run_id"]) == (top, middle["run_id"])


async def test_a_cancelled_parent_takes_its_child_along(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with one_at_a_time(environment) as gateway:
        top = await spawn(gateway, tmp_path, delegating(gateway, "hang"))
        child = await until_it_delegated(gateway, top)
        await gateway.ask("cancel_run", run_id=top)
        assert (await ended(gateway, top))["status"] == "cancelled"
        assert (await ended(gateway, child))["status"] == "cancelled"
        # The slot is free again, for anybody.
        free = await spawn(gateway, tmp_path, "say free")
        assert (await ended(gateway, free))["status"] == "completed"


async def test_runs_within_runs_end_at_a_depth(environment: dict[str, str], tmp_path: Path) -> None:
    async with one_at_a_time(environment) as gateway:
        prompt = "say never"
        for _ in range(DEPTH_MAX + 1):
            prompt = delegating(gateway, prompt)
        run_id = await spawn(gateway, tmp_path, prompt)
        await ended(gateway, run_id)
        runs = (await gateway.ask("list_runs", limit=50))["runs"]
        assert len(runs) == DEPTH_MAX + 1
        deepest = runs[0]["run_id"]
        page = await gateway.ask("poll_events", run_id=deepest, after_seq=0)
        [finished] = [event for event in page["events"] if event["type"] == "command_finished"]
        assert "stands too deep to ask for another" in finished["data"]["output"]
        assert finished["data"]["exit_code"] == 1


async def test_two_gateways_that_name_each_other_do_not_go_round_for_ever(
    environment: dict[str, str], tmp_path: Path
) -> None:
    other = {**environment, "A2A_GATEWAY_HOME": str(tmp_path / "other")}
    (tmp_path / "other").mkdir(mode=0o700)
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = other["A2A_GATEWAY_LOCAL_AGENTS"] = "[]"
    async with started(environment) as here, started(other) as there:
        for gateway, name, target, path in (
            (here, "there", there, "/agents/here"),
            (there, "here", here, "/agents/there"),
        ):
            body = {
                "name": name,
                "agent_url": target.url + path,
                "auth_token": f"file:{target.home.token_file}",
                "force": True,
            }
            added = await gateway.http.post("/registry", json=body)
            assert added.status_code == 201, added.text
        run = await ended(here, await spawn(here, tmp_path, "say round", "there"))
        assert run["status"] == "failed"
        assert "name each other as agents" in run["error"]["message"]
        made = [
            len((await gateway.ask("list_runs", limit=200))["runs"]) for gateway in (here, there)
        ]
        assert sum(made) == HOPS_MAX + 1
