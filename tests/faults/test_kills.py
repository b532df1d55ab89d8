"""kill -9 at random moments under load: nothing acknowledged is lost, nothing is told twice or wrong.

Each round starts runs through the gateway, kills the gateway, the wrapper beside the agent, or both
at once, starts what was killed again, and reads every run from its first event.
"""

import os
import random
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from gateway.core import json
from gateway.core.extension import EXTENSIONS_HEADER, LAST_EVENT_ID_HEADER, URI
from gateway.core.json import JsonObject
from tests.gateway.process import START_S, Gateway, started
from tests.wrappers.launched import event_of, gone

RUNS = 6
STEPS = 80
SCRIPT = f"stream {STEPS} 0.005 tick\nsay done"


class Load:
    """Runs asked for through one gateway; `kept` are those whose start was acknowledged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.kept: list[str] = []

    async def start(self, gateway: Gateway, key: str) -> None:
        request = {"cwd": str(self._folder), "request_key": key}
        params = {
            "message": {
                "messageId": key,
                "role": "ROLE_USER",
                "parts": [{"text": SCRIPT}],
                "metadata": {URI: request},
            },
            "configuration": {"returnImmediately": True},
        }
        try:
            answer = await gateway.rpc("scripted", "SendMessage", params)
        except (httpx.HTTPError, ValueError):
            return  # the kill came first: nothing was promised
        self.kept.append(answer["result"]["task"]["id"])


@asynccontextmanager
async def serving(environment: Mapping[str, str]) -> AsyncGenerator[Gateway]:
    async with started(environment) as gateway:
        gateway.http.headers[EXTENSIONS_HEADER] = URI
        yield gateway


async def history(gateway: Gateway, task_id: str) -> list[JsonObject]:
    """Every event of a run from the first to its end, each connection from where the last broke."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": task_id}}
    found: list[JsonObject] = []
    while not found or found[-1]["type"] not in ("run_completed", "run_failed", "rejected"):
        headers = {LAST_EVENT_ID_HEADER: str(len(found))}
        async with gateway.http.stream(
            "POST", "/agents/scripted/a2a/jsonrpc", json=body, headers=headers
        ) as response:
            async for line in response.aiter_lines():
                item = json.decode_object(line[5:]) if line.startswith("data:") else {}
                assert "error" not in item, item
                if event := event_of(item):
                    found.append(event)
    return found


def told_truly(events: list[JsonObject]) -> str:
    """How the run ended, its numbers and words checked: no gap, no repeat, no false end."""
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    said = [e["data"]["text"] for e in events if e["type"] == "agent_message"]
    whole = [f"tick {n}" for n in range(1, STEPS + 1)] + ["done"]
    assert said == whole[: len(said)]
    end = events[-1]
    if end["type"] == "run_completed":
        assert said == whole
        return "completed"
    assert end["type"] == "run_failed", end
    return str(end["data"]["reason"])


async def _kill(gateway: Gateway, victims: set[str]) -> None:
    for wrapper in gateway.home.wrappers() if "wrapper" in victims else []:
        os.kill(wrapper.process.pid, signal.SIGKILL)
    if "gateway" in victims:
        gateway.process.kill()
        await gateway.process.wait()


async def _one_round(
    environment: Mapping[str, str], folder: Path, victims: set[str], chance: random.Random
) -> list[str]:
    load = Load(folder)
    async with serving(environment) as gateway:
        await load.start(gateway, f"first-{chance.random()}")  # the wrapper is up
        async with anyio.create_task_group() as group:
            for n in range(RUNS):
                group.start_soon(load.start, gateway, f"{n}-{chance.random()}")
            with anyio.move_on_after(chance.uniform(0, 0.6)):
                await anyio.Event().wait()  # for nothing: the moment is the point of this test
            await _kill(gateway, victims)
        if "gateway" not in victims:
            return await _ends(gateway, load)
    async with serving(environment) as gateway:
        return await _ends(gateway, load)


async def _ends(gateway: Gateway, load: Load) -> list[str]:
    ends: list[str] = []
    with anyio.fail_after(START_S):
        for task_id in load.kept:
            events = await history(gateway, task_id)
            ends.append(told_truly(events))
    return ends


@pytest.mark.parametrize(
    ("victims", "allowed"),
    [
        ({"gateway"}, {"completed"}),
        ({"wrapper"}, {"completed", "interrupted"}),
        ({"gateway", "wrapper"}, {"completed", "interrupted"}),
    ],
    ids=["gateway", "wrapper", "both"],
)
async def test_what_was_acknowledged_ends_truly_after_a_kill(
    victims: set[str],
    allowed: set[str],
    rounds: int,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    ends: list[str] = []
    for _ in range(rounds):
        ends += await _one_round(environment, tmp_path, victims, chance)
    assert len(ends) >= rounds, seed
    assert set(ends) <= allowed, (seed, ends)
    counts = ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends)))
    sys.stdout.write(f"\n{rounds} kills of {' and '.join(sorted(victims))}: {counts}\n")
    await _leave_nothing(environment)


async def _leave_nothing(environment: Mapping[str, str]) -> None:
    """A wrapper whose gateway was killed is found and stopped by the next one."""
    async with serving(environment) as gateway:
        wrappers = [wrapper.process.pid for wrapper in gateway.home.wrappers()]
        assert await gateway.stop() == 0
    await gone(*wrappers)
