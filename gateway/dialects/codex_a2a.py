"""How codex-a2a asks: `metadata.shared.interrupt` of a status update, answered by JSON-RPC methods.

Pure. Understood as its releases 1.x send and read it: an INPUT_REQUIRED status without a message
whose metadata holds the request (`phase` asked), a WORKING one when it is gone (`phase` resolved).
The answer is `a2a.interrupt.<type>.reply` on the agent's JSON-RPC interface; the stream of the task
stays open meanwhile.
"""

from collections.abc import Sequence
from typing import Final

from gateway.core.errors import InvalidInputError
from gateway.core.extension import (
    ABORT,
    ALLOW,
    ALLOW_SESSION,
    DENY,
    PERMISSION_OPTIONS,
    Answer,
    CodingRequest,
    Option,
    PendingRequest,
)
from gateway.core.json import JsonObject, as_object, merge_null
from gateway.core.messages import Message
from gateway.dialects.dialect import Call, Said
from gateway.dialects.items import (
    WAITS,
    WORKS,
    chosen,
    item_of,
    notes_of,
    questions_of,
    reason_of,
    request_id,
    words,
)

NAME: Final = "codex-a2a"
_STREAM_HINTS: Final = "urn:codex-a2a:extension:stream-hints:v1"
_INTERRUPTS: Final = "urn:codex-a2a:extension:interactive-interrupt:v1"
_TYPE: Final = "type"
_REPLIES: Final = {ALLOW: "once", ALLOW_SESSION: "always", DENY: "reject", ABORT: "reject"}
_SCOPES: Final = {ALLOW: "turn", ALLOW_SESSION: "session"}
_ACTIONS: Final = {DENY: "decline", ABORT: "cancel"}
_OPENED: Final = (Option(id=ALLOW, label="Done"), Option(id=DENY, label="Decline"))


class CodexA2aEar:
    """Several requests can be open at once; each item brings only its own."""

    def __init__(self, pending: Sequence[PendingRequest]) -> None:
        self._open = {request.request_id: request for request in pending}

    def plain(self, result: JsonObject) -> list[JsonObject]:
        item = item_of(result)
        if item is None:
            return [result]
        asked = as_object(as_object(item.metadata.get("shared")).get("interrupt"))
        if theirs := words(asked.get("request_id")):
            request = _request(theirs, asked)
            if asked.get("phase") == "resolved":
                self._open.pop(request.request_id, None)
            elif item.state == WAITS:
                self._open[request.request_id] = request
        if item.kind == "task" and item.state == WORKS:
            self._open.clear()  # whatever was asked was answered while nobody listened
        # One of several is resolved by a state of work, which takes the others back in plain A2A.
        if self._open and (item.state == WAITS or (theirs and item.state == WORKS)):
            return [item.asking(list(self._open.values()))]
        return [result]


class CodexA2a:
    name = NAME
    extensions = (_STREAM_HINTS, _INTERRUPTS)
    one_task = False

    def ear(self, pending: Sequence[PendingRequest]) -> CodexA2aEar:
        return CodexA2aEar(pending)

    def answer(self, request: PendingRequest, answer: Answer, message: Message) -> Said:
        theirs, notes = notes_of(request)
        kind = notes.get(_TYPE, "")
        if kind == "question" and answer.choice in (DENY, ABORT):
            return Call(method="a2a.interrupt.question.reject", params={"request_id": theirs})
        params = {"request_id": theirs, **_reply(kind, request, answer)}
        return Call(method=f"a2a.interrupt.{kind}.reply", params=params)

    def spoken_by(self, card_name: str, card_extensions: Sequence[str]) -> bool:
        return any(uri in self.extensions for uri in card_extensions)

    def settings(self, request: CodingRequest) -> JsonObject:
        execution = merge_null({"model": request.model, "effort": request.effort})
        asked = merge_null({"directory": request.cwd, "execution": execution or None})
        return {"codex": asked} if asked else {}


def _request(theirs: str, asked: JsonObject) -> PendingRequest:
    details, kind = as_object(asked.get("details")), words(asked.get("type"))
    text = words(details.get("display_message"))
    name = request_id(NAME, theirs, **{_TYPE: kind})
    match kind:
        case "question":
            questions = questions_of(details.get("questions"), key="id")
            said = text or "\n".join(one.question for one in questions) or "the agent asks"
            return PendingRequest(request_id=name, kind="question", text=said, questions=questions)
        case "elicitation":
            return _elicitation(name, details, text)
        case "permissions":
            tool, given = kind, as_object(details.get("permissions"))
        case _:
            tool = words(details.get("permission")) or "permission"
            patterns: object = details.get("patterns")
            given = {"patterns": patterns} if patterns else {}
    return PendingRequest(
        request_id=name,
        kind="permission",
        text=text or f"Permission for {tool.replace('_', ' ')}",
        tool=tool,
        input=given or None,
        options=PERMISSION_OPTIONS,
    )


def _elicitation(name: str, details: JsonObject, text: str) -> PendingRequest:
    tool = words(details.get("server_name")) or None
    if url := words(details.get("url")):
        return PendingRequest(
            request_id=name,
            kind="url",
            text=text or url,
            tool=tool,
            input={"url": url},
            options=_OPENED,
        )
    schema = as_object(details.get("requested_schema"))
    return PendingRequest(
        request_id=name, kind="form", text=text or "Fill in", tool=tool, input={"schema": schema}
    )


def _reply(kind: str, request: PendingRequest, answer: Answer) -> JsonObject:
    """The params of a reply beside the request's id."""
    choice = answer.choice
    match kind:
        case "permission":
            said = {"reply": _REPLIES.get(choice or DENY, "reject")}
            return merge_null({**said, "message": reason_of(answer)})
        case "permissions":
            granted = dict(request.input or {}) if choice in _SCOPES else {}
            return {"permissions": granted, "scope": _SCOPES.get(choice or DENY, "turn")}
        case "question":
            only = len(request.questions) == 1
            return {"answers": [chosen(answer, one, only=only) for one in request.questions]}
        case "elicitation":
            if choice in _ACTIONS:
                return {"action": _ACTIONS[choice]}
            return {"action": "accept", "content": answer.answers or {}}
        case _:
            raise InvalidInputError(
                f"request {request.request_id!r} is of a type that codex-a2a takes no answer to; "
                "cancel the run"
            )
