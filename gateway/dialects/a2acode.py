"""How a2acode asks: `a2acode_permission` in the metadata of an INPUT_REQUIRED message.

Pure. Understood as its releases 0.9.x send and read it. It reads an answer's words: an allow-word
allows, `option:<id>` picks one of the options it listed, anything else declines with these words as
the reason; the metadata names the request and holds what was answered to questions.
"""

from collections.abc import Sequence
from typing import Final

from gateway.core.extension import (
    ABORT,
    ALLOW,
    ALLOW_SESSION,
    DENY,
    Answer,
    CodingRequest,
    Kind,
    Option,
    PendingRequest,
)
from gateway.core.json import JsonObject, as_object, objects
from gateway.core.messages import Message
from gateway.dialects.dialect import Said
from gateway.dialects.items import (
    WAITS,
    chosen,
    item_of,
    notes_of,
    questions_of,
    reason_of,
    request_id,
    said_by,
    words,
)

NAME: Final = "a2acode"
_KEY: Final = "a2acode_permission"
_OPTION: Final = "option:"
# It takes a message of one of these for consent, whatever it was meant for.
_ALLOW_WORDS: Final = frozenset({"allow", "yes", "y", "approve", "ok", "accept", "grant"})
_PLAN_TOOL: Final = "ExitPlanMode"
_ALLOWS_ALWAYS: Final = "allow_always"


class A2acodeEar:
    def plain(self, result: JsonObject) -> list[JsonObject]:
        item = item_of(result)
        if item is None or item.state != WAITS:
            return [result]
        asked = as_object(as_object(item.message.get("metadata")).get(_KEY))
        if not words(asked.get("request_id")):
            return [result]
        return [item.asking([_request(asked, item.text)])]


class A2acode:
    name = NAME
    extensions: tuple[str, ...] = ()
    one_task = False

    def ear(self, pending: Sequence[PendingRequest]) -> A2acodeEar:
        return A2acodeEar()

    def answer(self, request: PendingRequest, answer: Answer, message: Message) -> Said:
        theirs, notes = notes_of(request)
        block: JsonObject = {"request_id": theirs}
        text = _decision(answer, notes)
        if request.kind == "question" and answer.choice not in (DENY, ABORT):
            only = len(request.questions) == 1
            given = {one.id: chosen(answer, one, only=only) for one in request.questions}
            block["answers"] = {
                one.id: given[one.id] if one.multi_select else "\n".join(given[one.id])
                for one in request.questions
                if given[one.id]
            }
            text = ALLOW
        return said_by(message, text, {_KEY: block})

    def spoken_by(self, card_name: str, card_extensions: Sequence[str]) -> bool:
        return False  # its card says nothing of it, and it reads no settings

    def settings(self, request: CodingRequest) -> JsonObject:
        return {}


def _request(asked: JsonObject, text: str) -> PendingRequest:
    tool, given = words(asked.get("tool")), as_object(asked.get("input"))
    questions = questions_of(given.get("questions"))
    kind: Kind = "permission"
    if questions:
        kind = "question"
    elif tool == _PLAN_TOOL or words(given.get("plan")):
        kind = "plan"
    offered = objects(asked.get("options"))
    always = [one for one in offered if one.get("kind") == _ALLOWS_ALWAYS]
    notes = {ALLOW_SESSION: words(always[0].get("id"))} if always else {}
    return PendingRequest(
        request_id=request_id(NAME, words(asked.get("request_id")), **notes),
        kind=kind,
        title=tool or None,
        text=text.partition("\n")[0] or tool or "the agent asks for permission",
        tool=tool or None,
        input=given or None,
        questions=questions,
        options=() if questions else _options(offered, always[:1]),
    )


def _options(offered: Sequence[JsonObject], session: Sequence[JsonObject]) -> tuple[Option, ...]:
    """Ours where they mean the same; what else the agent offers by its own id."""
    found = [Option(id=ALLOW, label=_label(offered, "allow_once") or "Allow once")]
    found += [Option(id=ALLOW_SESSION, label=words(one.get("name")) or "Allow") for one in session]
    standing = {"allow_once", "reject_once"}
    for one in offered:
        kind, theirs = one.get("kind"), words(one.get("id"))
        if kind in standing:
            standing.discard(str(kind))
        elif one not in session and theirs:
            found.append(Option(id=f"{_OPTION}{theirs}", label=words(one.get("name")) or theirs))
    found.append(Option(id=DENY, label=_label(offered, "reject_once") or "Deny"))
    return (*found, Option(id=ABORT, label="Deny and stop"))


def _label(offered: Sequence[JsonObject], kind: str) -> str:
    return next((words(one.get("name")) for one in offered if one.get("kind") == kind), "")


def _decision(answer: Answer, notes: dict[str, str]) -> str:
    choice = answer.choice or DENY
    if choice == ALLOW or choice.startswith(_OPTION):
        return choice
    if choice == ALLOW_SESSION and notes.get(ALLOW_SESSION):
        return _OPTION + notes[ALLOW_SESSION]
    reason = reason_of(answer)
    if reason is None:
        return DENY
    consents = reason.lower().rstrip(".!") in _ALLOW_WORDS or reason.startswith(_OPTION)
    return f"{DENY}: {reason}" if consents else reason
