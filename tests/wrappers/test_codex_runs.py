"""Codex as an agent: the real binary and a scripted model, from the message to the last event."""

import base64
import json

import anyio
import pytest

from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    CommandFinished,
    CommandStarted,
    CommandUpdated,
    Event,
    FileChanged,
    Reasoning,
    Rejected,
    RunCompleted,
    RunFailed,
    RunStarted,
    StatusChanged,
    TodoUpdated,
    decode,
    encode,
)
from gateway.core.extension import CodingRequest, Limits
from gateway.core.messages import DataPart, FilePart, Message, TextPart, user_text
from tests.wrappers.codex_bench import (
    PATIENCE_S,
    Bench,
    Gate,
    only,
    play,
    turn_of,
    types,
)
from wrappers.adapter import Bound, Step, UnsupportedError
from wrappers.codex.deltas import INTERVAL_S

ECHO = "/bin/bash -lc 'echo hi'"


async def test_a_run_tells_of_all_its_work_in_order_and_with_the_contracts_keys(
    bench: Bench,
) -> None:
    script = "@reason why\n@note on it\n@sh echo hi\n@patch a.txt hello\n@todo a|b|c 1\n@say done"
    steps = await play(await bench.open(), script)
    assert types(steps) == [
        "run_started",
        "reasoning",
        "agent_message",
        "command_started",
        "command_finished",
        "file_changed",
        "todo_updated",
        "agent_message",
        "artifact_added",
        "run_completed",
    ]
    (bound,), (started,) = only(Bound, steps), only(RunStarted, steps)
    assert started.extra["thread_id"] == bound.vendor_session
    assert [event.text for event in only(Reasoning, steps)] == ["why"]
    assert [event.text for event in only(AgentMessage, steps)] == ["on it", "done"]
    (begun,), (ended,) = only(CommandStarted, steps), only(CommandFinished, steps)
    assert (begun.command, begun.extra["status"], begun.extra["output"]) == (
        ECHO,
        "in_progress",
        "",
    )
    assert (ended.command, ended.output, ended.status, ended.exit_code) == (
        ECHO,
        "hi\n",
        "completed",
        0,
    )
    assert begun.tool_use_id == ended.tool_use_id
    (changed,) = only(FileChanged, steps)
    path = bench.work / "a.txt"
    assert changed.changes == [
        {"path": str(path), "kind": "add", "diff": "@@ -0,0 +1,1 @@\n+hello\n"}
    ]
    assert path.read_text("utf-8") == "hello\n"
    (todo,) = only(TodoUpdated, steps)
    assert [(item["text"], item["completed"]) for item in todo.items] == [
        ("a", True),
        ("b", False),
        ("c", False),
    ]
    (diff,) = only(ArtifactAdded, steps)
    assert "+hello" in (diff.text or "")
    (end,) = only(RunCompleted, steps)
    assert end.final_response == "done"
    assert end.structured_output is None
    assert end.usage is not None
    assert end.usage["input_tokens"] == 4000  # four answers of the scripted model


async def test_a_streamed_answer_comes_once_and_whole(bench: Bench) -> None:
    steps = await play(await bench.open(), "@stream 40 0.02 word")
    (message,) = only(AgentMessage, steps)
    assert message.text == "word" * 40
    assert not [event for event in only(StatusChanged, steps) if "delta" in event.extra]


async def test_a_commands_output_comes_while_it_runs_and_whole_at_its_end(bench: Bench) -> None:
    command = "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.1; done"
    steps = await play(await bench.open(), f"@sh {command}\n@say done")
    updates = only(CommandUpdated, steps)
    (ended,) = only(CommandFinished, steps)
    assert 1 <= len(updates) <= 0.6 / INTERVAL_S + 3
    # Codex does not send every piece: the end alone has it all.
    assert "".join(update.output or "" for update in updates) in (ended.output or "")
    assert (ended.output or "").count("line") == 6


async def test_a_failing_command_is_failed_and_the_run_completes(bench: Bench) -> None:
    steps = await play(await bench.open(), "@sh exit 3\n@say went on")
    (ended,) = only(CommandFinished, steps)
    assert (ended.status, ended.exit_code) == ("failed", 3)
    assert types(steps)[-1] == "run_completed"


async def test_a_command_that_outlives_the_turn_is_closed_as_background(bench: Bench) -> None:
    steps = await play(await bench.open(), "@background 300 sleep 30\n@say done")
    (ended,) = only(CommandFinished, steps)
    assert ended.status == "background"
    assert types(steps)[-1] == "run_completed"


async def test_the_next_run_of_a_context_goes_on_in_its_thread(bench: Bench) -> None:
    session = await bench.open()
    first = await play(session, "@say the word is mirabelle")
    second = await play(session, "@say again", run_id="r-2")
    assert only(Bound, first) == only(Bound, second)
    assert "mirabelle" in bench.said()
    (end,) = only(RunCompleted, second)
    assert end.usage is not None
    assert end.usage["total_tokens"] == 1050  # this run's alone


async def test_a_new_process_resumes_the_thread_with_its_profile_and_tools(bench: Bench) -> None:
    first = await play(await bench.open(profile="You are Ada."), "@say mirabelle")
    (bound,) = only(Bound, first)
    await bench.adapters[0].close()
    bench.adapter()
    session = await bench.open(session=bound.vendor_session, profile="You are Ada.")
    second = await play(session, "@say again")
    assert {step.vendor_session for step in only(Bound, second)} == {bound.vendor_session}
    assert bench.said().count("You are Ada.") == 1
    assert "mirabelle" in bench.said()
    assert "ask_orchestrator" in str(bench.model.requests[-1]["tools"])
    (end,) = only(RunCompleted, second)
    assert end.usage is not None
    assert end.usage["total_tokens"] == 1050


async def test_a_session_that_codex_lost_starts_anew_and_says_so(bench: Bench) -> None:
    session = await bench.open(session="01990000-0000-7000-8000-000000000000")
    steps = await play(session, "@say hello")
    assert "session_lost" in [event.reason for event in only(StatusChanged, steps)]
    (bound,) = only(Bound, steps)
    assert bound.vendor_session != "01990000-0000-7000-8000-000000000000"
    assert types(steps)[-1] == "run_completed"


async def test_model_and_effort_hold_for_their_run_alone(bench: Bench) -> None:
    session = await bench.open()
    await play(session, "@say one", model="gpt-5.4", effort="low")
    await play(session, "@say two")
    models = [request["model"] for request in bench.model.requests]
    assert models == ["gpt-5.4", "gpt-5.5"]
    assert bench.model.requests[0]["reasoning"]["effort"] == "low"


NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


async def test_an_answer_that_fits_the_schema_is_structured_and_an_artifact(bench: Bench) -> None:
    steps = await play(await bench.open(), '@say {"n": 3}', output_schema=NUMBER)
    assert types(steps)[-2:] == ["artifact_added", "run_completed"]
    (end,), (artifact,) = only(RunCompleted, steps), only(ArtifactAdded, steps)
    assert end.structured_output == {"n": 3}
    assert artifact.name == "structured-output"
    assert artifact.parts == [{"data": {"n": 3}, "mediaType": "application/json"}]
    assert bench.model.requests[0]["text"]["format"]["schema"]["required"] == ["n"]


@pytest.mark.parametrize("said", ['{"n": "three"}', "three"])
async def test_an_answer_that_does_not_fit_the_schema_is_repaired_once(
    bench: Bench, said: str
) -> None:
    script = f'@say {said}\n@next say {{"n": 3}}'
    steps = await play(await bench.open(), script, output_schema=NUMBER)
    (end,) = only(RunCompleted, steps)
    assert end.structured_output == {"n": 3}
    assert types(steps).count("run_started") == types(steps).count("artifact_added") == 1
    assert "schema_mismatch" in [event.reason for event in only(StatusChanged, steps)]
    assert "nothing but JSON that fits the schema" in bench.said()
    assert bench.model.requests[-1]["text"]["format"]["schema"]["required"] == ["n"]
    assert end.usage is not None
    assert end.usage["total_tokens"] == 2100  # of both turns


async def test_an_answer_that_does_not_fit_twice_fails_the_run(bench: Bench) -> None:
    script = '@say {"n": "three"}\n@next say {"n": "four"}'
    steps = await play(await bench.open(), script, output_schema=NUMBER)
    (end,) = only(RunFailed, steps)
    assert end.reason == "schema_mismatch"
    assert end.extra["final_response"] == '{"n": "four"}'
    assert end.usage is not None
    assert end.usage["total_tokens"] == 2100
    assert len(bench.model.requests) == 2


async def test_a_repair_hears_what_is_said_to_the_run(bench: Bench) -> None:
    session, gate = await bench.open(), Gate(bench.work)
    script = "@say three\n@next sh cat gate"
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of(script, output_schema=NUMBER)):
            steps.append(step)
            if isinstance(step, CommandStarted):
                assert await session.steer(user_text("m-2", "mind the gap"))
                await gate.open()
    assert "mind the gap" in bench.said()
    assert only(RunFailed, steps)[0].reason == "schema_mismatch"


async def test_a_repair_can_be_cancelled(bench: Bench) -> None:
    session = await bench.open()
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of("@say three\n@next sleep 60", output_schema=NUMBER)):
            steps.append(step)
            if isinstance(step, StatusChanged) and step.reason == "schema_mismatch":
                await session.cancel()
    assert isinstance(steps[-1], StatusChanged)
    assert steps[-1].status == "cancelled"


async def test_a_schema_that_points_elsewhere_is_not_fetched(bench: Bench) -> None:
    # Validating would have asked the address in a `$ref`, with the wrapper's rights.
    schema = {"type": "object", "properties": {"n": {"$ref": f"{bench.model.url}/models"}}}
    steps = await play(await bench.open(), '@say {"n": 3}\n@next say {}', output_schema=schema)
    assert types(steps)[-1] == "run_completed"
    assert "a $ref leads nowhere" in str(only(StatusChanged, steps))


async def test_images_data_and_text_files_reach_the_model(bench: Bench) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    parts = (
        TextPart(text="look"),
        DataPart(data={"answer": 42}),
        FilePart(raw=pixel, media_type="image/png", name="dot.png"),
        FilePart(raw=base64.b64encode(b"plain words").decode(), name="notes.txt"),
    )
    await play(await bench.open(), Message(message_id="m", role="user", parts=parts))
    said = bench.said()
    assert '{"answer":42}' in said
    assert "plain words" in said
    assert "data:image/png;base64," in said


async def test_a_file_that_is_neither_text_nor_image_is_refused(bench: Bench) -> None:
    parts = (FilePart(raw=base64.b64encode(b"\xff\xfe\x00").decode(), name="a.bin"),)
    steps = await play(await bench.open(), Message(message_id="m", role="user", parts=parts))
    (end,) = only(Rejected, steps)
    assert "a.bin" in end.message


async def test_what_codex_cannot_keep_is_refused_by_name(bench: Bench) -> None:
    adapter = bench.adapter()
    with pytest.raises(UnsupportedError, match=r"limits\.max_turns"):
        adapter.check(CodingRequest(limits=Limits(max_turns=3)))
    with pytest.raises(UnsupportedError, match=r"limits\.max_cost_usd"):
        adapter.check(CodingRequest(limits=Limits(max_cost_usd=1)))
    with pytest.raises(UnsupportedError, match="output_schema"):
        adapter.check(CodingRequest(output_schema={"type": "no such type"}))
    adapter.check(CodingRequest(permission_mode="plan", sandbox="read-only", model="any"))


async def test_every_event_has_a_json_form(bench: Bench) -> None:
    steps = await play(await bench.open(), "@sh echo hi\n@patch a.txt x\n@todo a 0\n@say ok")
    for event in steps:
        if isinstance(event, Event):
            data = json.loads(json.dumps(encode(event)))
            assert encode(decode(event.type, data)) == data
