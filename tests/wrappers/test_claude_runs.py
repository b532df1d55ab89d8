"""Runs of the real Claude Code: what it does becomes events, and its end the run's end."""

import pytest

from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    CommandFinished,
    CommandStarted,
    FileChanged,
    Reasoning,
    Rejected,
    RunCompleted,
    RunFailed,
    RunStarted,
    StatusChanged,
    TodoUpdated,
    ToolFinished,
    ToolStarted,
)
from gateway.core.json import JsonObject
from gateway.core.structured import fault_of_output
from tests.wrappers.claude_case import Case, end, lines, of, only, turn_of
from wrappers.adapter import Bound, UnsupportedError

SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"type": "string"}},
    "required": ["verdict"],
    "additionalProperties": False,
}

SILENT = "@stop end_turn no"  # a whole message without structured output


async def test_a_spoken_answer_is_a_message_and_the_final_response(claude: Case) -> None:
    steps = await claude.run("@say Hello.")

    assert isinstance(steps[0], Bound)
    started = only(steps, RunStarted)
    assert started.extra["backend_session_id"] == steps[0].vendor_session
    running = of(steps, StatusChanged)[0]
    assert running.extra["backend_session_id"] == steps[0].vendor_session
    assert running.extra["permission_mode"] == "bypassPermissions"
    assert only(steps, AgentMessage).text == "Hello."
    completed = end(steps, RunCompleted)
    assert completed.final_response == "Hello."
    assert completed.usage is not None
    assert completed.usage["usage"]["input_tokens"] == 100
    assert completed.usage["num_turns"] == 1


async def test_a_streamed_answer_is_one_whole_message(claude: Case) -> None:
    steps = await claude.run("@stream 20 0.01 word ")

    assert only(steps, AgentMessage).text.split() == ["word"] * 20


async def test_thinking_is_reasoning(claude: Case) -> None:
    steps = await claude.run(lines("@reason First I look.", "@say Done."))

    assert [event.text for event in of(steps, Reasoning)] == ["First I look."]


async def test_a_command_starts_and_finishes_with_output_and_exit_code(claude: Case) -> None:
    steps = await claude.run(
        lines("@sh echo out; echo err >&2", "@sh echo boom; exit 3", "@say ok")
    )

    assert [event.command for event in of(steps, CommandStarted)] == [
        "echo out; echo err >&2",
        "echo boom; exit 3",
    ]
    good, bad = of(steps, CommandFinished)
    assert (good.output, good.exit_code, good.status) == ("out\nerr", 0, "completed")
    assert (bad.output, bad.exit_code, bad.status) == ("boom", 3, "failed")


async def test_written_and_edited_files_are_file_changes_with_diffs(claude: Case) -> None:
    steps = await claude.run(
        lines(r"@write note.txt one\ntwo\n", "@edit note.txt two => 2", "@say ok")
    )

    assert (claude.cwd / "note.txt").read_text("utf-8") == "one\n2\n"
    added, updated = [event.changes[0] for event in of(steps, FileChanged)]
    path = str(claude.cwd / "note.txt")
    assert added == {"path": path, "kind": "add", "diff": "@@ -0,0 +1,2 @@\n+one\n+two\n"}
    assert (updated["path"], updated["kind"]) == (path, "update")
    assert "-two\n+2\n" in updated["diff"]
    assert [event.tool for event in of(steps, ToolFinished)] == ["Write", "Edit"]


async def test_tasks_of_the_agent_are_its_todo_list(claude: Case) -> None:
    # The task tools come without a search only with this model.
    steps = await claude.run(lines("@todo Look|Change 1", "@say ok"), model="claude-haiku-4-5")

    assert of(steps, TodoUpdated)[-1].items == [
        {"text": "Look", "completed": True},
        {"text": "Change", "completed": False},
    ]
    assert not of(steps, ToolStarted)


async def test_a_sub_agent_is_a_tool_whose_words_are_reasoning(claude: Case) -> None:
    steps = await claude.run(lines("@agent @sh echo inside ;; @say report", "@say ok"))

    started, finished = only(steps, ToolStarted), only(steps, ToolFinished)
    assert (started.tool, finished.tool, finished.status) == ("Agent", "Agent", "completed")
    assert finished.extra["output"] == "report"
    command = only(steps, CommandFinished)
    assert command.output == "inside"
    assert command.extra["parent_tool_use_id"] == started.tool_use_id
    assert "report" in [event.text for event in of(steps, Reasoning)]
    assert [event.text for event in of(steps, AgentMessage)] == ["ok"]


async def test_structured_output_is_an_artifact_and_reaches_the_end(claude: Case) -> None:
    steps = await claude.run('@schema {"verdict": "pass"}', output_schema=SCHEMA)

    assert end(steps, RunCompleted).structured_output == {"verdict": "pass"}
    artifact = only(steps, ArtifactAdded)
    assert artifact is steps[-2]
    assert artifact.name == "structured-output"
    assert artifact.parts == [{"data": {"verdict": "pass"}, "mediaType": "application/json"}]


async def test_missing_structured_output_is_asked_for_once_more(claude: Case) -> None:
    # Not an error to the CLI: after one reminder of its own it lets the model end without.
    steps = await claude.run(
        lines(SILENT, SILENT, '@schema {"verdict": "late"}'), output_schema=SCHEMA
    )

    repairs = [step for step in of(steps, StatusChanged) if step.reason == "schema_mismatch"]
    assert len(repairs) == 1
    assert end(steps, RunCompleted).structured_output == {"verdict": "late"}
    assert any("cannot be used: there is none" in text for text in claude.heard())
    usage = end(steps, RunCompleted).usage
    assert usage is not None
    assert usage["usage"]["input_tokens"] == 100 * len(claude.model.requests)


async def test_output_that_stays_away_fails_the_run(claude: Case) -> None:
    steps = await claude.run(lines(*[SILENT] * 6), output_schema=SCHEMA)

    failed = end(steps, RunFailed)
    assert failed.reason == "schema_mismatch"
    assert failed.extra["final_response"] == "no"
    assert not of(steps, ArtifactAdded)


async def test_output_that_never_fits_fails_the_run_after_the_cli_s_own_five_tries(
    claude: Case,
) -> None:
    wrong = '@schema {"verdict": 1}'
    steps = await claude.run(lines(*[wrong] * 8), output_schema=SCHEMA)

    assert end(steps, RunFailed).reason == "schema_mismatch"
    assert len(claude.model.requests) == 5


async def test_a_run_without_a_schema_follows_one_with_it(claude: Case) -> None:
    await claude.run('@schema {"verdict": "pass"}', output_schema=SCHEMA)
    steps = await claude.run("@say free again")

    assert end(steps, RunCompleted).structured_output is None
    assert end(steps, RunCompleted).final_response == "free again"
    assert '@schema {"verdict": "pass"}' in claude.heard()


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "objekt"}, "no JSON Schema"),
        ({"type": "array"}, "at the top of the schema"),
        ({"type": "object", "title": "x" * 200_000}, "at most"),
    ],
)
async def test_a_schema_that_cannot_be_used_is_refused_by_name(
    claude: Case, schema: JsonObject, text: str
) -> None:
    with pytest.raises(UnsupportedError, match=text) as refused:
        claude.adapter.check(turn_of("x", output_schema=schema).request)
    assert refused.value.field == "output_schema"


@pytest.mark.parametrize(
    ("output", "schema", "fault"),
    [
        ({"verdict": "pass"}, SCHEMA, None),
        (None, SCHEMA, "there is none"),
        ({"verdict": 1}, SCHEMA, "at $.verdict 1 is not of type 'string'"),
        # Where the CLI's own check is laxer than the standard, ours is not.
        ({"n": True}, {"type": "object", "properties": {"n": {"type": "integer"}}}, "True is not"),
        ({}, {"type": "object", "$ref": "http://127.0.0.1:9/schema"}, "a $ref leads nowhere"),
    ],
)
def test_an_output_is_held_against_its_schema(
    output: object, schema: JsonObject, fault: str | None
) -> None:
    found = fault_of_output(output, schema)

    assert found == fault or (fault is not None and fault in (found or ""))


async def test_a_refusal_rejects_the_run(claude: Case) -> None:
    steps = await claude.run(lines(*["@refuse I will not"] * 6))

    assert end(steps, Rejected).reason == "refusal"


async def test_a_run_over_its_turns_fails_with_that_reason(claude: Case) -> None:
    steps = await claude.run(
        lines("@sh true", "@sh true", "@sh true", "@say ok"), limits={"max_turns": 2}
    )

    assert end(steps, RunFailed).reason == "max_turns"


async def test_usage_counts_one_run_and_not_the_session(claude: Case) -> None:
    one = end(await claude.run(lines("@sh true", "@say ok")), RunCompleted)
    two = end(await claude.run("@say ok"), RunCompleted)

    assert one.usage is not None
    assert two.usage is not None
    assert one.usage["total_cost_usd"] == pytest.approx(2 * two.usage["total_cost_usd"])
    (model,) = two.usage["model_usage"].values()
    assert model["inputTokens"] == 100
    assert two.usage["usage"]["input_tokens"] == 100


async def test_an_api_failure_is_no_success(claude: Case) -> None:
    steps = await claude.run("@http 400")

    failed = end(steps, RunFailed)
    assert failed.reason == "api_error"
    assert failed.extra["api_error_status"] == 400
    assert not of(steps, AgentMessage)


async def test_a_rate_limit_is_waited_out(claude: Case) -> None:
    steps = await claude.run(lines("@http 429 1", "@say through"))

    retries = [step for step in of(steps, StatusChanged) if step.extra.get("detail") == "api_retry"]
    assert [retry.extra["error_status"] for retry in retries] == [429]
    assert end(steps, RunCompleted).final_response == "through"
