"""What a follow-up message answers: its data parts, or its text when one request is pending.

Pure. A message with several answers is all or nothing: the first that does not fit refuses all.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

from pydantic import ValidationError

from gateway.core.extension import (
    ABORT,
    ALLOW,
    DENY,
    PERMISSION_OPTIONS,
    Answer,
    Option,
    PendingRequest,
    describe,
)
from gateway.core.json import JsonObject, as_object
from gateway.core.messages import DataPart, Message, TextPart

_ALLOW_WORDS: Final = frozenset(
    {"allow", "yes", "y", "ok", "okay", "approve", "approved", "accept"}
)

# Of a permission, plan or link that names no options of its own.
YES_OR_NO: Final = tuple(option for option in PERMISSION_OPTIONS if option.id in (ALLOW, DENY))
_WORDS: Final = (str, int, float)
# How a question or a form is declined.
_DECLINES: Final = tuple(option for option in PERMISSION_OPTIONS if option.id in (DENY, ABORT))


class AnswerError(ValueError):
    """An answer that fits no pending request. `code` is stable."""

    def __init__(self, code: str, text: str, request_id: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.request_id = request_id


def read_answers(message: Message, pending: Sequence[PendingRequest]) -> list[Answer]:
    """The answers a follow-up message gives to `pending`; all or nothing.

    Data parts name their request; plain text is an answer only when exactly one request is
    pending: to a question or a form its answer, to anything else an allow-word allows and other
    text denies with that text as the reason. Raises: AnswerError (`request_gone`, `ambiguous_answer`,
    `not_an_answer`).
    """
    found = [answer for part in message.parts for answer in _answers_of(part)]
    if not found:
        found = [_from_text(message, pending)]
    known = {request.request_id: request for request in pending}
    seen: set[str] = set()
    for answer in found:
        if answer.request_id not in known:
            raise AnswerError(
                "request_gone",
                f"no request {answer.request_id!r} is pending; pending now: {_ids(pending)}",
                answer.request_id,
            )
        if answer.request_id in seen:
            raise AnswerError("ambiguous_answer", f"{answer.request_id!r} is answered twice here")
        seen.add(answer.request_id)
    return [_fitted(answer, known[answer.request_id]) for answer in found]


def names_requests(message: Message) -> bool:
    """True when a message is meant as an answer: it names requests, pending or not."""
    data = [as_object(part.data) for part in message.parts if isinstance(part, DataPart)]
    return any("request_id" in one or isinstance(one.get("responses"), list) for one in data)


def _ids(pending: Sequence[PendingRequest]) -> str:
    return ", ".join(repr(request.request_id) for request in pending) or "none"


def _answers_of(part: object) -> list[Answer]:
    if not isinstance(part, DataPart):
        return []
    data = as_object(part.data)
    responses = data.get("responses")
    raws = cast("list[Any]", responses) if isinstance(responses, list) else [data]
    if not isinstance(responses, list) and "request_id" not in data:
        return []
    try:
        return [Answer.model_validate(raw) for raw in raws]
    except ValidationError as exc:
        raise AnswerError("not_an_answer", f"answer: {describe(exc)}") from exc


def _from_text(message: Message, pending: Sequence[PendingRequest]) -> Answer:
    text = "\n".join(p.text for p in message.parts if isinstance(p, TextPart)).strip()
    if not text:
        raise AnswerError(
            "not_an_answer", f"the message answers nothing; pending now: {_ids(pending)}"
        )
    if len(pending) != 1:
        raise AnswerError(
            "ambiguous_answer",
            f"plain text answers only a single request; answer by request_id: {_ids(pending)}",
        )
    only = pending[0]
    if only.kind in ("question", "form"):
        answers: dict[str, Any] | None = None
        if len(only.questions) == 1:
            answers = {only.questions[0].id: text}
        return Answer(request_id=only.request_id, answers=answers, message=text)
    if text.lower().rstrip(".!") in _ALLOW_WORDS:
        return Answer(request_id=only.request_id, option=ALLOW)
    if (chosen := _option(text, only.options)) is not None:
        return Answer(request_id=only.request_id, option=chosen)
    return Answer(request_id=only.request_id, option=DENY, message=text)


def _fitted(answer: Answer, request: PendingRequest) -> Answer:
    """The answer in the request's own words: ids of its options and questions, where it was given
    by their labels. Raises: AnswerError when it does not fit the request's kind."""
    match request.kind:
        case "question":
            return _of_question(answer, request)
        case "form":
            return _of_form(answer, request)
        case _:
            options = request.options or YES_OR_NO
            return _choosing(answer, request, options, _choices(options))


def _of_question(answer: Answer, request: PendingRequest) -> Answer:
    """The label of a single question is its answer, in the form that every agent reads."""
    answers = {
        _question(name, request): _said(value, name, request)
        for name, value in (answer.answers or {}).items()
    }
    if answer.choice is None:
        if not answers and not _words(answer):
            raise AnswerError("not_an_answer", f"{request.request_id!r} takes {_taken(request)}")
        return answer.model_copy(update={"answers": answers or None})
    only = request.questions[0] if len(request.questions) == 1 else None
    labels = [Option(id=one.label, label=one.label) for one in only.options] if only else []
    if only is not None and (label := _option(answer.choice, labels)) is not None:
        answers = {only.id: label, **answers}
        return answer.model_copy(update={"option": None, "decision": None, "answers": answers})
    if not (labels or request.options or len(request.questions) > 1):
        return answer  # to an open question it is words like others
    takes = f"{_choices((*request.options, *labels, *_DECLINES))}, or {_taken(request)}"
    return _choosing(answer, request, (*request.options, *_DECLINES), takes)


def _of_form(answer: Answer, request: PendingRequest) -> Answer:
    """Words fill in a form of one text; in any other they have no place."""
    schema = as_object((request.input or {}).get("schema"))
    members, required = as_object(schema.get("properties")), schema.get("required")
    needed = cast("list[Any]", required) if isinstance(required, list) else []
    lacks = AnswerError("not_an_answer", f"{request.request_id!r} takes {_filled(members, needed)}")
    if answer.choice is not None:
        options = (YES_OR_NO[0], *_DECLINES)
        answer = _choosing(answer, request, options, _choices(options))
        if answer.choice != ALLOW:
            return answer
    given, words = answer.answers or {}, _words(answer)
    if not members:
        if answer.choice is None and not given and not words:
            raise lacks
        return answer
    types = [as_object(member).get("type") for member in members.values()]
    if words and not given and types == ["string"]:
        given = dict.fromkeys(members, words)
    left_out = not given and (words or (answer.choice is None and answer.answers is None))
    if left_out or given.keys() - members.keys() or any(name not in given for name in needed):
        raise lacks
    return answer.model_copy(update={"answers": given})


def _filled(members: JsonObject, needed: Sequence[Any]) -> str:
    names = ", ".join(f"{name} (required)" if name in needed else name for name in members)
    return f"answers ({names or 'members of its form'}), or option deny"


def _choosing(
    answer: Answer, request: PendingRequest, options: Sequence[Option], takes: str
) -> Answer:
    """The answer with the id of its option. Raises: AnswerError; `takes` says what there is."""
    chosen = None if answer.choice is None else _option(answer.choice, options)
    if chosen is None:
        got = "none" if answer.choice is None else repr(answer.choice[:64])
        text = f"{request.request_id!r} takes option {takes}; got {got}"
        raise AnswerError("not_an_answer", text)
    return answer.model_copy(update={"option": chosen, "decision": None})


def _words(answer: Answer) -> str:
    return (answer.message or "").strip()


def _said(value: Any, name: str, request: PendingRequest) -> str | list[str]:
    """What was said to a question. Raises: AnswerError for nothing, and for what is no words."""
    said: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
    texts = [one if isinstance(one, str) else str(one) for one in said if isinstance(one, _WORDS)]
    if said and len(texts) == len(said) and all(text.strip() for text in texts):
        return texts if isinstance(value, list) else texts[0]
    raise AnswerError(
        "not_an_answer",
        f"{request.request_id!r}: the answer to {name[:64]!r} is a label, a list of labels, or text",
    )


def _option(said: str, options: Sequence[Option]) -> str | None:
    """The id of the option that is meant, by its id or its label."""
    meant = said.strip().casefold()
    exact = (option.id for option in options if option.id == said)
    alike = (o.id for o in options if meant in (o.id.casefold(), o.label.casefold()))
    return next(exact, None) or next(alike, None)


def _question(name: str, request: PendingRequest) -> str:
    """The id of the question that is meant, by its id or its words. Raises: AnswerError."""
    for question in request.questions:
        if name in (question.id, question.question):
            return question.id
    if not request.questions:
        return name
    known = ", ".join(repr(question.id) for question in request.questions)
    raise AnswerError(
        "not_an_answer",
        f"{request.request_id!r} has no question {name[:64]!r}; the ids of its questions: {known}",
    )


def _taken(request: PendingRequest) -> str:
    known = ", ".join(repr(question.id) for question in request.questions)
    return f"answers (ids of its questions: {known}) or a message" if known else "a message"


def _choices(options: Sequence[Option]) -> str:
    return " | ".join(option.id for option in options)
