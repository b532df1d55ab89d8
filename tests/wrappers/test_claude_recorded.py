"""What the real Claude Code said in every scene gives the steps that are kept beside it."""

import pytest

from tests.wrappers.recorded import logs
from tests.wrappers.recorded.claude.replay import CLI, Replay, kept, read
from tests.wrappers.recorded.claude.scenes import SCENES

VENDOR = "claude"


def test_every_scene_is_recorded_and_nothing_else() -> None:
    assert logs.names(VENDOR) == sorted(SCENES)


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_recorded_run_gives_its_steps(name: str) -> None:
    recording = logs.load(VENDOR, name)

    assert Replay(schema=SCENES[name].schema).steps(recording.log) == recording.steps


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_recorded_run_is_over_when_its_log_is_and_not_before(name: str) -> None:
    recording = logs.load(VENDOR, name)
    replay = Replay(schema=SCENES[name].schema)
    replay.steps(recording.log[:-2])
    early = replay.reading.ended
    replay.steps(recording.log[-2:])

    assert replay.reading.turn_over
    assert not early


@pytest.mark.parametrize("name", sorted(SCENES))
def test_every_call_that_starts_is_finished_once(name: str) -> None:
    begun: list[str] = []
    done: list[str] = []
    for step in logs.load(VENDOR, name).steps:
        if step.get("type") in ("command_started", "tool_started"):
            begun.append(step["data"]["tool_use_id"])
        if step.get("type") in ("command_finished", "tool_finished"):
            done.append(step["data"]["tool_use_id"])

    assert sorted(begun) == sorted(done)
    assert len(set(begun)) == len(begun)


def test_the_kinds_of_lines_that_the_sdk_drops_are_known() -> None:
    # It reads no more of these than nothing; a new kind in a recording is looked at by a person.
    dropped = {
        entry[CLI]["type"]
        for name in SCENES
        for entry in logs.load(VENDOR, name).log
        if CLI in entry
        and not entry[CLI]["type"].startswith("control_")
        and read(entry[CLI]) is None
    }

    assert dropped <= {"command_lifecycle", "tool_progress"}


def test_handshakes_are_in_no_log() -> None:
    hello = {"type": "control_request", "request": {"subtype": "initialize"}}

    assert not kept("wrapper", hello)
    assert not kept(CLI, {"type": "control_response", "response": {}})


# The data keys that callers of the seven tools know of Claude Code's events, in what we record of it.
KNOWN = {
    "agent_message": "text",
    "reasoning": "text compact_metadata task_id",
    "command_started": "command tool tool_use_id parent_tool_use_id description",
    "command_finished": (
        "command tool tool_use_id output exit_code interrupted persisted_output_path"
        " persisted_output_size is_error"
    ),
    "file_changed": "changes",
    "tool_started": "tool tool_use_id input parent_tool_use_id",
    "tool_finished": (
        "tool tool_use_id task_id output is_error content raw_tool_use_result status summary"
        " output_file usage"
    ),
    "todo_updated": "items",
    "status_changed": (
        "status backend_session_id model tools cwd api_key_source fast_mode_requested"
        " rate_limit_info"
    ),
    "run_completed": "final_response structured_output usage",
    "run_failed": "message usage",
    "rejected": "message",
}
# Those that we add to them; nothing is ever renamed.
ADDED = {
    "agent_message": "message_id",
    "reasoning": "tool_use_id parent_tool_use_id last_tool_name usage level",
    "command_finished": "status parent_tool_use_id",
    "file_changed": "status tool_use_id parent_tool_use_id",
    "tool_finished": "parent_tool_use_id",
    "status_changed": (
        "detail reason version permission_mode fast_mode_state usage"
        " attempt max_retries retry_delay_ms error error_status"
    ),
    "message_added": "role text",
    "artifact_added": "artifact_id name parts text",
    "auth_required": "text error error_status attempt max_retries retry_delay_ms",
    "run_completed": "permission_denials",
    "run_failed": "reason api_error_status assistant_error terminal_reason final_response",
    "rejected": "reason usage",
}


def test_the_keys_of_events_are_those_that_are_promised() -> None:
    seen: dict[str, set[str]] = {}
    for name in SCENES:
        for step in logs.load(VENDOR, name).steps:
            if "type" in step:
                seen.setdefault(step["type"], set()).update(step["data"])

    for kind in sorted(KNOWN | ADDED):
        known, added = set(KNOWN.get(kind, "").split()), set(ADDED.get(kind, "").split())
        assert (kind, seen.get(kind, set())) == (kind, known | added)
