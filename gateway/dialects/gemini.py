"""How Gemini CLI's a2a-server asks: tool calls that await approval, in the data parts of updates.

Pure. Understood as its releases 0.2x send it (recorded from 0.25.2): `metadata.coderAgent.kind` says
what an update is; a tool call whose `status` is awaiting_approval is answered by a data part with its
`callId` and an `outcome`. Three of its ways would be misread in plain A2A:

- Text comes in pieces, each a message of its own (`text-content`): they are joined.
- Its task is never completed. INPUT_REQUIRED as a `state-change` without a message is the end of its
  turn: the question, if a tool call awaits approval, else the end of the run.
- Updates of tool calls repeat the state before, also INPUT_REQUIRED while the tool runs.
"""

from collections.abc import Sequence
from typing import Final

from gateway.core.extension import (
    ABORT,
    ALLOW,
    ALLOW_SESSION,
    DENY,
    PERMISSION_OPTIONS,
    Answer,
    CodingRequest,
    Kind,
    PendingRequest,
)
from gateway.core.json import JsonObject, as_object
from gateway.core.messages import DataPart, Message
from gateway.dialects.dialect import Said
from gateway.dialects.items import WAITS, WORKS, Item, item_of, notes_of, request_id, words

NAME: Final = "gemini"
_EXTENSION: Final = (
    "https://github.com/google-gemini/gemini-cli/blob/main/docs/a2a/developer-profile/v0/spec.md"
)
_CARD_NAME: Final = "Gemini SDLC Agent"
_AGENT: Final = "coderAgent"
_PERSISTED: Final = "__persistedState"
_COMPLETED: Final = "TASK_STATE_COMPLETED"
_FAILED: Final = "TASK_STATE_FAILED"
_AWAITING: Final = "awaiting_approval"
_OUTCOMES: Final = {
    ALLOW: "proceed_once",
    ALLOW_SESSION: "proceed_always",
    DENY: "cancel",
    ABORT: "cancel",
}


class GeminiEar:
    def __init__(self, pending: Sequence[PendingRequest]) -> None:
        self._open = {notes_of(request)[0]: request for request in pending}
        self._text = self._first = ""
        self._error: str | None = None

    def plain(self, result: JsonObject) -> list[JsonObject]:
        item = item_of(result)
        if item is None:
            return [result]
        if item.kind == "task":
            # A task asked for has no history: what was open before is open while it waits.
            return [self._turn(item) if _PERSISTED in item.metadata else result]
        kind = as_object(item.metadata.get(_AGENT)).get("kind")
        if kind is None:
            return [result]
        # Said in plain words from here on; left in, each kind would be news of its own.
        about = {name: value for name, value in item.metadata.items() if name != _AGENT}
        item = Item(kind=item.kind, body={**item.body, "metadata": about})
        if kind == "text-content":
            self._first = self._first if self._text else words(item.message.get("messageId"))
            self._text += item.text
            return []
        return [*self._spoken(item), *self._update(item, kind)]

    def _spoken(self, item: Item) -> list[JsonObject]:
        """The pieces of text that came before `item`, as one message."""
        text, self._text = self._text, ""
        if not text:
            return []
        message: JsonObject = {
            "messageId": self._first,
            "role": "ROLE_AGENT",
            "parts": [{"text": text}],
        }
        return [item.with_status(WORKS, message)]

    def _update(self, item: Item, kind: object) -> list[JsonObject]:
        if kind != "state-change":
            for call in item.data:
                self._tool(call)
            if item.state != WAITS:
                return [item.as_result]
            if self._open:  # others are open still
                return [item.asking(list(self._open.values()))]
            return [item.with_status(WORKS, item.message or None)]
        self._error = words(item.metadata.get("error")) or self._error
        return [self._turn(item)]

    def _tool(self, call: JsonObject) -> None:
        theirs = words(as_object(call.get("request")).get("callId"))
        if call.get("status") == _AWAITING and theirs:
            self._open[theirs] = _request(theirs, call)
        else:
            self._open.pop(theirs, None)

    def _turn(self, item: Item) -> JsonObject:
        if item.state != WAITS:
            return item.as_result
        if item.message:  # it stopped by itself and says why: nothing it asked before is open
            self._open.clear()
            return item.as_result
        if self._open:
            return item.asking(list(self._open.values()))
        if self._error is None:
            return item.with_status(_COMPLETED)
        parts = [{"text": self._error}]
        return item.with_status(_FAILED, {"messageId": "", "role": "ROLE_AGENT", "parts": parts})


class Gemini:
    name = NAME
    extensions = (_EXTENSION,)
    one_task = True

    def ear(self, pending: Sequence[PendingRequest]) -> GeminiEar:
        return GeminiEar(pending)

    def answer(self, request: PendingRequest, answer: Answer, message: Message) -> Said:
        theirs = notes_of(request)[0]
        outcome = _OUTCOMES.get(answer.choice or DENY, _OUTCOMES[DENY])
        data: JsonObject = {"callId": theirs, "outcome": outcome}
        edited: object = (answer.updated_input or {}).get("newContent")
        if isinstance(edited, str) and outcome != _OUTCOMES[DENY]:
            data["newContent"] = edited
        # A reason would be a prompt of its own to it, in the midst of the tool call.
        parts = (DataPart(data=data),)
        return Message(message_id=message.message_id, role="user", parts=parts)

    def spoken_by(self, card_name: str, card_extensions: Sequence[str]) -> bool:
        return card_name == _CARD_NAME or _EXTENSION in card_extensions

    def settings(self, request: CodingRequest) -> JsonObject:
        if request.cwd is None:
            return {}
        asked = {"kind": "agent-settings", "workspacePath": request.cwd}
        # It has no sandbox to be careful in: tools run unasked only where that was asked for.
        alone = {"autoExecute": True} if request.permission_mode == "auto" else {}
        return {_AGENT: {**asked, **alone}}


def _request(theirs: str, call: JsonObject) -> PendingRequest:
    request, details = as_object(call.get("request")), as_object(call.get("confirmationDetails"))
    tool, kind = words(request.get("name")), words(details.get("type"))
    asks: Kind = "plan" if kind == "exit_plan_mode" else "permission"
    return PendingRequest(
        request_id=request_id(NAME, theirs),
        kind=asks,
        title=words(details.get("title")) or None,
        text=_text(kind, details) or words(details.get("title")) or f"Use the tool {tool}",
        tool=tool or None,
        input=as_object(request.get("args")) or None,
        options=PERMISSION_OPTIONS,
    )


def _text(kind: str, details: JsonObject) -> str:
    """What is to be allowed, as the confirmation's own members say it."""
    match kind:
        case "exec" | "sandbox_expansion":
            return words(details.get("command"))
        case "edit":
            return words(details.get("fileDiff")) or words(details.get("filePath"))
        case "mcp":
            return f"{words(details.get('serverName'))}: {words(details.get('toolName'))}"
        case "info":
            return words(details.get("prompt"))
        case "exit_plan_mode":
            return words(details.get("planPath"))
        case _:
            return ""
