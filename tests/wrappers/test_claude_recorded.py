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
