"""A cancel at a foreign agent: the agent's own word decides, and its silence ends the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.core.record import Run
from gateway.core.status import RunStatus
from tests.gateway.house import ME, House, house
from tests.gateway.script import Broken, Json, Refusal, Script, playing, said, task, turns, until

WORKING: list[Json] = [{"task": task("SUBMITTED")}, {"task": task("WORKING")}]


def live(gone: anyio.Event, *then: Json) -> Callable[[Json], Any]:
    return lambda _: until(gone, *WORKING, then=then)


async def begun(gateway: House, url: str) -> Run:
    run = await gateway.spawn(await gateway.agent(url))
    await gateway.seen(run, 3)
    return run


def reason_of(run: Run) -> str | None:
    return run.error.reason if run.error else None


@pytest.mark.parametrize("at_once", [True, False], ids=["in its answer", "later in its stream"])
async def test_a_cancel_is_confirmed_by_the_tasks_state(tmp_path: Path, at_once: bool) -> None:
    gone = anyio.Event()
    end = {"task": task("CANCELED", said("stopped", "m-1"))}

    def cancel(_: Json) -> Json:
        gone.set()
        return end["task"] if at_once else task("WORKING")

    script = Script({"SendStreamingMessage": live(gone, end), "CancelTask": cancel})
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await begun(gateway, agent.base_url)
        await gateway.tasks.cancel(ME, run.id)
        ended = await gateway.ended(run)
        events = await gateway.events(run)
    assert ended.status is RunStatus.CANCELLED
    assert any("cancel_requested_at" in data for _, data in events)
    assert script.count("CancelTask") == 1


async def test_an_agent_that_completes_instead_has_completed(tmp_path: Path) -> None:
    gone = anyio.Event()

    def cancel(_: Json) -> Refusal:
        gone.set()
        return Refusal(-32002, "Task cannot be canceled")

    end = {"task": task("COMPLETED", said("was done already", "m-1"))}
    script = Script(
        {
            "SendStreamingMessage": live(gone, end),
            "GetTask": end["task"],
            "CancelTask": cancel,
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await begun(gateway, agent.base_url)
        await gateway.tasks.cancel(ME, run.id)
        ended = await gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED


@pytest.mark.parametrize("code", [-32002, -32004, -32601])
async def test_an_agent_that_cannot_cancel_leaves_the_cancel_unconfirmed(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.life.owner.CANCEL_CONFIRM_S", 0.3)
    gone = anyio.Event()
    script = Script(
        {
            "SendStreamingMessage": live(gone),
            "GetTask": task("WORKING"),
            "CancelTask": Refusal(code),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await begun(gateway, agent.base_url)
        await gateway.tasks.cancel(ME, run.id)
        ended = await gateway.ended(run)
        gone.set()
    assert (ended.status, reason_of(ended)) == (RunStatus.FAILED, "cancel_unconfirmed")


async def test_a_refused_cancel_of_a_waiting_run_shows_how_it_ended(tmp_path: Path) -> None:
    # Nobody listened to a task that waited: it had ended at the agent, and the run stood there
    # until the cancel was given up.
    asked = said("Which?", "q-1")
    script = Script(
        {
            "SendStreamingMessage": [{"task": task("INPUT_REQUIRED", asked)}],
            "GetTask": task("FAILED", said("nobody answered me", "m-2")),
            "CancelTask": Refusal(-32002),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await gateway.spawn(await gateway.agent(agent.base_url))
        await gateway.waiting(run)
        await gateway.tasks.cancel(ME, run.id)
        ended = await gateway.ended(run)
    assert (ended.status, reason_of(ended)) == (RunStatus.FAILED, "agent_failed")


async def test_a_cancel_before_the_task_has_a_name_waits_for_it(tmp_path: Path) -> None:
    named = anyio.Event()
    gone = anyio.Event()

    async def slow(_: Json) -> Any:
        await named.wait()
        yield {"task": task("WORKING")}
        await gone.wait()

    script = Script(
        {
            "SendStreamingMessage": slow,
            "CancelTask": task("CANCELED"),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await gateway.spawn(await gateway.agent(agent.base_url))
        await script.called("SendStreamingMessage")
        async with anyio.create_task_group() as group:
            group.start_soon(gateway.tasks.cancel, ME, run.id)
            await gateway.seen(run, 2)
            assert script.count("CancelTask") == 0
            named.set()
        ended = await gateway.ended(run)
        gone.set()
    assert ended.status is RunStatus.CANCELLED
    assert script.count("CancelTask") == 1


async def test_a_cancel_that_did_not_arrive_is_said_again(tmp_path: Path) -> None:
    gone = anyio.Event()
    script = Script(
        {
            "SendStreamingMessage": live(gone),
            "GetTask": task("WORKING"),
            "CancelTask": turns(Broken(503), Broken(500), task("CANCELED")),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await begun(gateway, agent.base_url)
        await gateway.tasks.cancel(ME, run.id)
        ended = await gateway.ended(run)
        gone.set()
    assert ended.status is RunStatus.CANCELLED
    assert script.count("CancelTask") == 3


async def test_a_restarted_gateway_says_a_cancel_again(tmp_path: Path) -> None:
    gone = anyio.Event()
    script = Script({"SendStreamingMessage": live(gone), "CancelTask": Broken(503)})
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await begun(gateway, agent.base_url)
            await gateway.tasks.cancel(ME, run.id)
            await script.called("CancelTask")
        script.parts["CancelTask"] = task("CANCELED")
        async with house(tmp_path) as gateway:
            ended = await gateway.ended(run)
        gone.set()
    assert ended.status is RunStatus.CANCELLED


async def test_a_run_whose_agent_takes_nothing_yet_is_cancelled_at_once(tmp_path: Path) -> None:
    script = Script({"SendStreamingMessage": Broken(503), "GetTask": task("WORKING")})
    async with playing(script) as agent, house(tmp_path) as gateway:
        # Once there was an agent that answered; now it says that it is busy.
        script.parts["SendStreamingMessage"] = [{"task": task("COMPLETED")}]
        await gateway.ended(await gateway.spawn(await gateway.agent(agent.base_url)))
        script.parts["SendStreamingMessage"] = Broken(503)
        run = await gateway.spawn(await gateway.agent(agent.base_url))
        await script.called("SendStreamingMessage", 2)
        await gateway.tasks.cancel(ME, run.id)
        ended = await gateway.ended(run)
    assert ended.status is RunStatus.CANCELLED
    assert script.count("CancelTask") == 0
