"""kill -9 while runs wait for answers, and in the moment they are answered.

Each round leaves runs waiting, kills the gateway, the wrapper beside the agent, or both, and answers
what is still open at what comes back. An answer that was acknowledged is not lost, none counts
twice, and a run that says it completed did all that stood behind its question.
"""

import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import httpx
import pytest

from gateway.core.extension import URI
from gateway.core.json import JsonObject
from tests.faults.test_kills import history, serving
from tests.gateway.process import START_S, Gateway
from tests.wrappers.launched import gone

RUNS = 4
SCRIPT = "say before\nask Which colour? [blue|green]\nsay after"
WHOLE = ["before", "Which colour? blue", "after"]
AGENT = "scripted"


def first(folder: Path) -> JsonObject:
    message = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": SCRIPT}]}
    return {"message": {**message, "metadata": {URI: {"cwd": str(folder)}}}}


def answer(task: JsonObject) -> JsonObject:
    """The answer to a task's question, under a key: told twice it counts once."""
    [pending] = [
        part["data"]["pending"]
        for part in task["status"]["message"]["parts"]
        if "pending" in part.get("data", {})
    ]
    told = {"request_id": pending[0]["request_id"], "answers": {"answer": "blue"}}
    message = {"messageId": "m-2", "role": "ROLE_USER", "taskId": task["id"]}
    message |= {"parts": [{"data": told}], "metadata": {URI: {"request_key": task["id"]}}}
    return {"message": message, "configuration": {"returnImmediately": True}}


async def tell(gateway: Gateway, task: JsonObject, acknowledged: set[str]) -> None:
    try:
        said = await gateway.rpc(AGENT, "SendMessage", answer(task))
    except (httpx.HTTPError, ValueError):
        return  # the kill came first: nothing was promised
    if "result" in said:
        acknowledged.add(task["id"])


def kill(gateway: Gateway, victims: set[str]) -> None:
    for wrapper in gateway.home.wrappers() if "wrapper" in victims else []:
        os.kill(wrapper.process.pid, signal.SIGKILL)
    if "gateway" in victims:
        gateway.process.kill()


async def end_of(gateway: Gateway, task: JsonObject, acknowledged: set[str]) -> str:
    """How a run ended; asked again where its answer was never acknowledged."""
    found = (await gateway.rpc(AGENT, "GetTask", {"id": task["id"]}))["result"]
    if found["status"]["state"] == "TASK_STATE_INPUT_REQUIRED" and task["id"] not in acknowledged:
        said = await gateway.rpc(AGENT, "SendMessage", answer(task))
        assert "result" in said or "run_ended" in str(said), said  # it was taken all the same
    events = await history(gateway, task["id"])
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    texts = [event["data"]["text"] for event in events if event["type"] == "agent_message"]
    answers = [event for event in events if event["data"].get("how") == "answered"]
    assert len(answers) == 1, events
    assert texts == WHOLE[: len(texts)]
    if events[-1]["type"] == "run_completed":
        assert texts == WHOLE
        return "completed"
    return str(events[-1]["data"]["reason"])


@pytest.mark.parametrize("moment", ["waiting", "answered"])
@pytest.mark.parametrize(
    "victims",
    [{"gateway"}, {"wrapper"}, {"gateway", "wrapper"}],
    ids=["gateway", "wrapper", "both"],
)
async def test_what_waits_is_answered_after_a_kill(
    victims: set[str], moment: str, rounds: int, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = f'["{AGENT}"]'
    # A gateway that is killed while it forks its wrapper has not noted yet that it is its own: the
    # next one uses it and leaves it, and it ends when nobody needs it any more.
    environment["A2A_GATEWAY_AGENT_IDLE_EXIT_S"] = "5"
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    ends: list[str] = []
    rounds = max(1, rounds // 3)  # there are six kinds of them
    for _ in range(rounds):
        ends += await _one_round(environment, tmp_path, victims, moment, chance)
    counts = ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends)))
    sys.stdout.write(
        f"\n{rounds} kills of {' and '.join(sorted(victims))} while {moment}: {counts}\n"
    )
    # Nothing that only waits is lost; an agent that had its answer already was at work.
    allowed = {"completed"} if moment == "waiting" else {"completed", "interrupted"}
    assert set(ends) <= allowed, seed
    async with serving(environment) as gateway:
        wrappers = [wrapper.process.pid for wrapper in gateway.home.wrappers()]
        assert await gateway.stop() == 0
    await gone(*wrappers)


async def _one_round(
    environment: Mapping[str, str],
    folder: Path,
    victims: set[str],
    moment: str,
    chance: random.Random,
) -> list[str]:
    acknowledged: set[str] = set()
    async with serving(environment) as gateway:
        asked = [await gateway.rpc(AGENT, "SendMessage", first(folder)) for _ in range(RUNS)]
        tasks = [said["result"]["task"] for said in asked]
        async with anyio.create_task_group() as group:
            if moment == "answered":
                for task in tasks:
                    group.start_soon(tell, gateway, task, acknowledged)
                with anyio.move_on_after(chance.uniform(0, 0.05)):
                    await anyio.Event().wait()  # for nothing: the moment is the point of this test
            kill(gateway, victims)
        if "gateway" in victims:
            await gateway.process.wait()
        else:
            return await _ends(gateway, tasks, acknowledged)
    async with serving(environment) as gateway:
        return await _ends(gateway, tasks, acknowledged)


async def _ends(gateway: Gateway, tasks: list[JsonObject], acknowledged: set[str]) -> list[str]:
    with anyio.fail_after(START_S):
        return [await end_of(gateway, task, acknowledged) for task in tasks]
