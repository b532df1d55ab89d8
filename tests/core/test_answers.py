"""What a follow-up answers, and what it is told when it answers nothing."""

from typing import Any

import pytest

from gateway.core.answers import AnswerError, read_answers
from gateway.core.extension import (
    PERMISSION_OPTIONS,
    Option,
    PendingRequest,
    Question,
    QuestionOption,
)
from gateway.core.messages import DataPart, Message, TextPart, user_text

ASKED = PendingRequest(
    request_id="q-1",
    kind="permission",
    text="Run it?",
    options=PERMISSION_OPTIONS,
)
WONDERED = PendingRequest(
    request_id="q-2",
    kind="question",
    text="Which?",
    questions=(Question(id="q1", question="Which?"),),
)


def _data(data: Any) -> Message:
    return Message(message_id="m", role="user", parts=(DataPart(data=data),))


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


CHOSEN = PendingRequest(
    request_id="q-3",
    kind="question",
    text="Which?",
    questions=(
        Question(
            id="q1",
            question="Which?",
            options=(QuestionOption(label="red"), QuestionOption(label="green")),
        ),
    ),
)


# An answer under another name than its question's was taken, reached the agent as nothing, and the
# question was spent.
@pytest.mark.parametrize("answers", [{"q": "red"}, {"q-3": "red"}, {"q1": "red", "q2": "x"}])
def test_an_answer_to_a_question_that_is_not_asked_is_refused(answers: dict[str, str]) -> None:
    with pytest.raises(AnswerError, match="the ids of its questions: 'q1'"):
        read_answers(_data({"request_id": "q-3", "answers": answers}), [CHOSEN])


SEVERAL = PendingRequest(
    request_id="q-4",
    kind="question",
    text="Which? How?",
    questions=(*CHOSEN.questions, Question(id="q2", question="How?")),
)
LINKED = PendingRequest(
    request_id="u-1",
    kind="url",
    text="Log in",
    input={"url": "https://example.org"},
    options=(Option(id="allow", label="Done"), Option(id="deny", label="Decline")),
)


def _form(*names: str) -> PendingRequest:
    members = {name: {"type": "string"} for name in names}
    schema = {"type": "object", "properties": members, "required": list(names)}
    return PendingRequest(request_id="f-1", kind="form", text="Who?", input={"schema": schema})


def test_no_answers_are_no_answer() -> None:
    with pytest.raises(AnswerError, match="ids of its questions: 'q1'"):
        read_answers(_data({"request_id": "q-3", "answers": {}}), [CHOSEN])


def test_a_question_is_known_by_its_words_too() -> None:
    [answer] = read_answers(_data({"request_id": "q-3", "answers": {"Which?": "red"}}), [CHOSEN])
    assert answer.answers == {"q1": "red"}


@pytest.mark.parametrize(
    ("said", "meant", "request_"),
    [
        ("Allow once", "allow", ASKED),
        ("DENY", "deny", ASKED),
        ("allow_session", "allow_session", ASKED),
        ("done", "allow", LINKED),
        ("Decline", "deny", LINKED),
    ],
)
def test_an_option_is_known_by_its_label_too(
    said: str, meant: str, request_: PendingRequest
) -> None:
    data = {"request_id": request_.request_id, "option": said}
    [answer] = read_answers(_data(data), [request_])
    assert (answer.option, answer.decision) == (meant, None)


# As an option it was lost on the way to agents that read answers alone, and a label such as `deny`
# was taken for a refusal.
@pytest.mark.parametrize("said", ["Red", "red"])
def test_the_label_of_a_question_is_the_answer_to_it(said: str) -> None:
    [answer] = read_answers(_data({"request_id": "q-3", "option": said}), [CHOSEN])
    assert (answer.choice, answer.answers) == (None, {"q1": "red"})


# A question that lists its labels could no longer be declined, which the agents know how to take.
@pytest.mark.parametrize("choice", ["deny", "abort"])
def test_a_question_can_be_declined(choice: str) -> None:
    for asked in (CHOSEN, SEVERAL):
        data = {"request_id": asked.request_id, "option": choice, "message": "not now"}
        [answer] = read_answers(_data(data), [asked])
        assert (answer.choice, answer.message) == (choice, "not now")


# Each of these reached the agent as nothing, or as what is no words, and the question was spent.
@pytest.mark.parametrize(
    "data",
    [
        {"answers": {"q1": None}},
        {"answers": {"q1": " "}},
        {"answers": {"q1": []}},
        {"answers": {"q1": {"label": "red"}}},
        {"message": " "},
    ],
)
def test_an_answer_that_says_nothing_is_refused(data: Any) -> None:
    for asked in (CHOSEN, SEVERAL):
        with pytest.raises(AnswerError):
            read_answers(_data({"request_id": asked.request_id, **data}), [asked])


def test_an_option_is_no_answer_to_several_questions() -> None:
    with pytest.raises(AnswerError, match="ids of its questions: 'q1', 'q2'"):
        read_answers(_data({"request_id": "q-4", "option": "red"}), [SEVERAL])


# A choice that is not there matched an option without a label, and allowed what nobody had allowed.
def test_no_choice_is_none_of_the_options_whatever_their_labels() -> None:
    unnamed = PendingRequest(
        request_id="q-5", kind="permission", text="?", options=(Option(id="go", label=""),)
    )
    with pytest.raises(AnswerError, match="takes option go; got none"):
        read_answers(_data({"request_id": "q-5", "message": "please do not"}), [unnamed])


# Codex declined a link whose option was said by its label, by other words, or not at all.
@pytest.mark.parametrize("data", [{"option": "opened"}, {"message": "I opened it"}])
def test_a_link_takes_none_but_its_options(data: Any) -> None:
    with pytest.raises(AnswerError, match=r"takes option allow \| deny"):
        read_answers(_data({"request_id": "u-1", **data}), [LINKED])


def test_words_fill_in_a_form_of_one_text() -> None:
    [by_text] = read_answers(user_text("m", "Ada"), [_form("name")])
    [by_answer] = read_answers(_data({"request_id": "f-1", "message": "Ada"}), [_form("name")])
    assert by_text.answers == by_answer.answers == {"name": "Ada"}


# A form that was not filled in was declined in its owner's name, or accepted with nothing in it.
@pytest.mark.parametrize(
    "data",
    [
        {"message": "Ada, 36"},
        {"option": "allow"},
        {"option": "yes, Ada"},
        {"answers": {"name": "Ada"}},
        {"answers": {"name": "Ada", "years": 36}},
    ],
)
def test_a_form_that_is_not_filled_in_is_refused_with_what_it_takes(data: Any) -> None:
    with pytest.raises(AnswerError):
        read_answers(_data({"request_id": "f-1", **data}), [_form("name", "age")])


# A person who accepts a form of which nothing is required may leave all of it empty.
def test_a_form_that_requires_nothing_may_be_left_empty() -> None:
    form = PendingRequest(
        request_id="f-1",
        kind="form",
        text="Who?",
        input={"schema": {"properties": {"name": {"type": "string"}}}},
    )
    [answer] = read_answers(_data({"request_id": "f-1", "answers": {}}), [form])
    assert (answer.choice, answer.answers) == (None, {})


@pytest.mark.parametrize("data", [{"option": "deny"}, {"answers": {"name": "Ada", "age": "36"}}])
def test_a_form_is_filled_in_or_declined(data: Any) -> None:
    [answer] = read_answers(_data({"request_id": "f-1", **data}), [_form("name", "age")])
    assert (answer.choice, answer.answers) == (data.get("option"), data.get("answers"))


def test_a_question_takes_none_but_its_options_as_an_option_and_any_words_as_a_message() -> None:
    with pytest.raises(
        AnswerError, match=r"takes option red \| green \| deny \| abort, or answers"
    ):
        read_answers(_data({"request_id": "q-3", "option": "purple"}), [CHOSEN])
    [answer] = read_answers(_data({"request_id": "q-3", "message": "purple"}), [CHOSEN])
    assert answer.message == "purple"


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
