"""How a run goes on after a restart of its wrapper: what was asked and answered, in words, and which
permissions are given without asking again.

Pure. The vendor's session knows only that its turn was cut off; the words tell it the rest.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.core import json
from gateway.core.extension import ABORT, ALLOW, ALLOW_SESSION, Answer, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message, user_text
from wrappers.adapter import Answered

ALLOWED: Final = frozenset({ALLOW, ALLOW_SESSION})
# In a permission's input: the model's own words, which it need not repeat letter by letter.
_WORDS: Final = frozenset({"description", "reason"})

_BEGIN: Final = (
    "You were interrupted while you waited for the following; nothing of it has been done. "
    "What was answered since:"
)
_GO_ON: Final = "Go on with the task from there. Do not ask the same again."


def message_of(run_id: str, answered: Sequence[Answered]) -> Message:
    """What the resumed session is told."""
    told = [f"- {_told(item.request, item.answer)}" for item in answered]
    return user_text(f"{run_id}-resumed", "\n".join([_BEGIN, *told, _GO_ON]))


def aborts(answered: Iterable[Answered]) -> bool:
    """True when an answer says to stop: nothing is resumed for that."""
    return any(item.answer.choice == ABORT for item in answered)


class Grants:
    """Permissions that were given while nobody could take them. Each is good once."""

    def __init__(self, answered: Iterable[Answered] = ()) -> None:
        self._left = [
            item
            for item in answered
            if item.request.kind == "permission" and item.answer.choice in ALLOWED
        ]

    def take(self, request: PendingRequest) -> Answer | None:
        """The answer to `request` if it asks for the very tool and input that was allowed, or for
        the input that the answer put in its place (which is what the agent was told)."""
        if request.kind != "permission":
            return None
        for item in self._left:
            changed = item.request.model_copy(update={"input": item.answer.updated_input})
            granted = (
                [item.request] if item.answer.updated_input is None else [item.request, changed]
            )
            if _what(request) in map(_what, granted):
                self._left.remove(item)
                return item.answer.model_copy(update={"request_id": request.request_id})
        return None


def _what(request: PendingRequest) -> tuple[str | None, JsonObject]:
    given = request.input or {}
    return request.tool, {key: value for key, value in given.items() if key not in _WORDS}


def _told(request: PendingRequest, answer: Answer) -> str:
    match request.kind:
        case "permission":
            given = json.encode(answer.updated_input or request.input or {})
            what = f"You asked for permission to use {request.tool or 'a tool'} with {given}."
            if answer.choice in ALLOWED:
                return f"{what} It is granted: use it now, exactly like that.{_note(answer)}"
            return f"{what} It was denied: {answer.message or 'no reason was given'}"
        case "plan":
            if answer.choice in ALLOWED:
                return f"Your plan is approved. Carry it out.{_note(answer)}"
            return f"Your plan is not approved: {answer.message or 'revise it'}"
        case "url":
            done = "It was done." if answer.choice in ALLOWED else "It was declined."
            return f"You asked for a page to be visited: {request.text} {done}"
        case _:
            return f"You asked: {request.text}\n  The answer: {_said(request, answer)}"


def _note(answer: Answer) -> str:
    """What was said along with a yes."""
    return f"\n  {answer.message}" if answer.message else ""


def _said(request: PendingRequest, answer: Answer) -> str:
    if not answer.answers:
        return answer.message or answer.choice or "none"
    names = {question.id: question.question for question in request.questions}
    if len(answer.answers) == 1:
        return _text(next(iter(answer.answers.values())))
    return "; ".join(f"{names.get(key, key)} {_text(it)}" for key, it in answer.answers.items())


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.encode(value)
