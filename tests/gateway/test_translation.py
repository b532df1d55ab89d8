from typing import Any

import pytest

from gateway.core import events
from gateway.core.record import Remote
from gateway.core.status import STATUS_OF_STATE, RunStatus
from gateway.driving.foreign.artifacts import digest
from gateway.driving.foreign.recollection import Known
from gateway.driving.foreign.translation import Translation
from gateway.driving.whereabouts import WrongTaskError

Item = dict[str, Any]


def translation(**more: Any) -> Translation:
    return Translation(Remote(agent="a", agent_url="http://a"), **more)


def status(state: str, text: str | None = None, message_id: str = "m-1", **more: Any) -> Item:
    said: Item = {}
    if text is not None:
        parts = [{"text": text}]
        said["message"] = {"messageId": message_id, "role": "ROLE_AGENT", "parts": parts}
    at = {"state": f"TASK_STATE_{state}", **said}
    return {"statusUpdate": {"taskId": "t", "contextId": "c", "status": at, **more}}


def task(state: str, **more: Any) -> Item:
    at = {"state": f"TASK_STATE_{state}"}
    return {"task": {"id": "t", "contextId": "c", "status": at, **more}}


def artifact(text: str, *, artifact_id: str = "a", **flags: bool) -> Item:
    made = {"artifactId": artifact_id, "parts": [{"text": text}]}
    return {"artifactUpdate": {"taskId": "t", "contextId": "c", "artifact": made, **flags}}


def types(read: Translation, *items: Item) -> list[str]:
    return [event.type for item in items for event in read.read(item)]


def test_a_status_with_a_message_is_three_events() -> None:
    read = translation()
    assert types(read, task("SUBMITTED")) == []
    assert types(read, status("WORKING", "on it")) == [
        "run_started",
        "message_added",
        "agent_message",
        "status_changed",
    ]


@pytest.mark.parametrize("state", sorted(STATUS_OF_STATE))
def test_every_state_is_understood(state: str) -> None:
    found = translation().read(task(state.removeprefix("TASK_STATE_")))
    expected = {
        "TASK_STATE_SUBMITTED": None,
        "TASK_STATE_WORKING": "status_changed",
        "TASK_STATE_INPUT_REQUIRED": "input_required",
        "TASK_STATE_AUTH_REQUIRED": "auth_required",
        "TASK_STATE_COMPLETED": "run_completed",
        "TASK_STATE_FAILED": "run_failed",
        "TASK_STATE_CANCELED": "status_changed",
        "TASK_STATE_REJECTED": "rejected",
    }
    assert (found[-1].type if found else None) == expected[state]


def test_a_state_nobody_knows_is_kept_raw() -> None:
    found = translation().read(status("DREAMING"))
    assert [event.type for event in found] == ["run_started", "message_added"]
    assert found[-1].extra["raw"] == {"status": {"state": "TASK_STATE_DREAMING"}}


def test_a_state_nobody_knows_is_kept_once_however_often_it_is_polled() -> None:
    read = translation()
    assert len(types(read, task("DREAMING"), task("DREAMING"), task("DREAMING"))) == 2


def test_an_item_nobody_knows_is_kept_raw() -> None:
    [kept] = translation().read({"telegram": {"stop": True}})
    assert kept.extra["raw"] == {"telegram": {"stop": True}}


def test_a_task_sent_again_adds_only_what_is_new() -> None:
    read = translation()
    said = {"messageId": "m-1", "role": "ROLE_AGENT", "parts": [{"text": "one"}]}
    asked = {"messageId": "m-0", "role": "ROLE_USER", "parts": [{"text": "do it"}]}
    made = {"artifactId": "a", "parts": [{"data": {"n": 1}}]}
    first = types(read, task("WORKING", history=[asked, said], artifacts=[made]))
    assert first == [
        "run_started",
        "message_added",
        "agent_message",
        "status_changed",
    ], "the last artifact of a task at work may be in the making"
    again = task("WORKING", history=[asked, said], artifacts=[made])
    assert types(read, again) == ["artifact_added"]
    assert types(read, again) == []
    [end] = read.read(task("COMPLETED", history=[asked, said], artifacts=[made]))
    assert isinstance(end, events.RunCompleted)
    assert (end.final_response, end.structured_output) == ("one", {"n": 1})


def test_a_snapshot_after_a_restart_repeats_nothing_that_was_copied() -> None:
    said = {"messageId": "m-1", "role": "ROLE_AGENT", "parts": [{"text": "one"}]}
    made = {"artifactId": "a", "parts": [{"text": "x"}]}
    known = Known(
        said={int(digest(["m-1", [{"text": "one"}]]), 16)},
        artifacts={"a": digest([{"text": "x"}])},
    )
    read = translation(known=known, started=True, status=RunStatus.RUNNING)
    assert types(read, task("WORKING", history=[said], artifacts=[made])) == ["status_changed"]


def test_chunks_are_one_artifact_when_the_last_came_or_something_else_did() -> None:
    read = translation()
    assert types(read, artifact("a"), artifact("b", append=True)) == ["run_started"]
    [whole] = read.read(artifact("c", append=True, lastChunk=True))
    assert isinstance(whole, events.ArtifactAdded)
    assert (whole.text, whole.parts) == ("abc", [{"text": "abc"}])
    assert types(read, artifact("other", artifact_id="b")) == []
    assert types(read, status("COMPLETED")) == ["artifact_added", "run_completed"]


def test_parts_of_one_update_stay_parts() -> None:
    read = translation()
    made = {"artifactId": "a", "parts": [{"text": "one"}, {"text": "two"}]}
    more = {"artifactId": "a", "parts": [{"text": " and a half"}, {"data": 3}]}
    base = {"taskId": "t", "contextId": "c"}
    read.read({"artifactUpdate": {**base, "artifact": made}})
    update = {**base, "artifact": more, "append": True, "lastChunk": True}
    [whole] = read.read({"artifactUpdate": update})
    assert isinstance(whole, events.ArtifactAdded)
    assert whole.parts == [{"text": "one"}, {"text": "two and a half"}, {"data": 3}]


def test_a_question_is_asked_once_and_again_when_it_is_a_new_one() -> None:
    read = translation()
    first = status("INPUT_REQUIRED", "Which colour?", "q-1")
    assert types(read, first)[-1] == "input_required"
    assert types(read, first) == []
    read.sending("m-0")
    assert types(read, first) == [], "the old state, sent once more behind our answer"
    assert types(read, status("INPUT_REQUIRED", "And which size?", "q-2"))[-1] == "input_required"


def test_a_question_whose_answer_was_lost_is_asked_again() -> None:
    read = translation()
    first = status("INPUT_REQUIRED", "Which colour?", "q-1")
    read.read(first)
    read.sending("m-0")
    read.ask_again()
    assert types(read, first) == ["input_required"]


def test_the_old_question_after_its_answer_is_no_reason_to_wait() -> None:
    # An agent without streaming (@a2a-js/sdk) answers a follow-up with the task as it was before it.
    # Taken for a new wait, nobody asked for that task again and the run never ended.
    read = translation()
    types(read, status("INPUT_REQUIRED", "which colour?"))
    assert read.waiting
    read.sending("m-0")
    assert types(read, status("INPUT_REQUIRED", "which colour?")) == []
    assert not read.waiting
    read.ask_again()
    assert types(read, status("INPUT_REQUIRED", "which colour?")) == ["input_required"]


def test_requests_in_our_form_are_taken_as_they_are() -> None:
    pending = {"request_id": "p-1", "kind": "permission", "text": "Run rm?"}
    parts = [{"text": "may I"}, {"data": {"pending": [pending]}}]
    message = {"messageId": "q", "role": "ROLE_AGENT", "parts": parts}
    at = {"state": "TASK_STATE_INPUT_REQUIRED", "message": message}
    found = translation().read({"statusUpdate": {"taskId": "t", "status": at}})
    asked = found[-1]
    assert isinstance(asked, events.InputRequired)
    assert [(item["request_id"], item["kind"]) for item in asked.pending] == [("p-1", "permission")]


@pytest.mark.parametrize(
    "item",
    [
        {"statusUpdate": {"taskId": "other", "status": {"state": "TASK_STATE_WORKING"}}},
        {"statusUpdate": {"status": {"state": "TASK_STATE_WORKING"}}},
        {"task": {"id": "other"}},
        {"artifactUpdate": {"taskId": 7}},
    ],
)
def test_items_of_another_task_are_refused(item: Item) -> None:
    read = translation()
    read.read(status("WORKING"))
    with pytest.raises(WrongTaskError):
        read.read(item)
