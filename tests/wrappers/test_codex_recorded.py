"""What the real Codex said, replayed: the recorded logs become the steps beside them.

python -m tests.wrappers.recorded codex SCENARIO      records one anew; read what changed
"""

from typing import Any

import pytest

from gateway.core.events import EVENT_TYPES
from tests.wrappers.recorded import logs
from tests.wrappers.recorded.codex.folds import replay
from tests.wrappers.recorded.codex.scenarios import SCENARIOS
from wrappers.codex import requests, tools
from wrappers.codex.deltas import INTERVAL_S
from wrappers.codex.events import HANDLED, OUTPUT_DELTA

TERMINAL = {"run_completed", "run_failed", "auth_required", "rejected"}


@pytest.mark.parametrize("name", logs.names("codex"))
def test_a_recorded_run_becomes_its_steps(name: str) -> None:
    recording = logs.load("codex", name)
    assert replay(recording.log) == recording.steps


def test_every_scenario_is_recorded_and_nothing_else() -> None:
    assert logs.names("codex") == sorted(SCENARIOS)


def events(name: str, *types: str) -> list[dict[str, Any]]:
    steps = logs.load("codex", name).steps
    return [step["data"] for step in steps if step.get("type") in types]


def all_steps() -> list[tuple[str, dict[str, Any]]]:
    return [(name, step) for name in logs.names("codex") for step in logs.load("codex", name).steps]


def test_the_recordings_have_every_kind_of_request_and_almost_every_event() -> None:
    heard = {
        line["heard"]
        for name in logs.names("codex")
        for line in logs.load("codex", name).log
        if "heard" in line
    }
    assert heard >= set(requests.METHODS)
    assert heard >= HANDLED
    types = {step["type"] for _, step in all_steps() if "type" in step}
    # The driver makes input_required of an ask; a refusal for policy needs OpenAI's own endpoint.
    assert set(EVENT_TYPES) - types == {"input_required", "rejected"}


@pytest.mark.parametrize("name", logs.names("codex"))
def test_a_run_begins_with_its_start_and_ends_with_its_end(name: str) -> None:
    steps = logs.load("codex", name).steps
    assert "bound" in steps[0]
    assert steps[1]["type"] == "run_started"
    last = steps[-1]
    assert last["type"] in TERMINAL or last["data"]["status"] == "cancelled"


@pytest.mark.parametrize("name", logs.names("codex"))
def test_what_is_started_is_finished_once(name: str) -> None:
    for started, finished in (
        ("command_started", "command_finished"),
        ("tool_started", "tool_finished"),
    ):
        begun = [event["tool_use_id"] for event in events(name, started)]
        ended = [event["tool_use_id"] for event in events(name, finished)]
        assert sorted(begun) == sorted(ended)


def test_every_ask_is_answered_or_withdrawn() -> None:
    for name in logs.names("codex"):
        recording = logs.load("codex", name)
        asks = [step["ask"] for step in recording.steps if "ask" in step]
        # A plan is the run's own question: it is answered by another turn.
        asked = {ask["request_id"] for ask in asks if ask["kind"] != "plan"}
        gone = {step["withdraw"] for step in recording.steps if "withdraw" in step}
        answers = [line["answered"] for line in recording.log if "answered" in line]
        assert asked == gone | {answer["request_id"] for answer in answers}


def test_a_file_change_carries_a_diff_of_hunks() -> None:
    changes = [
        change
        for name in logs.names("codex")
        for event in events(name, "file_changed")
        for change in event["changes"]
    ]
    assert {change["kind"] for change in changes} == {"add", "update", "delete"}
    assert all(change["diff"].startswith("@@ -") for change in changes)
    (moved,) = [change for change in changes if "move_path" in change]
    assert "Moved to" not in moved["diff"]


def test_output_comes_at_most_once_in_an_interval_and_none_of_it_is_lost() -> None:
    recording = logs.load("codex", "command_output")
    deltas = [line for line in recording.log if line.get("heard") == OUTPUT_DELTA]
    updates = events("command_output", "command_updated")
    (whole,) = events("command_output", "command_finished")
    said = "".join(line["params"]["delta"] for line in deltas)
    shown = "".join(update["output"] for update in updates)
    # The last piece comes with the whole.
    assert shown
    assert said.startswith(shown)
    assert said in whole["output"]
    assert len(updates) <= (deltas[-1]["at"] - deltas[0]["at"]) / INTERVAL_S + 1


def test_a_command_in_the_background_ends_with_what_was_heard_of_it() -> None:
    (whole,) = events("command_background", "command_finished")
    shown = "".join(update["output"] for update in events("command_background", "command_updated"))
    assert (whole["status"], whole["output"]) == ("background", shown)


def test_usage_is_the_runs_own_over_two_runs_and_a_compaction() -> None:
    # Before it compacts Codex repeats the count of the turn before: it was counted twice once.
    for name, expected in (("two_runs", [2100, 1050]), ("compacted", [9050, 2100])):
        ends = events(name, "run_completed")
        assert [end["usage"]["total_tokens"] for end in ends] == expected


def test_a_full_context_is_not_counted_as_tokens() -> None:
    # Codex sets its total to the size of the window then.
    (end,) = events("context_full", "run_failed")
    assert end["reason"] == "context_window_exceeded"
    assert end["usage"]["total_tokens"] == 0


def test_a_sub_agents_work_bears_its_name_and_counts() -> None:
    by_kid = {
        step["type"]
        for step in logs.load("codex", "sub_agent").steps
        if step.get("data", {}).get("agent") == "thread-2"
    }
    assert by_kid == {
        "message_added",
        "command_started",
        "command_finished",
        "file_changed",
        "artifact_added",
    }
    (end,) = events("sub_agent", "run_completed")
    assert end["final_response"] == "all done"
    assert end["usage"]["input_tokens"] == 6000  # three answers of each
    (ask,) = [step["ask"] for step in logs.load("codex", "sub_agent_asking").steps if "ask" in step]
    assert (ask["kind"], ask["agent"]) == ("permission", "thread-2")
    waited = events("sub_agent", "tool_finished")[-1]
    assert waited["result"] == {"thread-2": {"status": "completed", "message": "kid done"}}


def test_an_mcp_tools_approval_names_the_tool_and_its_refusal_is_a_decline() -> None:
    (ask,) = [step["ask"] for step in logs.load("codex", "mcp_declined").steps if "ask" in step]
    assert (ask["tool"], ask["input"]) == ("desk.book", {"room": "r1"})
    (end,) = events("mcp_declined", "tool_finished")
    assert end["status"] == "declined"
    keys = {"tool", "tool_use_id", "server", "arguments", "status"}
    for end in events("mcp", "tool_finished"):
        assert keys <= set(end)
        assert end["result"]["content"]


def test_what_was_told_before_a_cut_is_not_told_again() -> None:
    texts = [event["text"] for event in events("retried", "agent_message")]
    assert texts == ["half", "whole"]
    (retrying,) = [event for event in events("retried", "status_changed") if event.get("reason")]
    assert retrying["reason"] == "retrying"


def test_a_tool_item_of_every_kind_that_a_binary_made_is_among_the_tools() -> None:
    kinds = {
        line["params"]["item"]["type"]
        for name in logs.names("codex")
        for line in logs.load("codex", name).log
        if line.get("heard") == "item/completed"
    }
    assert kinds & set(tools.TOOLS) >= {
        "mcpToolCall",
        "dynamicToolCall",
        "webSearch",
        "imageView",
        "collabAgentToolCall",
        "contextCompaction",
    }
