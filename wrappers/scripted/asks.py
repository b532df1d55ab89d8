"""What the scripted agent asks: questions, permissions, plans, credentials.

Each verb is a generator of steps; several requests may be open at once.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, cast

from gateway.core import extension
from gateway.core.events import AgentMessage, AuthRequired, StatusChanged
from gateway.core.extension import Answer, Option, PendingRequest, Question, QuestionOption
from wrappers.adapter import Ask, Step, Withdraw
from wrappers.scripted.acts import Steps, bad_line, called, object_of
from wrappers.scripted.play import EndedError, Play
from wrappers.scripted.suites import HELLO, goes_on

QUESTION_ID: Final = "answer"
PLAN_OPTIONS: Final = (
    Option(id=extension.ALLOW, label="Approve"),
    Option(id=extension.DENY, label="Keep planning"),
)


def _question(play: Play, rest: str) -> PendingRequest:
    found = re.fullmatch(r"(.*?)\s*(?:\[([^\]]*)\])?", rest)
    text, choices = found.groups() if found else (rest, None)
    labels = [label.strip() for label in choices.split("|")] if choices else []
    options = tuple(QuestionOption(label=label) for label in labels)
    return PendingRequest(
        request_id=play.new_id("question"),
        kind="question",
        text=text,
        questions=(Question(id=QUESTION_ID, question=text, options=options),),
    )


def _permission(play: Play, rest: str) -> PendingRequest:
    tool, _, given = rest.partition(" ")
    return PendingRequest(
        request_id=play.new_id("permission"),
        kind="permission",
        title=f"Use {tool}",
        text=f"{tool} {given}".strip(),
        tool=tool,
        input=object_of("permission", given),
        options=extension.PERMISSION_OPTIONS,
    )


def _plan(play: Play, rest: str) -> PendingRequest:
    return PendingRequest(
        request_id=play.new_id("plan"), kind="plan", title="Plan", text=rest, options=PLAN_OPTIONS
    )


REQUESTS: Final[Mapping[str, Callable[[Play, str], PendingRequest]]] = {
    "ask": _question,
    "permission": _permission,
    "plan": _plan,
}


async def open_request(play: Play, rest: str) -> Steps:
    verb, _, what = rest.partition(" ")
    if verb not in REQUESTS:
        raise bad_line("open", f"one of {', '.join(REQUESTS)}")
    request = REQUESTS[verb](play, what.strip())
    if _need_not_ask(play, request):
        for step in called(
            request.tool or "", request.input or {}, request.request_id, "completed"
        ):
            yield step
        return
    play.pending[request.request_id] = request
    yield Ask(request=request)


def _need_not_ask(play: Play, request: PendingRequest) -> bool:
    free = play.turn.request.permission_mode == "auto" or request.tool in play.allowed
    return request.kind == "permission" and free


async def wait(play: Play, _rest: str) -> Steps:
    while True:
        for request, answer in play.take_answers():
            for step in _outcome(play, request, answer):
                yield step
        if not play.pending:
            return
        await play.until(lambda: play.answered)


async def _ask_and_wait(play: Play, verb: str, rest: str) -> Steps:
    async for step in open_request(play, f"{verb} {rest}"):
        yield step
    async for step in wait(play, ""):
        yield step


def asking(verb: str) -> Callable[[Play, str], Steps]:
    """The verb that opens a request of its kind and waits for every open one."""
    return lambda play, rest: _ask_and_wait(play, verb, rest)


async def converse(play: Play, last_word: str) -> Steps:
    while True:
        async for step in open_request(play, "ask What else?"):
            yield step
        await play.until(lambda: play.answered)
        play.take_answers()
        if not goes_on(play.reply, last_word):
            break
    play.said.append(HELLO)
    yield AgentMessage(text=HELLO)


async def withdraw(play: Play, _rest: str) -> Steps:
    requests, play.pending = list(play.pending), {}
    for request_id in requests:
        yield Withdraw(request_id=request_id)


async def auth(play: Play, rest: str) -> None:
    if not play.signed_in:
        raise EndedError(AuthRequired(text=rest or "log in with: scripted login"))


def _outcome(play: Play, request: PendingRequest, answer: Answer) -> list[Step]:
    """What comes of an answer. Raises: EndedError when it says to stop."""
    if request.kind == "question":
        return [AgentMessage(text=f"{request.text} {_words(answer)}")]
    if answer.choice == extension.ABORT:
        raise EndedError(StatusChanged(status="cancelled", reason="stopped_by_answer"))
    allowed = answer.choice in (extension.ALLOW, extension.ALLOW_SESSION)
    if request.kind == "plan":
        verdict = "approved" if allowed else f"not approved: {answer.message or 'no reason given'}"
        return [AgentMessage(text=f"plan {verdict}")]
    if answer.choice == extension.ALLOW_SESSION and request.tool:
        play.allowed.add(request.tool)
    given = answer.updated_input or request.input or {}
    status = "completed" if allowed else "declined"
    return called(request.tool or "", given, request.request_id, status)


def _words(answer: Answer) -> str:
    given: object = (answer.answers or {}).get(QUESTION_ID)
    if given is None:
        return answer.message or answer.choice or ""
    if isinstance(given, list):
        return ", ".join(map(str, cast("list[object]", given)))
    return str(given)
