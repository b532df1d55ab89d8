"""What a run that waits for somebody comes to when its wrapper ends and another one starts.

The scripted agent, in this process and as a real one; the vendors' own part stands in the contract.
"""

import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.core import json
from gateway.core.errors import AnswerRefusedError, RunEndedError
from gateway.core.extension import CodingRequest, Limits
from gateway.core.json import JsonObject
from gateway.core.life.timing import DECIDE
from gateway.core.record import Run
from gateway.core.status import RunStatus
from tests.wrappers.inside import Wrapper, wrapper
from tests.wrappers.launched import Launched, launched

ASK = "say before\nask Which colour? [blue|green]\nsay after"
LARGE = "x" * 100_000


def waiting(run: Run) -> bool:
    return run.status in (RunStatus.INPUT_REQUIRED, RunStatus.AUTH_REQUIRED)


async def leave_waiting(folder: Path, script: str, **asked: Any) -> Run:
    """A run that waits, of a wrapper that was stopped."""
    async with wrapper(folder) as agent:
        request = CodingRequest(cwd=str(agent.cwd), permission_mode="ask", **asked)
        return await agent.until(await agent.start(script, request=request), waiting)


def texts(events: list[tuple[str, JsonObject]]) -> list[str]:
    return [data["text"] for name, data in events if name == "agent_message"]


async def test_a_question_waits_over_a_restart_and_the_run_goes_on_behind_it(
    tmp_path: Path,
) -> None:
    left = await leave_waiting(tmp_path, ASK)
    async with wrapper(tmp_path) as agent:
        run = await agent.tasks.get("local", left.id)
        assert (run.status, run.pending) == (RunStatus.INPUT_REQUIRED, left.pending)
        await agent.tell(run, {"request_id": "question-1", "answers": {"answer": "green"}})
        run = await agent.ended(run)
        events = await agent.events(run)
    assert run.status is RunStatus.COMPLETED
    assert texts(events) == ["before", "Which colour? green", "after"]
    assert [name for name, _ in events].count("run_started") == 1


@pytest.mark.parametrize(("option", "status"), [("allow", "completed"), ("deny", "declined")])
async def test_a_permission_waits_over_a_restart(option: str, status: str, tmp_path: Path) -> None:
    left = await leave_waiting(tmp_path, 'permission Bash {"command": "make"}\nsay done')
    async with wrapper(tmp_path) as agent:
        await agent.tell(left, {"request_id": left.pending[0].request_id, "option": option})
        run = await agent.ended(left)
        finished = [data for name, data in await agent.events(run) if name == "tool_finished"]
    assert run.status is RunStatus.COMPLETED
    assert [data["status"] for data in finished] == [status]


async def test_what_was_asked_is_whole_again_after_a_restart(tmp_path: Path) -> None:
    # The record keeps a preview of a large input; the permission is for the whole of it.
    script = f"permission Write {json.encode({'content': LARGE})}"
    left = await leave_waiting(tmp_path, script)
    async with wrapper(tmp_path) as agent:
        await agent.tell(left, {"request_id": left.pending[0].request_id, "option": "allow"})
        run = await agent.ended(left)
        page = await agent.tasks.events("local", run.id, limit=1000)
        [started] = [event for event in page.events if event.type == "tool_started"]
        whole = await agent.tasks.whole(run, started)
    assert whole["input"] == {"content": LARGE}


async def test_of_several_requests_one_is_answered_before_and_one_after(tmp_path: Path) -> None:
    script = "open ask First?\nopen ask Second?\nwait\nsay done"
    async with wrapper(tmp_path) as agent:
        run = await agent.start(script)
        run = await agent.until(run, lambda run: len(run.pending) == 2)
        await agent.tell(run, {"request_id": "question-1", "answers": {"answer": "one"}})
        run = await agent.until(run, lambda run: len(run.pending) == 1)
    async with wrapper(tmp_path) as agent:
        with pytest.raises(AnswerRefusedError) as refused:
            await agent.tell(run, {"request_id": "question-1", "answers": {"answer": "again"}})
        await agent.tell(run, {"request_id": "question-2", "answers": {"answer": "two"}})
        run = await agent.ended(run)
        said = texts(await agent.events(run))
    assert refused.value.code == "already_answered"
    assert run.status is RunStatus.COMPLETED
    assert said[-2:] == ["Second? two", "done"]


async def test_nothing_is_resumed_before_every_request_has_its_answer(tmp_path: Path) -> None:
    async with wrapper(tmp_path) as agent:
        run = await agent.start("open ask First?\nopen ask Second?\nwait\nsay done")
        run = await agent.until(run, lambda run: len(run.pending) == 2)
    async with wrapper(tmp_path) as agent:
        await agent.tell(run, {"request_id": "question-2", "answers": {"answer": "two"}})
        run = await agent.until(run, lambda run: len(run.pending) == 1)
        assert run.status is RunStatus.INPUT_REQUIRED
        assert texts(await agent.events(run)) == []
        await agent.tell(run, text="one")
        run = await agent.ended(run)
        assert texts(await agent.events(run)) == ["Second? two", "First? one", "done"]


async def test_a_run_that_came_back_is_cancelled_like_any_other(tmp_path: Path) -> None:
    left = await leave_waiting(tmp_path, ASK)
    async with wrapper(tmp_path) as agent:
        with anyio.fail_after(5):
            run = await agent.tasks.cancel("local", left.id)
    assert run.status is RunStatus.CANCELLED


async def test_an_answer_that_says_stop_ends_it(tmp_path: Path) -> None:
    left = await leave_waiting(tmp_path, "permission Bash {}\nsay done")
    async with wrapper(tmp_path) as agent:
        await agent.tell(left, {"request_id": left.pending[0].request_id, "option": "abort"})
        run = await agent.ended(left)
    assert (run.status, run.error and run.error.reason) == (
        RunStatus.CANCELLED,
        "stopped_by_answer",
    )


async def test_an_answer_that_says_stop_waits_for_no_other(tmp_path: Path) -> None:
    async with wrapper(tmp_path) as agent:
        request = CodingRequest(cwd=str(agent.cwd), permission_mode="ask")
        script = "open ask First?\nopen permission Bash {}\nwait"
        run = await agent.start(script, request=request)
        run = await agent.until(run, lambda run: len(run.pending) == 2)
    async with wrapper(tmp_path) as agent:
        await agent.tell(run, {"request_id": run.pending[1].request_id, "option": "abort"})
        run = await agent.ended(run)
    assert (run.status, run.pending) == (RunStatus.CANCELLED, ())


async def test_a_login_is_waited_for_over_a_restart(tmp_path: Path) -> None:
    left = await leave_waiting(tmp_path, "auth log in first\nsay done")
    async with wrapper(tmp_path) as agent:
        run = await agent.tasks.get("local", left.id)
        assert run.status is RunStatus.AUTH_REQUIRED
        await agent.tell(run, text="logged in")
        run = await agent.ended(run)
    assert run.status is RunStatus.COMPLETED


async def test_a_session_that_is_lost_ends_the_run_as_interrupted(tmp_path: Path) -> None:
    left = await leave_waiting(tmp_path, ASK)
    for file in (tmp_path / "scripted").glob("*.turn.json"):
        file.unlink()
    async with wrapper(tmp_path) as agent:
        await agent.tell(left, text="green")
        run = await agent.ended(left)
    assert (run.status, run.error and run.error.reason) == (RunStatus.FAILED, "interrupted")


async def test_a_context_that_waits_keeps_its_turn_over_a_restart(tmp_path: Path) -> None:
    left = await leave_waiting(tmp_path, ASK)
    async with wrapper(tmp_path) as agent:
        next_ = await agent.start("recall", context_id=left.context_id)
        queued = agent.tasks.queue_state(next_.id)
        assert queued is not None
        assert queued.blocked_by == left.id
        await agent.tell(left, text="green")
        next_ = await agent.ended(next_)
    assert next_.result is not None
    assert next_.result.final_response == "after"


# -- time limits -----------------------------------------------------------------------------------


async def test_a_request_that_nobody_answers_takes_its_declared_default(agent: Wrapper) -> None:
    request = CodingRequest(cwd=str(agent.cwd), permission_mode="ask", limits=Limits(answer_s=0.05))
    run = await agent.start("permission Bash {}\nask Colour?\nsay done", request=request)
    run = await agent.ended(run)
    events = await agent.events(run)
    asked = [data["pending"][0] for name, data in events if name == "input_required"]
    gone = [data for _, data in events if data.get("how")]
    assert run.status is RunStatus.COMPLETED
    assert [item["default"] for item in asked] == ["deny", DECIDE]
    assert all(item["expires_at"] for item in asked)
    assert [data["how"] for data in gone] == ["expired", "expired"]
    assert [d["status"] for name, d in events if name == "tool_finished"] == ["declined"]
    with pytest.raises(RunEndedError, match="completed"):
        await agent.tell(run, {"request_id": "permission-1", "option": "allow"})


async def test_an_answer_in_time_is_the_answer(agent: Wrapper) -> None:
    request = CodingRequest(cwd=str(agent.cwd), limits=Limits(answer_s=600))
    run = await agent.until(await agent.start("ask Colour?", request=request), waiting)
    await agent.tell(run, text="green")
    run = await agent.ended(run)
    assert texts(await agent.events(run)) == ["Colour? green"]


async def test_a_limit_goes_on_counting_while_nobody_serves(tmp_path: Path) -> None:
    left = await leave_waiting(tmp_path, "ask Colour?\nsay done", limits=Limits(answer_s=0.3))
    async with wrapper(tmp_path) as agent:
        run = await agent.ended(left)
        how = [data.get("how") for _, data in await agent.events(run) if data.get("resolved")]
    assert run.status is RunStatus.COMPLETED
    assert how == ["expired"]


# -- real processes --------------------------------------------------------------------------------


async def until_type(wrapper: Launched, task: JsonObject, name: str) -> JsonObject:
    """The run's first event of that type."""
    async for event in wrapper.events(task["id"]):
        if event["type"] == name:
            return event
    raise AssertionError(f"no {name}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_wrappers_question_is_answered_at_the_next_one(
    number: int, environment: dict[str, str], tmp_path: Path
) -> None:
    async with launched(environment, "scripted") as wrapper:
        task = await wrapper.send(ASK, tmp_path, wait=False)
        asked = await until_type(wrapper, task, "input_required")
        await wrapper.stop(number)
    async with launched(environment, "scripted") as wrapper:
        again = await wrapper.rpc("GetTask", {"id": task["id"]})
        assert again["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        request_id = asked["data"]["pending"][0]["request_id"]
        answer = {"request_id": request_id, "answers": {"answer": "blue"}}
        message = {"messageId": "m-2", "taskId": task["id"], "role": "ROLE_USER"}
        message["parts"] = [{"data": answer}]
        done = await wrapper.rpc("SendMessage", {"message": message})
        assert done["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
        events = [event async for event in wrapper.events(task["id"])]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["data"]["final_response"] == "after"


async def test_a_command_that_a_killed_wrapper_left_is_told_as_interrupted(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with launched(environment, "scripted") as wrapper:
        task = await wrapper.send("run sleep 600", tmp_path, wait=False)
        await until_type(wrapper, task, "command_started")
        await wrapper.stop(signal.SIGKILL)
    async with launched(environment, "scripted") as wrapper:
        *_, command, end = [event async for event in wrapper.events(task["id"])]
    assert (command["type"], command["data"]["status"]) == ("command_finished", "interrupted")
    assert (end["type"], end["data"]["reason"]) == ("run_failed", "interrupted")
