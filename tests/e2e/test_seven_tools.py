"""The promises of the seven tools, kept end to end: stdio entry, gateway, A2A, a wrapper process.

The agent is the scripted one; tests with the real CLIs stand beside their adapters.
"""

import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.demo.stage import Stage, ToolRefusedError, stage

Json = dict[str, Any]
ENDS = {"completed", "failed", "cancelled", "rejected"}


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage]:
    async with stage(tmp_path_factory.mktemp("stage"), models="none") as running:
        yield running


async def spawn(world: Stage, prompt: str, **more: Any) -> Json:
    """A run of the scripted agent, unless `more` names another backend."""
    config: Json = more.pop("backend_config", {})
    if "backend" not in more:
        config = {"agent_url": world.agent_url} | config
    arguments: Json = {
        "backend": "remote_a2a",
        "role": "worker",
        "prompt": prompt,
        "cwd": str(world.project),
        "session_mode": "new",
        "backend_config": config,
    }
    return await world.call("spawn_run", arguments | more)


async def follow(world: Stage, run_id: str, *, until: set[str] = ENDS, limit: int = 100) -> Json:
    """The last page, with all events up to it."""
    events, after = list[Json](), 0
    with anyio.fail_after(30):
        while True:
            asked = {"run_id": run_id, "after_seq": after, "limit": limit}
            page = await world.call("poll_events", asked)
            events += page["events"]
            after = page["next_after_seq"]
            if page["status"] in until and not page["has_more"]:
                return {**page, "events": events}


async def done(world: Stage, prompt: str, **more: Any) -> Json:
    """A run played to its end, as get_run shows it."""
    run_id = (await spawn(world, prompt, **more))["run_id"]
    await follow(world, run_id)
    return await world.call("get_run", {"run_id": run_id})


async def refusal(world: Stage, tool: str, arguments: Json) -> str:
    with pytest.raises(ToolRefusedError) as refused:
        await world.call(tool, arguments)
    return str(refused.value)


def types(page: Json) -> list[str]:
    return [event["type"] for event in page["events"]]


# -- spawn ------------------------------------------------------------------------------------


@pytest.mark.promise("spawn.handle")
async def test_a_spawned_run_is_queued_and_has_a_handle_before_its_agent_begins(
    world: Stage,
) -> None:
    spawned = await spawn(world, "say hi")
    assert spawned["status"] == "queued"
    assert {"run_id", "session_id", "agent_name", "backend", "role"} <= set(spawned)
    await follow(world, spawned["run_id"])


@pytest.mark.promise("spawn.once")
async def test_the_same_call_under_the_same_key_is_the_same_run(world: Stage) -> None:
    first = await spawn(world, "say once", request_key="only-once")
    again = await spawn(world, "say once", request_key="only-once")
    assert again["run_id"] == first["run_id"]
    assert "another request" in await refused_spawn(world, "say other", request_key="only-once")


async def refused_spawn(world: Stage, prompt: str, **more: Any) -> str:
    with pytest.raises(ToolRefusedError) as refused:
        await spawn(world, prompt, **more)
    return str(refused.value)


@pytest.mark.promise("spawn.folder")
@pytest.mark.parametrize("cwd", ["relative/folder", "{project}/nowhere", "{project}/README.md"])
async def test_a_folder_that_cannot_be_worked_in_is_refused(world: Stage, cwd: str) -> None:
    text = await refused_spawn(
        world, "say hi", backend="codex", cwd=cwd.format(project=world.project)
    )
    assert "cwd" in text
    assert "\n" not in text


@pytest.mark.promise("spawn.unknown")
async def test_an_unknown_argument_is_named(world: Stage) -> None:
    assert "'colour'" in await refused_spawn(world, "say hi", backend_config={"colour": "blue"})
    assert "'flavour'" in await refused_spawn(world, "say hi", flavour="sweet")


@pytest.mark.promise("spawn.unreachable")
async def test_a_run_whose_agent_is_not_there_fails_and_the_next_one_works(world: Stage) -> None:
    # Port 9 (discard) of loopback: nobody listens there.
    gone = await done(world, "say hi", backend_config={"agent_url": "http://127.0.0.1:9"})
    assert (gone["status"], gone["error"]["reason"]) == ("failed", "agent_unreachable")
    assert (await done(world, "say hi"))["status"] == "completed"


# -- poll -------------------------------------------------------------------------------------


@pytest.mark.promise("poll.order")
@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_events_are_numbered_without_gaps_on_any_page_size(world: Stage, limit: int) -> None:
    script = "reason why\ncommand ls => a\nfile a.py\ntodo a|b 1\nstream 5 0 word\nsay end"
    run_id = (await spawn(world, script))["run_id"]
    page = await follow(world, run_id, limit=limit)
    assert [event["seq"] for event in page["events"]] == list(range(1, len(page["events"]) + 1))
    assert {"reasoning", "command_started", "command_finished", "file_changed"} <= set(types(page))


@pytest.mark.promise("poll.end")
async def test_the_page_that_shows_the_final_status_holds_the_last_event(world: Stage) -> None:
    page = await follow(world, (await spawn(world, "say bye"))["run_id"])
    assert (page["status"], types(page)[-1]) == ("completed", "run_completed")
    assert types(page).count("run_completed") == 1


@pytest.mark.promise("poll.prompt")
async def test_polling_a_run_that_waits_or_has_ended_does_not_wait(world: Stage) -> None:
    run_id = (await spawn(world, "ask Which? [a|b]\nsay ok"))["run_id"]
    for until in ({"input_required"}, ENDS):
        page = await follow(world, run_id, until=until)
        began = time.monotonic()
        asked = {"run_id": run_id, "after_seq": page["next_after_seq"], "wait_ms": 30_000}
        assert (await world.call("poll_events", asked))["events"] == []
        assert time.monotonic() - began < 10
        if page["status"] == "input_required":
            await world.call("continue_run", {"run_id": run_id, "text": "a"})


# -- continue ---------------------------------------------------------------------------------


@pytest.mark.promise("continue.answer")
async def test_plain_text_answers_the_one_question_and_the_run_goes_on(world: Stage) -> None:
    run_id = (await spawn(world, "ask Which colour? [blue|green]\nsay thanks"))["run_id"]
    await follow(world, run_id, until={"input_required"})
    answer = await world.call("continue_run", {"run_id": run_id, "text": "green"})
    assert (answer["run_id"], answer["mode"]) == (run_id, "live")
    # A caller who was still told `input_required` answered twice, and the second answer, too late,
    # became a run of its own.
    assert answer["status"] != "input_required"
    page = await follow(world, run_id)
    assert page["status"] == "completed"
    assert page["pending"] == []
    assert any("green" in event["data"].get("text", "") for event in page["events"])


@pytest.mark.promise("continue.kinds")
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("ask Which? [a|b]\nsay ok", "question"),
        ('permission Bash {"command": "ls"}\nsay ok', "permission"),
        ("plan First this, then that.\nsay ok", "plan"),
    ],
)
async def test_every_kind_of_request_is_answered_by_its_id(
    world: Stage, script: str, kind: str
) -> None:
    mode = {"permission_mode": "ask"}
    run_id = (await spawn(world, script, backend_config=mode))["run_id"]
    pending = (await follow(world, run_id, until={"input_required"}))["pending"]
    assert [request["kind"] for request in pending] == [kind]
    answer: Json = {"request_id": pending[0]["request_id"]}
    if kind == "question":
        answer["answers"] = {pending[0]["questions"][0]["id"]: "a"}
    else:
        answer["option"] = "allow"
    await world.call("continue_run", {"run_id": run_id, "answer": answer})
    assert (await follow(world, run_id))["status"] == "completed"


@pytest.mark.promise("continue.refused")
async def test_an_answer_to_a_request_that_is_not_pending_changes_nothing(world: Stage) -> None:
    run_id = (await spawn(world, "ask Which? [a|b]\nsay ok"))["run_id"]
    before = await follow(world, run_id, until={"input_required"})
    answer = {"request_id": "no-such-request", "option": "allow"}
    text = await refusal(world, "continue_run", {"run_id": run_id, "answer": answer})
    assert before["pending"][0]["request_id"] in text
    after = await follow(world, run_id, until={"input_required"})
    assert after["events"] == before["events"]
    await world.call("cancel_run", {"run_id": run_id})


@pytest.mark.promise("continue.resume")
async def test_continuing_a_run_that_ended_is_a_new_run_that_remembers(world: Stage) -> None:
    first = await done(world, "say The word is heron.")
    asked = {"run_id": first["run_id"], "text": "recall"}
    answer = await world.call("continue_run", asked)
    assert answer["mode"] == "resume"
    assert answer["resumed_from_run_id"] == first["run_id"] != answer["run_id"]
    assert answer["session_id"] == first["session_id"]
    page = await follow(world, answer["run_id"])
    assert any("heron" in event["data"].get("text", "") for event in page["events"])


# -- get and list -----------------------------------------------------------------------------


@pytest.mark.promise("get.result")
async def test_get_run_shows_what_a_run_came_to(world: Stage) -> None:
    good = await done(world, "say forty-two")
    assert good["result"]["final_response"] == "forty-two"
    bad = await done(world, "fail out of luck")
    assert bad["status"] == "failed"
    assert "out of luck" in bad["error"]["message"]


@pytest.mark.promise("list.order")
async def test_runs_are_listed_newest_first_page_by_page_and_filtered(
    world: Stage, tmp_path: Path
) -> None:
    here = {"cwd": str(tmp_path)}
    made = [(await done(world, f"say {n}", **here))["run_id"] for n in range(3)]
    first = await world.call("list_runs", {**here, "limit": 2})
    rest = await world.call("list_runs", {**here, "limit": 2, "cursor": first["next_cursor"]})
    assert [run["run_id"] for run in first["runs"] + rest["runs"]] == made[::-1]
    assert (await world.call("list_runs", {**here, "status": "failed"}))["runs"] == []


# -- cancel -----------------------------------------------------------------------------------


@pytest.mark.promise("cancel.stop")
async def test_cancel_stops_the_run_and_its_command(world: Stage) -> None:
    run_id = (await spawn(world, "say begun\nrun sleep 86399"))["run_id"]
    with anyio.fail_after(30):
        after, seen = 0, set[str]()
        while "command_started" not in seen:
            page = await world.call("poll_events", {"run_id": run_id, "after_seq": after})
            after = page["next_after_seq"]
            seen |= set(types(page))
    answer = await world.call("cancel_run", {"run_id": run_id})
    assert answer["status"] == "cancelled"
    assert answer["cancelled_at"]
    page = await follow(world, run_id)
    assert (types(page)[-1], page["events"][-1]["data"]["status"]) == (
        "status_changed",
        "cancelled",
    )


@pytest.mark.promise("cancel.ended")
async def test_a_completed_run_cannot_be_cancelled(world: Stage) -> None:
    run = await done(world, "say finished")
    assert "completed" in await refusal(world, "cancel_run", {"run_id": run["run_id"]})
    assert await world.call("get_run", {"run_id": run["run_id"]}) == run


# -- artifacts and errors ---------------------------------------------------------------------


@pytest.mark.promise("artifact.whole")
async def test_a_long_message_is_cut_in_its_event_and_read_whole_in_pages(world: Stage) -> None:
    length = 200_000
    run_id = (await spawn(world, f"big {length}\nsay small"))["run_id"]
    page = await follow(world, run_id)
    (event,) = [e for e in page["events"] if "/text" in e["data"].get("artifact_refs", {})]
    text = ""
    while True:
        asked = {"run_id": run_id, "seq": event["seq"], "field_path": "/text", "offset": len(text)}
        part = await world.call("get_event_artifact", asked)
        text += part["content"]
        if not part["has_more"]:
            break
    assert len(text) == part["total_bytes"] == length


@pytest.mark.promise("error.line")
@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("get_run", {"run_id": "nope"}, "list_runs"),
        ("poll_events", {"run_id": "nope", "after_seq": 0}, "list_runs"),
        ("cancel_run", {"run_id": "nope"}, "list_runs"),
        ("continue_run", {"run_id": "nope", "text": "hi"}, "list_runs"),
        ("get_event_artifact", {"run_id": "nope", "seq": 1, "field_path": "/x"}, "list_runs"),
        ("poll_events", {"run_id": "nope"}, "after_seq"),
        ("list_runs", {"status": "sleeping"}, "status"),
    ],
)
async def test_a_refusal_is_one_line_that_says_what_to_do(
    world: Stage, tool: str, arguments: Json, says: str
) -> None:
    text = await refusal(world, tool, arguments)
    assert says in text
    assert "\n" not in text
    assert "Traceback" not in text
