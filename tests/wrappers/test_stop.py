"""SIGTERM to a wrapper at work: streams, blocking calls and runs of every kind, and the next start."""

import signal
from pathlib import Path

import anyio

from gateway.core.face.serving import GRACE_S
from gateway.core.json import JsonObject
from gateway.core.life.supervisor import STOP_GRACE_S
from tests.wrappers.launched import START_S, Launched, launched


async def test_a_stop_answers_everybody_truthfully_and_the_next_start_goes_on(
    environment: dict[str, str], tmp_path: Path
) -> None:
    answers: dict[str, JsonObject] = {}
    last: JsonObject = {}

    async def call(wrapper: Launched, name: str, text: str) -> None:
        answers[name] = await wrapper.send(text, tmp_path)

    async with launched(environment, "scripted", "--max-runs", "1") as wrapper:
        running = await wrapper.send("say at work\nhang", tmp_path, wait=False)
        queued = await wrapper.send("say my turn", tmp_path, wait=False)
        async with anyio.create_task_group() as group:
            group.start_soon(call, wrapper, "queued", "say blocking")
            async for event in wrapper.events(running["id"]):
                last = event
                if event["type"] == "agent_message":
                    # The third one's call is under way by now: both came over one server's socket,
                    # and its run is behind the second in the list.
                    await _listed(wrapper, 3)
                    wrapper.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(STOP_GRACE_S + GRACE_S):
            assert await wrapper.process.wait() == 0
    assert (last["type"], last["data"]["reason"]) == ("run_failed", "interrupted")
    assert answers["queued"]["status"]["state"] == "TASK_STATE_SUBMITTED"

    async with launched(environment, "scripted", "--max-runs", "1") as wrapper:
        for task in (queued, answers["queued"]):
            [*_, end] = [event async for event in wrapper.events(task["id"])]
            assert end["type"] == "run_completed"
        [*_, end] = [event async for event in wrapper.events(running["id"])]
        assert end == last


async def test_a_stop_answers_a_blocking_call_with_the_end_of_its_run(
    environment: dict[str, str], tmp_path: Path
) -> None:
    answers: list[JsonObject] = []

    async def call(wrapper: Launched) -> None:
        answers.append(await wrapper.send("say at work\nhang", tmp_path))

    async with launched(environment, "scripted") as wrapper:
        with anyio.fail_after(START_S):
            async with anyio.create_task_group() as group:
                group.start_soon(call, wrapper)
                [task] = await _listed(wrapper, 1)
                async for event in wrapper.events(task["id"]):
                    if event["type"] == "agent_message":
                        wrapper.process.send_signal(signal.SIGTERM)
            assert await wrapper.process.wait() == 0
    assert answers[0]["status"]["state"] == "TASK_STATE_FAILED"


async def _listed(wrapper: Launched, count: int) -> list[JsonObject]:
    """The tasks, once there are so many."""
    with anyio.fail_after(START_S):
        while len(tasks := (await wrapper.rpc("ListTasks", {})).get("tasks", [])) < count:
            pass
    return tasks
