"""A pending request as a form or a link for a person, and what the person says as an answer to it.

Pure; knows no run and no server. Deterministic: the same request is always the same form. What
flat fields cannot hold has no form, and stays a question to the agent that polls.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitRequestURLParams

from gateway.core import json
from gateway.core.answers import YES_OR_NO
from gateway.core.extension import (
    ALLOW,
    Answer,
    Option,
    PendingRequest,
    Question,
)
from gateway.core.json import JsonObject, as_object

MESSAGE_MAX: Final = 2000  # characters that a person is shown
HEAD_MAX: Final = 400  # of them, who asks
INPUT_MAX: Final = 800  # of them, what a tool is to be given
CUT: Final = " [cut]"
DECISION: Final = "decision"
REASON: Final = "reason"
ANSWER: Final = "answer"

_TYPES: Final = frozenset({"string", "number", "integer", "boolean"})
# What a field may say of itself; everything else is left out, the agent checks its answer anyway.
_SAID: Final = frozenset(
    {"type", "title", "description", "default", "enum", "enumNames", "format"}
    | {"minLength", "maxLength", "minimum", "maximum"}
)
_READ: Final = frozenset({"title", "description"})  # of what it says of itself, by a person
_FORMATS: Final = frozenset({"date", "date-time", "email", "uri"})
# Control characters but the newline, and those that turn the direction of writing.
_UNSHOWN: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Content: TypeAlias = Mapping[str, Any]


class UnusableError(Exception):
    """What came back is no answer to the form; the text says what it lacks."""


def asked(request: PendingRequest, who: str, *, links: bool) -> ElicitRequest | None:
    """The form or link for one request of the agent `who`; None when there is none. `links`: the
    client opens some."""
    if request.kind == "url":
        url = (request.input or {}).get("url")
        if not links or not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            return None
        link = ElicitRequestURLParams(
            message=_message(request, who), url=url, elicitation_id=request.request_id
        )
        return ElicitRequest(params=link)
    fields = _fields(request)
    if fields is None:
        return None
    required = [name for name, field in fields.items() if name != REASON or "oneOf" in field]
    if request.kind == "form":
        required = [name for name in _required(request) if name in fields]
    form = ElicitRequestFormParams(
        message=_message(request, who),
        requested_schema={"type": "object", "properties": _readable(fields), "required": required},
    )
    return ElicitRequest(params=form)


def answered(request: PendingRequest, content: Content | None) -> Answer:
    """The answer that an accepted form or link is. Raises: UnusableError."""
    given = {name: value for name, value in (content or {}).items() if value is not None}
    match request.kind:
        case "url":
            return Answer(request_id=request.request_id, option=ALLOW)
        case "form" if _schema(request):
            return _filled(request, given)
        case "permission" | "plan":
            return _decided(request, given)
        case _ if request.questions:
            return _told(request, given)
        case _ if request.options:
            return _decided(request, given)
        case _:
            return Answer(request_id=request.request_id, message=_text(given, ANSWER))


def _fields(request: PendingRequest) -> JsonObject | None:
    match request.kind:
        case "form" if _schema(request):
            return _flat(_schema(request))
        case "permission" | "plan":
            return _decision(request.options or YES_OR_NO)
        case _ if request.questions:
            return {_key(n): _question(one) for n, one in enumerate(request.questions)}
        case _ if request.options:
            return _decision(request.options)
        case _:
            return {ANSWER: {"type": "string", "title": "Answer"}}


# -- a choice among options ---------------------------------------------------------------------


def _decision(options: Sequence[Option]) -> JsonObject:
    choices = [{"const": option.id, "title": option.label} for option in options]
    return {
        DECISION: {"type": "string", "title": "Decision", "oneOf": choices},
        REASON: {"type": "string", "title": "Reason", "description": "May be empty."},
    }


def _decided(request: PendingRequest, given: Content) -> Answer:
    choice = _text(given, DECISION)
    known = [option.id for option in request.options or YES_OR_NO]
    if choice not in known:
        raise UnusableError(f"decision is none of {', '.join(known)}")
    reason = given.get(REASON)
    said = reason.strip() if isinstance(reason, str) else ""
    return Answer(request_id=request.request_id, option=choice, message=said or None)


# -- questions ----------------------------------------------------------------------------------


def _key(number: int) -> str:
    """A field's name: ids of questions may be whole sentences."""
    return f"q{number + 1}"


def _question(question: Question) -> JsonObject:
    described = [f"{one.label}: {one.description}" for one in question.options if one.description]
    about: JsonObject = {
        "title": question.header or question.question,
        "description": "\n".join([question.question, *described]),
    }
    labels = [option.label for option in question.options]
    if not labels:
        return {"type": "string", **about}
    if question.multi_select:
        items = {"type": "string", "enum": labels}
        return {"type": "array", **about, "items": items, "minItems": 1}
    return {"type": "string", **about, "enum": labels}


def _told(request: PendingRequest, given: Content) -> Answer:
    answers: JsonObject = {}
    for number, question in enumerate(request.questions):
        name = _key(number)
        if question.multi_select and question.options:
            answers[question.id] = _texts(given, name)
        else:
            answers[question.id] = _text(given, name)
    return Answer(request_id=request.request_id, answers=answers)


def _text(given: Content, name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UnusableError(f"{name} is missing or no text")
    return value


def _texts(given: Content, name: str) -> list[str]:
    value = given.get(name)
    texts = cast("list[Any]", value) if isinstance(value, list) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise UnusableError(f"{name} is missing or no list of texts")
    return texts


# -- an agent's own form ------------------------------------------------------------------------


def _schema(request: PendingRequest) -> JsonObject:
    """The members of the form by name; nothing when it says none."""
    return as_object(as_object((request.input or {}).get("schema")).get("properties"))


def _required(request: PendingRequest) -> list[str]:
    required = as_object((request.input or {}).get("schema")).get("required")
    names = cast("list[Any]", required) if isinstance(required, list) else []
    return [name for name in names if isinstance(name, str)]


def _flat(members: JsonObject) -> JsonObject | None:
    fields = {name: _primitive(as_object(about)) for name, about in members.items()}
    return None if any(field is None for field in fields.values()) else fields


def _primitive(about: JsonObject) -> JsonObject | None:
    """A member as a field of a form, None when it is no flat one."""
    field = {name: value for name, value in about.items() if name in _SAID}
    if field.get("format") not in _FORMATS:
        field.pop("format", None)
    if isinstance(about.get("oneOf"), list):
        choices = [as_object(one) for one in cast("list[Any]", about["oneOf"])]
        if not all(isinstance(one.get("const"), str) for one in choices):
            return None
        named = [
            {"const": one["const"], "title": one.get("title", one["const"])} for one in choices
        ]
        return {**field, "type": "string", "oneOf": named}
    if about.get("type") == "array":
        labels = as_object(about.get("items")).get("enum")
        if not _are_texts(labels):
            return None
        return {**field, "items": {"type": "string", "enum": labels}}
    if "enum" in about:
        return {**field, "type": "string"} if _are_texts(about["enum"]) else None
    return field if about.get("type") in _TYPES else None


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in cast("list[Any]", value))


def _filled(request: PendingRequest, given: Content) -> Answer:
    members = _schema(request)
    if lacking := [name for name in _required(request) if name not in given]:
        raise UnusableError(f"{', '.join(lacking)[:200]} is missing")
    answers = {name: value for name, value in given.items() if name in members}
    return Answer(request_id=request.request_id, answers=answers)


# -- what the person reads ----------------------------------------------------------------------


def _message(request: PendingRequest, who: str) -> str:
    """Who asks what. What a tool is to be given belongs to it: that is what is decided on."""
    head = _cut(f"{who} asks: {request.title}" if request.title else f"{who} asks:", HEAD_MAX)
    given = ""
    if request.kind == "permission" and request.input:
        given = "\n" + _cut(f"{request.tool or 'input'}: {json.encode(request.input)}", INPUT_MAX)
    # The agent's own words take what room is left: however many, they push nothing out of sight.
    text = _cut(request.text, MESSAGE_MAX - len(head) - 1 - len(given))
    return _shown(f"{head}\n{text}{given}")


def _shown(text: str) -> str:
    return _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", text)


def _readable(node: Any) -> Any:
    """Fields whose titles and descriptions a terminal may show; values stay what they are."""
    if isinstance(node, list):
        return [_readable(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    return {
        name: _shown(value) if name in _READ and isinstance(value, str) else _readable(value)
        for name, value in cast("JsonObject", node).items()
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - len(CUT)] + CUT
