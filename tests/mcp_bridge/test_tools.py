"""The seven tools as a client sees them, in every way to reach them."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from mcp import MCPError
from mcp.types import INVALID_PARAMS

from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    CommandFinished,
    RunCompleted,
    RunFailed,
)
from tests.core.puppet import ME
from tests.mcp_bridge.house import PATIENCE_S, House

PUBLISHED_RUN = {
    "run_id", "backend", "role", "session_id", "agent_name", "status", "started_at",
    "updated_at", "summary", "last_seq", "cwd", "metadata", "remote_ref",
}  # fmt: skip


@pytest.mark.promise("spawn.handle")
async def test_spawn_answers_at_once_with_every_published_key(caller: House) -> None:
    spawned = await caller.call("spawn_run", **caller.task(metadata={"ticket": 7}))
    assert {"run_id", "backend", "role", "session_id", "agent_name", "status"} <= set(spawned)
    assert spawned["status"] == "queued"
    assert spawned["agent_name"] == "agent1"
    assert (spawned["backend"], spawned["role"]) == ("codex", "worker")
    run = await caller.call("get_run", run_id=spawned["run_id"])
    assert run["metadata"] == {"ticket": 7}
    assert run["cwd"] == str(caller.folder)


@pytest.mark.promise("poll.order")
async def test_a_run_is_followed_to_its_end_and_its_result_read(caller: House) -> None:
    run_id, puppet = await caller.begin()
    await puppet.say(AgentMessage(text="working on it"))
    first = await caller.call("poll_events", run_id=run_id, after_seq=0)
    assert first["events"][0]["type"] == "run_started"
    assert set(first["events"][0]) == {
        "seq", "ts", "run_id", "session_id", "backend", "type", "data"
    }  # fmt: skip
    await puppet.end(
        ArtifactAdded(artifact_id="a", name="report", parts=[{"text": "r"}], text="r"),
        RunCompleted(
            final_response="done", structured_output={"ok": True}, usage={"input_tokens": 3}
        ),
    )
    seen = first["events"]
    page = first
    while page["has_more"] or page["status"] != "completed":
        page = await caller.call("poll_events", run_id=run_id, after_seq=page["next_after_seq"])
        seen += page["events"]
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    run = await caller.call("get_run", run_id=run_id)
    assert set(run) >= PUBLISHED_RUN | {"result", "usage", "completed_at", "pending"}
    assert run["result"]["final_response"] == "done"
    assert run["result"]["structured_output"] == {"ok": True}
    assert run["result"]["artifacts"] == [
        {"artifact_id": "a", "name": "report", "seq": run["last_seq"] - 1}
    ]
    assert run["usage"] == {"input_tokens": 3}
    assert "error" not in run


@pytest.mark.promise("get.result")
async def test_a_failed_run_says_why(caller: House) -> None:
    run_id, puppet = await caller.begin()
    await puppet.end(RunFailed(message="no credit", reason="budget"))
    await caller.ended(run_id)
    run = await caller.call("get_run", run_id=run_id)
    assert run["status"] == "failed"
    assert run["error"] == {"message": "no credit", "reason": "budget"}


@pytest.mark.promise("continue.answer")
@pytest.mark.parametrize(
    "said",
    [
        {"answer": {"request_id": "q-1", "option": "allow"}},
        {"text": "yes"},
        {
            "input_message": {
                "role": "user",
                "parts": [{"type": "data", "data": {"request_id": "q-1", "option": "allow"}}],
            }
        },
    ],
)
async def test_a_question_is_shown_and_answered(caller: House, said: dict[str, Any]) -> None:
    run_id, puppet = await caller.begin()
    await puppet.ask("q-1")
    page = await caller.call("poll_events", run_id=run_id, after_seq=1)
    assert page["status"] == "input_required"
    assert [request["request_id"] for request in page["pending"]] == ["q-1"]
    answer = await caller.call("continue_run", run_id=run_id, **said)
    assert (answer["mode"], answer["did"], answer["run_id"]) == ("live", "answered", run_id)
    assert answer["status"] == "running"
    (heard,) = puppet.heard
    assert heard[1][0].option == "allow"
    again = await caller.refused("continue_run", run_id=run_id, answer={"request_id": "q-1"})
    assert "q-1" in again


@pytest.mark.promise("continue.steer")
async def test_a_running_run_is_steered_or_says_that_it_cannot(caller: House) -> None:
    run_id, puppet = await caller.begin()
    answer = await caller.call("continue_run", run_id=run_id, text="faster")
    assert (answer["mode"], answer["did"]) == ("live", "steered")
    assert puppet.heard == [("steer", "faster")]
    puppet.steerable = False
    assert "takes no message now" in await caller.refused(
        "continue_run", run_id=run_id, text="slower"
    )


@pytest.mark.promise("continue.kinds")
@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("yes", {"option": "allow"}),
        ("Deny", {"option": "deny"}),
        ("yes, but not there", {"option": "deny", "message": "yes, but not there"}),
    ],
)
async def test_what_plain_words_were_taken_for_is_said(
    one: House, text: str, understood: dict[str, str]
) -> None:
    run_id, puppet = await one.begin()
    await puppet.ask("q-1")
    answer = await one.call("continue_run", run_id=run_id, text=text)
    assert answer["answered"] == [{"request_id": "q-1", **understood}]


async def test_words_beside_an_answer_are_refused_and_not_lost(one: House) -> None:
    run_id, puppet = await one.begin()
    await puppet.ask("q-1")
    given = {"text": "because", "answer": {"request_id": "q-1", "option": "deny"}}
    assert "answer.message" in await one.refused("continue_run", run_id=run_id, **given)
    assert puppet.heard == []


@pytest.mark.promise("continue.resume")
async def test_an_ended_run_goes_on_as_a_new_run_of_its_session(caller: House) -> None:
    run_id, puppet = await caller.begin(
        nickname="ada", backend_config={"sandbox": "read-only"}, output_schema={"type": "object"}
    )
    await puppet.end(RunCompleted(final_response="one"))
    await caller.ended(run_id)
    answer = await caller.call("continue_run", run_id=run_id, text="and now?")
    assert (answer["mode"], answer["did"]) == ("resume", "resumed")
    assert answer["resumed_from_run_id"] == run_id
    assert answer["run_id"] != run_id
    assert answer["agent_name"] == "ada"
    new, old = [await caller.call("get_run", run_id=found) for found in (answer["run_id"], run_id)]
    assert new["session_id"] == old["session_id"]
    assert new["metadata"]["resumed_from_run_id"] == run_id
    request = (await caller.puppet(answer["run_id"])).run.request
    assert request.sandbox == "read-only"
    assert request.output_schema is None


async def test_an_ended_run_takes_no_answer(caller: House) -> None:
    run_id, puppet = await caller.begin()
    await puppet.end(RunCompleted(final_response="one"))
    await caller.ended(run_id)
    text = await caller.refused(
        "continue_run", run_id=run_id, answer={"request_id": "q-1", "option": "allow"}
    )
    assert "already completed" in text
    assert "continue_run with text" in text


@pytest.mark.promise("cancel.stop")
async def test_cancel_stops_a_run_and_twice_is_no_mistake(caller: House) -> None:
    run_id, _ = await caller.begin()
    first = await caller.call("cancel_run", run_id=run_id)
    assert set(first) == {"run_id", "status", "cancelled_at"}
    assert first["status"] == "cancelled"
    assert first["cancelled_at"].endswith("Z")
    assert await caller.call("cancel_run", run_id=run_id) == first


@pytest.mark.promise("cancel.ended")
async def test_a_completed_run_cannot_be_cancelled(caller: House) -> None:
    run_id, puppet = await caller.begin()
    await puppet.end(RunCompleted(final_response="one"))
    await caller.ended(run_id)
    assert "already completed" in await caller.refused("cancel_run", run_id=run_id)


@pytest.mark.promise("list.order")
async def test_runs_are_listed_newest_first_in_pages(caller: House) -> None:
    spawned = [(await caller.call("spawn_run", **caller.task()))["run_id"] for _ in range(5)]
    first = await caller.call("list_runs", limit=3)
    second = await caller.call("list_runs", limit=3, cursor=first["next_cursor"])
    assert "next_cursor" not in second
    listed = [run["run_id"] for run in first["runs"] + second["runs"]]
    assert listed == spawned[::-1]
    assert set(first["runs"][0]) >= PUBLISHED_RUN
    assert (await caller.call("list_runs", cwd=f"{caller.folder}/other"))["runs"] == []
    only = await caller.call("list_runs", agent_name="agent2", backend="codex")
    assert [run["run_id"] for run in only["runs"]] == [spawned[1]]


@pytest.mark.promise("artifact.whole")
async def test_a_cut_field_is_read_in_slices_of_whole_characters(caller: House) -> None:
    run_id, puppet = await caller.begin()
    output = "zwölf Boxkämpfer €\n" * 4000
    await puppet.say(CommandFinished(command="cat", output=output, exit_code=0))
    page = await caller.call("poll_events", run_id=run_id, after_seq=1)
    (event,) = page["events"]
    ref = event["data"]["artifact_refs"]["/output"]
    assert ref["total_bytes"] == len(output.encode())
    assert ref["relpath"] == "artifacts/000002-command_finished/manifest.json"
    read, offset, more = "", 0, True
    while more:
        piece = await caller.call(
            "get_event_artifact",
            run_id=run_id, seq=event["seq"], field_path="/output", offset=offset, limit=10_001,
        )  # fmt: skip
        read += piece["content"]
        assert piece["returned_bytes"] == len(piece["content"].encode()) <= 10_001
        offset, more = piece["offset"] + piece["returned_bytes"], piece["has_more"]
    assert read == output
    past = await caller.call(
        "get_event_artifact", run_id=run_id, seq=2, field_path="/output", offset=10**9
    )
    assert (past["returned_bytes"], past["has_more"], past["content"]) == (0, False, "")
    text = await caller.refused("get_event_artifact", run_id=run_id, seq=2, field_path="/nope")
    assert "/output" in text


@pytest.mark.promise("poll.wait")
async def test_a_waiting_poll_is_woken_by_the_next_event(caller: House) -> None:
    run_id, puppet = await caller.begin()
    pages: list[dict[str, Any]] = []

    async def wait() -> None:
        pages.append(await caller.call("poll_events", run_id=run_id, after_seq=1))

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            # Not wait_all_tasks_blocked: on a busy machine some task of the server always moves.
            live = caller.puppets.tasks.log._live.active(run_id)  # pyright: ignore[reportPrivateUsage]
            assert live is not None
            while not live.waiters:
                await anyio.lowlevel.checkpoint()
            await puppet.say(AgentMessage(text="hello"))
    assert [event["data"]["text"] for event in pages[0]["events"]] == ["hello"]


@pytest.mark.promise("poll.cancel")
async def test_cancelling_a_poll_ends_the_wait_only(caller: House) -> None:
    run_id, puppet = await caller.begin()
    with anyio.move_on_after(0.05) as scope:
        await caller.client.call_tool("poll_events", {"run_id": run_id, "after_seq": 1})
    assert scope.cancelled_caught
    assert puppet.heard == []
    assert (await caller.call("get_run", run_id=run_id))["status"] == "running"


@pytest.mark.promise("spawn.message")
async def test_the_message_reaches_the_agent_as_it_was_given(caller: House) -> None:
    run_id, puppet = await caller.begin(
        prompt="look at this",
        input_message={
            "role": "user",
            "parts": [
                {"type": "data", "data": {"n": 1}},
                {"type": "file", "uri": "file:///a.txt", "mime_type": "text/plain"},
            ],
            "metadata": {"from": "me"},
        },
    )
    run = await caller.puppets.tasks.get(ME, run_id)
    assert run.message.text == "look at this"
    assert [type(part).__name__ for part in run.message.parts] == [
        "TextPart", "DataPart", "FilePart"
    ]  # fmt: skip
    assert run.message.metadata == {"from": "me"}
    assert puppet.run.principal == ME


@pytest.mark.promise("catalog.unknown")
async def test_an_unknown_tool_is_an_error_of_the_protocol_that_names_the_tools(
    caller: House,
) -> None:
    # It was a result with isError, which a conformance suite took for a tool's own answer.
    with anyio.fail_after(PATIENCE_S), pytest.raises(MCPError) as refused:
        await caller.client.call_tool("spawn_agent", {})
    assert refused.value.code == INVALID_PARAMS
    assert str(refused.value).startswith("no tool 'spawn_agent'; the tools are spawn_run, ")
    assert "\n" not in str(refused.value)
