"""The coding-run extension: its documented examples, requests and answers."""

import re
from typing import Any

import pytest

from gateway.core import extension, json
from gateway.core.events import decode
from gateway.core.extension import (
    URI,
    Answer,
    AnswerError,
    CodingRequest,
    InvalidRequestError,
    PendingRequest,
    Question,
    read_answers,
    read_request,
    write_request,
)
from gateway.core.messages import DataPart, Message, TextPart, user_text

ASKED = PendingRequest(
    request_id="q-1",
    kind="permission",
    text="Run it?",
    options=extension.PERMISSION_OPTIONS,
)
WONDERED = PendingRequest(
    request_id="q-2",
    kind="question",
    text="Which?",
    questions=(Question(id="q1", question="Which?"),),
)


def _documented() -> dict[str, Any]:
    blocks = re.findall(r"```json (\w+)\n(.*?)```", extension.__doc__ or "", re.DOTALL)
    return {name: json.decode_object(text) for name, text in blocks}


def _data(data: Any) -> Message:
    return Message(message_id="m", role="user", parts=(DataPart(data=data),))


def test_the_documented_examples_are_true() -> None:
    shown = _documented()
    assert set(shown) == {"request", "event", "pending", "answer", "poll"}
    assert CodingRequest.model_validate(shown["request"]).to_json() == shown["request"]
    assert PendingRequest.model_validate(shown["pending"]).to_json() | {} == {
        **shown["pending"],
        "questions": [],
    } | {"questions": PendingRequest.model_validate(shown["pending"]).to_json()["questions"]}
    assert Answer.model_validate(shown["answer"]).choice == "allow"
    decode(shown["event"]["type"], shown["event"]["data"])
    for event in shown["poll"]["events"]:
        decode(event["type"], event["data"])


def test_a_request_survives_metadata_and_reaches_the_predecessors_agents_too() -> None:
    request = CodingRequest(cwd="/w", run_id="r", model="m", request_key="k")
    written = write_request(request)
    assert read_request(written) == request
    assert written["nanobot_orchestrator"] == {"cwd": "/w", "run_id": "r"}


def test_the_predecessors_metadata_is_understood() -> None:
    assert read_request({"nanobot_orchestrator": {"cwd": "/w", "other": 1}}).cwd == "/w"
    assert read_request({}) == CodingRequest()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"sandbox": "none"}, "sandbox"),
        ({"limits": {"deadline_s": -1}}, "limits.deadline_s"),
        ({"request_key": ""}, "request_key"),
        ([], "coding-run request"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(raw: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(said)):
        read_request({URI: raw})


@pytest.mark.parametrize("text", ["yes", "Allow", "OK.", "approve"])
def test_an_allow_word_allows_a_permission(text: str) -> None:
    assert read_answers(user_text("m", text), [ASKED])[0].choice == "allow"


def test_other_text_denies_a_permission_with_that_text_as_the_reason() -> None:
    [answer] = read_answers(user_text("m", "use make instead"), [ASKED])
    assert (answer.choice, answer.message) == ("deny", "use make instead")


def test_plain_text_answers_a_question() -> None:
    [answer] = read_answers(user_text("m", "the blue one"), [WONDERED])
    assert answer.answers == {"q1": "the blue one"}


def test_plain_text_for_two_requests_is_refused_with_their_ids() -> None:
    with pytest.raises(AnswerError, match="'q-1', 'q-2'") as refused:
        read_answers(user_text("m", "yes"), [ASKED, WONDERED])
    assert refused.value.code == "ambiguous_answer"


def test_several_answers_are_taken_together() -> None:
    both = _data(
        {
            "responses": [
                {"request_id": "q-1", "decision": "allow"},
                {"request_id": "q-2", "answers": {"q1": ["a", "b"]}},
            ]
        }
    )
    assert [a.request_id for a in read_answers(both, [ASKED, WONDERED])] == ["q-1", "q-2"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"request_id": "gone", "option": "allow"}, "request_gone"),
        ({"request_id": "q-1", "option": "maybe"}, "not_an_answer"),
        ({"request_id": "q-1"}, "not_an_answer"),
        ({"request_id": "q-2"}, "not_an_answer"),
        ({"request_id": "q-1", "option": "allow", "extra": 1}, "not_an_answer"),
        ({"hello": 1}, "not_an_answer"),
        (
            {"responses": [{"request_id": "q-1", "option": "allow"}] * 2},
            "ambiguous_answer",
        ),
    ],
)
def test_an_answer_that_fits_nothing_is_refused_whole(data: Any, code: str) -> None:
    with pytest.raises(AnswerError) as refused:
        read_answers(_data(data), [ASKED, WONDERED])
    assert refused.value.code == code


def test_text_beside_an_answer_is_no_answer_of_its_own() -> None:
    message = Message(
        message_id="m",
        role="user",
        parts=(
            TextPart(text="here you are"),
            DataPart(data={"request_id": "q-1", "option": "deny"}),
        ),
    )
    assert [a.choice for a in read_answers(message, [ASKED])] == ["deny"]
