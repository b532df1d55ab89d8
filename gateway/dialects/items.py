"""The items of a task as dialects take them apart and put them together again. Pure.

Knows A2A's JSON and the form in which our translation reads requests; no dialect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode

from gateway.core import json
from gateway.core.extension import Answer, PendingRequest, Question, QuestionOption
from gateway.core.json import JsonObject, as_object, objects
from gateway.core.messages import Message, TextPart

WAITS: Final = "TASK_STATE_INPUT_REQUIRED"
WORKS: Final = "TASK_STATE_WORKING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A task or a status update; `metadata` is that of either, `message` its status'."""

    kind: str
    body: JsonObject

    @property
    def status(self) -> JsonObject:
        return as_object(self.body.get("status"))

    @property
    def state(self) -> str:
        return str(self.status.get("state"))

    @property
    def metadata(self) -> JsonObject:
        return as_object(self.body.get("metadata"))

    @property
    def message(self) -> JsonObject:
        return as_object(self.status.get("message"))

    @property
    def data(self) -> list[JsonObject]:
        """The data parts of its message."""
        parts = objects(self.message.get("parts"))
        return [found for part in parts if (found := as_object(part.get("data")))]

    @property
    def text(self) -> str:
        parts = objects(self.message.get("parts"))
        return "".join(text for part in parts if isinstance(text := part.get("text"), str))

    @property
    def as_result(self) -> JsonObject:
        return {self.kind: self.body}

    def with_status(self, state: str, message: JsonObject | None = None) -> JsonObject:
        """The item as it would be in another state."""
        status = {key: value for key, value in self.status.items() if key != "message"}
        status["state"] = state
        if message is not None:
            status["message"] = message
        return {self.kind: {**self.body, "status": status}}

    def asking(self, requests: Sequence[PendingRequest]) -> JsonObject:
        """The item as a question in our own form: the same requests make the same message."""
        name = "\n".join(request.request_id for request in requests)
        pending = [request.to_json() for request in requests]
        parts: list[JsonObject] = [{"data": {"pending": pending}}]
        message: JsonObject = {"messageId": name, "role": "ROLE_AGENT", "parts": parts}
        return self.with_status(WAITS, message)


def item_of(result: JsonObject) -> Item | None:
    """The task or status update in a result; None for anything else."""
    for kind in ("statusUpdate", "task"):
        if body := as_object(result.get(kind)):
            return Item(kind=kind, body=body)
    return None


def request_id(dialect: str, theirs: str, **notes: str) -> str:
    """Our id of an agent's request, with the notes that its answer will need."""
    query = f"?{urlencode(notes)}" if notes else ""
    return f"{dialect}:{quote(theirs, safe='')}{query}"


def notes_of(request: PendingRequest) -> tuple[str, dict[str, str]]:
    """The agent's own id of a request, and the notes."""
    theirs, _, query = request.request_id.partition(":")[2].partition("?")
    return unquote(theirs), dict(parse_qsl(query))


def said_by(message: Message, text: str | None, metadata: JsonObject) -> Message:
    """A follow-up under the caller's message id."""
    parts = (TextPart(text=text),) if text else ()
    return Message(message_id=message.message_id, role="user", parts=parts, metadata=metadata)


def reason_of(answer: Answer) -> str | None:
    """Why somebody declined, in one line."""
    return " ".join((answer.message or "").split()) or None


def words(value: object) -> str:
    """A text of the agent's; empty where it sent something else."""
    return value if isinstance(value, str) else ""


def questions_of(value: object, *, key: str | None = None) -> tuple[Question, ...]:
    """The questions in an agent's list, by their member `key` or, without one, by their words."""
    found: list[Question] = []
    for raw in objects(value):
        asked = words(raw.get("question"))
        name = words(raw.get(key)) if key else asked
        options = tuple(
            QuestionOption(label=label, description=words(option.get("description")) or None)
            for option in objects(raw.get("options"))
            if (label := words(option.get("label")))
        )
        if name:
            found.append(
                Question(
                    id=name,
                    question=asked or name,
                    header=words(raw.get("header")) or None,
                    options=options,
                    multi_select=raw.get("multiSelect") is True,
                )
            )
    return tuple(found)


def chosen(answer: Answer, question: Question, *, only: bool) -> list[str]:
    """What was answered to one question; the message where it is the `only` one."""
    value: object = (answer.answers or {}).get(question.id)
    if value is None:
        return [answer.message] if only and answer.message else []
    given = cast("list[object]", value) if isinstance(value, list) else [value]
    return [one if isinstance(one, str) else json.encode(one) for one in given]
