"""kill -9 of a gateway, again and again, under runs at an agent that knows nothing of ours.

What the SDK's own server said while nobody listened is in the run once, in order; nothing is sent
to it twice.
"""

import random
from collections import Counter
from typing import Any

import anyio
import pytest

from gateway.core.json import JsonObject
from tests.gateway.foreigners import Executor, sdk_agent
from tests.gateway.process import Gateway, started

RUNS = 10
TICKS = 60
ENDED_S = 60.0


async def _spawn(gateway: Gateway, url: str, number: int) -> str:
    made = await gateway.ask(
        "spawn_run",
        backend="remote_a2a",
        role="worker",
        session_mode="new",
        prompt=f"ticks {TICKS} {number}",
        cwd="/tmp",
        backend_config={"agent_url": url},
    )
    assert "run_id" in made, made
    return str(made["run_id"])


async def _events(gateway: Gateway, run_id: str) -> list[JsonObject]:
    """Every event, once the run has ended."""
    found: list[JsonObject] = []
    after = 0
    with anyio.fail_after(ENDED_S):
        while True:
            page: Any = await gateway.ask(
                "poll_events", run_id=run_id, after_seq=after, wait_ms=5_000, max_bytes=200_000
            )
            found += page["events"]
            after = page["next_after_seq"]
            if page["status"] in ("completed", "failed", "cancelled") and not page["has_more"]:
                return found


def _texts(events: list[JsonObject], type_: str) -> list[str]:
    return [event["data"]["text"] for event in events if event["type"] == type_]


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "polled"])
async def test_what_a_foreign_agent_said_through_kills_is_told_once(
    streaming: bool, rounds: int, environment: dict[str, str]
) -> None:
    chance = random.Random()
    executor = Executor()
    async with sdk_agent(executor, streaming=streaming) as agent:
        ids: list[str] = []
        for number in range(rounds):
            async with started(environment) as gateway:
                first = number * RUNS
                ids += [
                    await _spawn(gateway, agent.base_url, nth) for nth in range(first, first + RUNS)
                ]
                with anyio.move_on_after(chance.uniform(0, 0.5)):
                    await anyio.Event().wait()  # for nothing: the moment is the point of this test
                gateway.process.kill()
                await gateway.process.wait()
        async with started(environment) as gateway:
            told = {run_id: await _events(gateway, run_id) for run_id in ids}
            assert await gateway.stop() == 0
    assert max(Counter(executor.heard).values()) == 1, "sent twice"
    wanted = [*(f"tick {n}" for n in range(1, TICKS + 1)), "all ticked"]
    for events in told.values():
        assert events[-1]["type"] == "run_completed", events[-1]
        assert _texts(events, "agent_message") == wanted
        made = _texts(events, "artifact_added")
        assert made == [f"made {n}" for n in range(5, TICKS + 1, 5)]
