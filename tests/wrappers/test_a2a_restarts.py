"""What callers see when a wrapper ends while a real CLI waits for them: nothing but the wait.

The wrapper is killed or stopped, another one starts at another port on the same state, and the
answer takes effect in the vendor's resumed session. A scripted model does not understand what the
resumed session is told, so `Place.then` says what it makes of that.
"""

import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from gateway.core.json import JsonObject
from tests.models import anthropic_messages, openai_responses
from tests.wrappers.a2a_case import (
    VENDORS,
    Station,
    Vendor,
    final,
    pending,
    served,
    state,
)
from tests.wrappers.held import PATIENCE_S

FIRST = "The first words of the task."
COMMAND = "echo once >> made"
TOLD = "You were interrupted while you waited"  # how a resumed session's message begins


READERS = {
    "codex": (openai_responses, "read_script"),
    "claude_code": (anthropic_messages, "next_step"),
}


@dataclass(slots=True, kw_only=True)
class Place:
    """Where wrappers follow one another: `start` starts the next.

    `then` is the script of the model from the moment it is told that the run goes on.
    """

    vendor: Vendor
    start: Callable[[], AbstractAsyncContextManager[Station]]
    cwd: Path
    then: str = ""

    def heard(self, said: Any) -> Any:
        """A request to the model with `then` behind the words that it stands for."""
        match said:
            case dict():
                return {key: self.heard(value) for key, value in cast(JsonObject, said).items()}
            case list():
                return [self.heard(item) for item in cast("list[Any]", said)]
            case str() if said.startswith(TOLD):
                return f"{said}\n{self.then}"
            case _:
                return said

    def made(self) -> str:
        """What the command has done so far."""
        file = self.cwd / "made"
        return file.read_text("utf-8") if file.exists() else ""


@pytest.fixture(params=["codex", "claude_code"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Place]:
    vendor = VENDORS[request.param]
    module, reader = READERS[vendor.name]
    cwd = tmp_path / "root" / "work"
    cwd.mkdir(parents=True)
    async with module.running() as model:
        place = Place(vendor=vendor, start=lambda: served(vendor, model, tmp_path), cwd=cwd)
        read: Callable[[JsonObject], Any] = getattr(module, reader)

        def hear(body: JsonObject) -> Any:
            return read(place.heard(body))

        monkeypatch.setattr(module, reader, hear)
        yield place


async def left(
    place: Place, script: str, mode: str = "ask", *, count: int = 1, end: int = signal.SIGKILL
) -> JsonObject:
    """A run of which `count` requests wait, of a wrapper that is no more."""
    async with place.start() as station:
        text = f"{FIRST}\n{script}"
        task = await station.send(text, place.cwd, wait=False, permission_mode=mode)
        await station.until(task, lambda event: len(event["data"].get("pending", ())) == count)
        task = await station.get(task)
        assert state(task) == "input_required"
        station.wrapper.process.send_signal(end)
        with anyio.fail_after(PATIENCE_S):
            await station.wrapper.process.wait()
    assert place.made() == ""
    return task


async def waiting(station: Station, task: JsonObject) -> list[JsonObject]:
    """What the run waits for, which is what it waited for before."""
    now = await station.get(task)
    assert state(now) == "input_required"
    assert pending(now) == pending(task)
    return pending(now)


async def test_a_permission_is_answered_after_a_stop_and_its_command_runs_once(
    place: Place,
) -> None:
    task = await left(place, f"@sh {COMMAND}\n@say no", end=signal.SIGTERM)
    place.then = f"@sh {COMMAND}\n@say done"
    async with place.start() as station:
        (request,) = await waiting(station, task)
        ended = await station.answer(task, {"request_id": request["request_id"], "option": "allow"})
        assert (state(ended), final(ended)) == ("completed", "done")
        assert place.made() == "once\n"
        assert FIRST in station.told()
        events = await station.events(task)
    types = [event["type"] for event in events]
    assert types.count("run_started") == types.count("input_required") == 1
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


async def test_what_was_allowed_after_a_kill_is_done_once_and_all_else_is_asked_anew(
    place: Place,
) -> None:
    task = await left(place, f"@sh {COMMAND}\n@say no")
    again = f"@sh {COMMAND}\n" * 2
    place.then = f"{again}@sh echo other >> made\n@say done"
    async with place.start() as station:
        (request,) = await waiting(station, task)
        answer = {"request_id": request["request_id"], "option": "allow"}
        asked = await station.answer(task, answer)
        assert state(asked) == "input_required", asked
        assert place.made() == "once\n"
        (second,) = pending(asked)
        assert second["request_id"] != request["request_id"]
        denied = {"request_id": second["request_id"], "option": "deny"}
        asked = await station.answer(task, denied)
        (third,) = pending(asked)
        assert "other" in third["input"]["command"]
        ended = await station.answer(task, {"request_id": third["request_id"], "option": "deny"})
        assert (state(ended), final(ended)) == ("completed", "done")
    assert place.made() == "once\n"


async def test_a_permission_is_denied_after_a_restart_and_the_model_hears_why(
    place: Place,
) -> None:
    task = await left(place, f"@sh {COMMAND}\n@say no")
    place.then = "@say left alone"
    async with place.start() as station:
        (request,) = await waiting(station, task)
        denied = {"request_id": request["request_id"], "option": "deny", "message": "too dear"}
        ended = await station.answer(task, denied)
        assert (state(ended), final(ended)) == ("completed", "left alone")
        assert "too dear" in station.told()
        assert FIRST in station.told()
    assert place.made() == ""


async def test_a_question_is_answered_after_a_restart(place: Place) -> None:
    task = await left(place, place.vendor.question, "auto")
    place.then = "@say thanks"
    async with place.start() as station:
        (request,) = await waiting(station, task)
        answers = {request["questions"][0]["id"]: "green"}
        ended = await station.answer(
            task, {"request_id": request["request_id"], "answers": answers}
        )
        assert (state(ended), final(ended)) == ("completed", "thanks")
        assert "green" in station.told()
        assert FIRST in station.told()


async def test_a_plan_is_approved_after_a_restart_and_carried_out(place: Place) -> None:
    task = await left(place, place.vendor.plan, "plan")
    place.then = f"@sh {COMMAND}\n@say done"
    option = "allow" if place.vendor.name == "codex" else "allow_session"
    async with place.start() as station:
        (request,) = await waiting(station, task)
        ended = await station.answer(task, {"request_id": request["request_id"], "option": option})
        assert (state(ended), final(ended)) == ("completed", "done")
        assert "approved" in station.told()
    assert place.made() == "once\n"


async def test_a_plan_is_sent_back_after_a_restart_and_handed_in_anew(place: Place) -> None:
    task = await left(place, place.vendor.plan, "plan")
    place.then = place.vendor.plan.replace("First", "Second")
    async with place.start() as station:
        (request,) = await waiting(station, task)
        denied = {
            "request_id": request["request_id"],
            "option": "deny",
            "message": "think again",
        }
        asked = await station.answer(task, denied)
        assert state(asked) == "input_required", asked
        assert "think again" in station.told()
        (another,) = pending(asked)
        assert (another["kind"], another["text"].strip()) == ("plan", "Second this.")
        ended = await station.answer(task, {"request_id": another["request_id"], "option": "abort"})
        assert state(ended) == "canceled"


async def test_two_requests_wait_over_a_restart_and_both_are_answered(place: Place) -> None:
    task = await left(place, place.vendor.two, count=2)
    place.then = "@sh touch two\n@sh touch one\n@say ok"
    async with place.start() as station:
        first, second = await waiting(station, task)
        waits = await station.answer(
            task, {"request_id": second["request_id"], "option": "allow"}, wait=False
        )
        assert [one["request_id"] for one in pending(waits)] == [first["request_id"]]
        ended = await station.answer(task, {"request_id": first["request_id"], "option": "allow"})
        assert (state(ended), final(ended)) == ("completed", "ok")
    assert {path.name for path in place.cwd.iterdir()} == {"one", "two"}


async def test_a_run_that_waits_over_a_restart_is_cancelled(place: Place) -> None:
    task = await left(place, f"@sh {COMMAND}\n@say no")
    async with place.start() as station:
        await waiting(station, task)
        ended = await station.wrapper.rpc("CancelTask", {"id": task["id"]})
        assert state(ended) == "canceled"
        again = await station.send("@say fine", context=task["contextId"])
        assert (state(again), final(again)) == ("completed", "fine")
    assert place.made() == ""


async def test_a_run_that_worked_when_its_wrapper_was_killed_says_so_and_its_session_goes_on(
    place: Place,
) -> None:
    async with place.start() as station:
        script = "@sh touch begun; sleep 600\n@say no"
        task = await station.send(script, place.cwd, wait=False)
        await station.until(task, lambda event: event["type"] == "command_started")
        station.wrapper.process.kill()
        with anyio.fail_after(PATIENCE_S):
            await station.wrapper.process.wait()
    async with place.start() as station:
        assert (await station.events(task))[-1]["data"]["reason"] == "interrupted"
        assert state(await station.get(task)) == "failed"
        again = await station.send("@say fine", context=task["contextId"])
        assert (state(again), final(again)) == ("completed", "fine")
