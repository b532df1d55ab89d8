"""Which event becomes which A2A item, by tables."""

from typing import Any

import pytest
from a2a.types import StreamResponse, Task
from google.protobuf.json_format import ParseDict

from gateway.core import json
from gateway.core.events import EVENT_TYPES
from gateway.core.extension import URI, CodingRequest, PendingRequest
from gateway.core.face import snapshot, wire
from gateway.core.face.snapshot import Spoken
from gateway.core.face.wire import TaskItems
from gateway.core.json import JsonObject
from gateway.core.messages import user_text
from gateway.core.record import Result, Run, RunError
from gateway.core.status import RunStatus
from gateway.core.store.entry import Recorded

AT = 1_764_000_000_123_456
ISO = "2025-11-24T16:00:00.123456Z"


def recorded(type_: str, data: JsonObject, status: RunStatus = RunStatus.RUNNING) -> Recorded:
    return Recorded(seq=7, ts=AT, type=type_, status=status, data=json.encode(data))


def bodies(event: Recorded, *, extended: bool, before: RunStatus = RunStatus.RUNNING) -> list[Any]:
    items = TaskItems("t", "c", extended=extended).items(event, before)
    return [json.decode(item.body) for item in items]


def message(role: str = "ROLE_AGENT", message_id: str = "t:7", *parts: JsonObject) -> JsonObject:
    return {
        "messageId": message_id,
        "role": role,
        "parts": list(parts),
        "taskId": "t",
        "contextId": "c",
    }


PENDING = {"request_id": "q", "kind": "question", "text": "which?"}
SPOKEN: list[tuple[str, JsonObject, JsonObject]] = [
    ("agent_message", {"text": "hi"}, message("ROLE_AGENT", "t:7", {"text": "hi"})),
    (
        "message_added",
        {
            "role": "user",
            "text": "more",
            "message": {"messageId": "m", "parts": [{"text": "more"}]},
        },
        message("ROLE_USER", "m", {"text": "more"}),
    ),
    (
        "message_added",
        {"role": "agent", "message": {"messageId": "theirs", "parts": [{"data": [1]}]}},
        message("ROLE_AGENT", "t:7", {"data": [1]}),
    ),
    (
        "message_added",
        {"role": "assistant", "text": "from a helper"},
        message("ROLE_AGENT", "t:7", {"text": "from a helper"}),
    ),
    (
        "message_added",
        {"role": "agent", "message": {"vendor": "raw"}},
        message("ROLE_AGENT", "t:7", {"data": {"vendor": "raw"}}),
    ),
    (
        "input_required",
        {"text": "which?", "pending": [PENDING]},
        message("ROLE_AGENT", "t:7", {"text": "which?"}, {"data": {"pending": [PENDING]}}),
    ),
    ("auth_required", {"text": "log in"}, message("ROLE_AGENT", "t:7", {"text": "log in"})),
    ("rejected", {"message": "no"}, message("ROLE_AGENT", "t:7", {"text": "no"})),
    (
        "run_failed",
        {"message": "broke", "reason": "crash"},
        message("ROLE_AGENT", "t:7", {"text": "broke"}),
    ),
]


@pytest.mark.parametrize(("type_", "data", "said"), SPOKEN)
@pytest.mark.parametrize("extended", [True, False])
def test_what_is_said_is_a_status_update_with_a_message(
    type_: str, data: JsonObject, said: JsonObject, extended: bool
) -> None:
    (item,) = bodies(recorded(type_, data), extended=extended)
    update = item["statusUpdate"]
    assert (update["taskId"], update["contextId"]) == ("t", "c")
    assert update["status"] == {"state": "TASK_STATE_WORKING", "timestamp": ISO, "message": said}
    about = {"seq": 7, "ts": ISO, "type": type_, "data": data}
    assert update.get("metadata") == ({URI: about} if extended else None)


SILENT = sorted(set(EVENT_TYPES) - wire.SPOKEN_TYPES)


@pytest.mark.parametrize("type_", SILENT)
def test_the_rest_is_metadata_only_and_for_extended_readers_only(type_: str) -> None:
    data: JsonObject = {"anything": {"n": 2**60}}
    assert bodies(recorded(type_, data), extended=False) == []
    (item,) = bodies(recorded(type_, data), extended=True)
    assert item["statusUpdate"]["status"] == {"state": "TASK_STATE_WORKING", "timestamp": ISO}
    assert item["statusUpdate"]["metadata"][URI]["data"] == data, "not one digit is lost"


@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        (RunStatus.QUEUED, RunStatus.RUNNING, "TASK_STATE_WORKING"),
        (RunStatus.INPUT_REQUIRED, RunStatus.RUNNING, "TASK_STATE_WORKING"),
        (RunStatus.RUNNING, RunStatus.CANCELLED, "TASK_STATE_CANCELED"),
    ],
)
def test_a_change_of_state_is_for_everybody(
    before: RunStatus, after: RunStatus, state: str
) -> None:
    event = recorded("status_changed", {"status": after.value}, after)
    (item,) = bodies(event, extended=False, before=before)
    assert item["statusUpdate"]["status"]["state"] == state


def test_the_data_of_an_event_is_never_encoded_again() -> None:
    event = Recorded(
        seq=1, ts=AT, type="reasoning", status=RunStatus.RUNNING, data='{"odd" :  1.0e0}'
    )
    (item,) = TaskItems("t", "c", extended=True).items(event, RunStatus.RUNNING)
    assert b'"data":{"odd" :  1.0e0}' in item.body


def test_an_artifact_is_an_artifact_update() -> None:
    data = {"artifact_id": "a", "name": "plan", "parts": [{"text": "x"}], "text": "x"}
    for extended in (True, False):
        (item,) = bodies(recorded("artifact_added", data), extended=extended)
        update = item["artifactUpdate"]
        assert update["artifact"] == {"artifactId": "a", "name": "plan", "parts": [{"text": "x"}]}
        assert (update["append"], update["lastChunk"]) == (False, True)
        assert ("metadata" in update) is extended


ANSWERS: list[tuple[JsonObject, list[JsonObject] | None]] = [
    ({"final_response": "ok"}, [{"text": "ok"}]),
    ({"final_response": ""}, [{"text": ""}]),
    ({"structured_output": {"n": 1}}, [{"data": {"n": 1}}]),
    ({"final_response": "{}", "structured_output": {}}, [{"text": "{}"}, {"data": {}}]),
    ({"structured_output": [1]}, [{"data": [1]}]),
    ({"usage": {}}, None),
]


@pytest.mark.parametrize(("data", "parts"), ANSWERS)
def test_an_answer_is_an_artifact_before_completed_and_the_second_carries_the_seq(
    data: JsonObject, parts: list[JsonObject] | None
) -> None:
    event = recorded("run_completed", data, RunStatus.COMPLETED)
    items = TaskItems("t", "c", extended=True).items(event, RunStatus.RUNNING)
    *answer, completed = [json.decode(item.body) for item in items]
    if parts is None:
        assert answer == []
    else:
        update = answer[0]["artifactUpdate"]
        assert (update["artifact"]["artifactId"], update["artifact"]["parts"]) == (
            "final-response",
            parts,
        )
        assert "metadata" not in update
    assert [item.seq for item in items] == [None] * len(answer) + [7]
    assert completed["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert completed["statusUpdate"]["metadata"][URI]["data"] == data


def test_only_the_last_piece_of_a_large_artifact_carries_the_seq() -> None:
    big = "x" * (wire.PIECE + 1)
    data: JsonObject = {
        "artifact_id": "a",
        "parts": [{"text": "head"}, {"text": big}, {"data": {}}],
    }
    items = TaskItems("t", "c", extended=True).items(
        recorded("artifact_added", data), RunStatus.RUNNING
    )
    updates = [json.decode(item.body)["artifactUpdate"] for item in items]
    assert [[len(str(part)) for part in u["artifact"]["parts"]] for u in updates] == [
        [len(str({"text": "head"}))],
        [len(str({"text": "x" * wire.PIECE}))],
        [len(str({"text": "x"}))],
        [len(str({"data": {}}))],
    ]
    assert [u["append"] for u in updates] == [False, True, True, True]
    assert [u["lastChunk"] for u in updates] == [False, False, False, True]
    assert [item.seq for item in items] == [None, None, None, 7]


def test_a_text_too_long_for_one_item_is_an_artifact_and_the_message_says_which() -> None:
    big = "x" * (wire.PIECE + 1)
    items = TaskItems("t", "c", extended=True).items(
        recorded("agent_message", {"text": big}), RunStatus.RUNNING
    )
    *updates, said = [json.decode(item.body) for item in items]
    artifacts = [update["artifactUpdate"]["artifact"] for update in updates]
    assert {artifact["artifactId"] for artifact in artifacts} == {"t:7"}
    assert "".join(artifact["parts"][0]["text"] for artifact in artifacts) == big
    assert [update["artifactUpdate"]["lastChunk"] for update in updates] == [False, True]
    text = said["statusUpdate"]["status"]["message"]["parts"][0]["text"]
    assert text.endswith("[truncated, see artifact t:7]")
    assert len(text) < 5000
    assert [item.seq for item in items] == [None, None, 7]

    run = run_with(RunStatus.RUNNING, last_seq=7)
    task = task_of(run, [Spoken(seq=7, type="agent_message", data={"text": big})])
    assert task["history"][1]["parts"][0]["text"] == text
    assert task["artifacts"][0]["parts"] == [{"text": big}]


def test_an_artifact_without_parts_is_one_update() -> None:
    data: JsonObject = {"artifact_id": "a", "parts": []}
    items = bodies(recorded("artifact_added", data), extended=True)
    assert len(items) == 1


@pytest.mark.parametrize(("type_", "data", "said"), SPOKEN)
def test_every_item_is_the_protocols_own(type_: str, data: JsonObject, said: JsonObject) -> None:
    del said
    for extended in (True, False):
        for item in bodies(recorded(type_, data), extended=extended):
            ParseDict(item, StreamResponse())  # strict: unknown fields raise


# -- tasks -------------------------------------------------------------------------------------


def run_with(status: RunStatus, **more: Any) -> Run:
    return Run(
        id="t",
        context_id="c",
        principal="local",
        agent="a",
        backend="scripted",
        status=status,
        message=user_text("m", "go"),
        request=CodingRequest(),
        created_at=AT,
        updated_at=AT + 1,
        status_at=AT,
        **more,
    )


def task_of(
    run: Run, spoken: list[Spoken], *, history: int = 100, log_id: str | None = None
) -> JsonObject:
    """The task as printed, and proof that the protocol's own reader takes it, every member."""
    text = b"".join(snapshot.task_pieces(run, spoken, history_length=history, log_id=log_id))
    ParseDict(json.decode(text), Task())  # strict: unknown fields raise
    return json.decode_object(text)


def test_the_task_of_a_queued_run_is_its_first_message() -> None:
    assert task_of(run_with(RunStatus.QUEUED), []) == {
        "id": "t",
        "contextId": "c",
        "status": {"state": "TASK_STATE_SUBMITTED", "timestamp": ISO},
        "history": [
            {
                "messageId": "m",
                "contextId": "c",
                "taskId": "t",
                "role": "ROLE_USER",
                "parts": [{"text": "go"}],
            }
        ],
    }


def test_a_waiting_task_shows_what_is_still_pending() -> None:
    left = PendingRequest(request_id="two", kind="question", text="and?")
    both = [PENDING, left.to_json()]
    run = run_with(RunStatus.INPUT_REQUIRED, pending=(left,), last_seq=4)
    spoken = [
        Spoken(seq=2, type="input_required", data={"text": "one?", "pending": [PENDING]}),
        Spoken(seq=3, type="input_required", data={"text": "and?", "pending": both}),
    ]
    task = task_of(run, spoken)
    assert task["status"]["message"]["messageId"] == "t:3"
    assert task["status"]["message"]["parts"][1] == {"data": {"pending": [left.to_json()]}}
    assert [said["messageId"] for said in task["history"]] == ["m", "t:2"]


def test_the_newest_artifact_of_an_id_counts() -> None:
    def made(seq: int, artifact_id: str, text: str) -> Spoken:
        data = {"artifact_id": artifact_id, "parts": [{"text": text}]}
        return Spoken(seq=seq, type="artifact_added", data=data)

    run = run_with(RunStatus.COMPLETED, last_seq=4, result=Result(final_response="bye"))
    spoken = [made(1, "a", "old"), made(2, "b", "b"), made(3, "a", "new")]
    task = task_of(run, spoken, history=0)
    assert [(a["artifactId"], a["parts"][0]["text"]) for a in task["artifacts"]] == [
        ("b", "b"),
        ("a", "new"),
        ("final-response", "bye"),
    ]
    assert "history" not in task


def test_a_failed_task_says_why_in_its_status_and_not_twice() -> None:
    run = run_with(RunStatus.FAILED, last_seq=2, error=RunError(message="broke"))
    task = task_of(run, [Spoken(seq=2, type="run_failed", data={"message": "broke"})])
    assert task["status"]["message"]["messageId"] == "t:2"
    assert [said["messageId"] for said in task["history"]] == ["m"]


def test_the_facts_of_the_log_are_told_to_extended_callers() -> None:
    task = task_of(run_with(RunStatus.RUNNING, last_seq=12), [], log_id="log-1")
    assert task["metadata"] == {URI: {"log_id": "log-1", "last_seq": 12}}


def test_a_file_part_leaves_as_it_came() -> None:
    parts = [
        {"url": "https://example.com/a", "filename": "a", "mediaType": "text/plain"},
        {"raw": "aGk=", "mediaType": "text/plain"},
    ]
    spoken = [Spoken(seq=1, type="artifact_added", data={"artifact_id": "f", "parts": parts})]
    assert task_of(run_with(RunStatus.RUNNING), spoken)["artifacts"][0]["parts"] == parts
