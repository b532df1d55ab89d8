"""An agent that asks: a question brought about, answered, and whether it goes on; and push configs.

Knows one exam. What is answered is harmless: consent is only given where nothing else is offered.
"""

import uuid
from collections.abc import AsyncGenerator
from typing import Final

from gateway.core import messages
from gateway.core.extension import DENY, Answer, PendingRequest
from gateway.core.json import JsonObject, as_object, objects
from gateway.core.messages import DataPart, Message, user_text
from gateway.dialects import spoken
from gateway.dialects.dialect import Call
from gateway.errors import AgentRefusedError
from gateway.scoring.exam import Exam, over, waits
from gateway.scoring.findings import Finding, failed, one_line, passed, skipped

PUSH_NOT_SUPPORTED: Final = -32003  # specification 5.4
_HOOK: Final = "https://a2a-gateway.invalid/hook"  # a name that resolves nowhere (RFC 6761)
_WORDS: Final = "yes"


async def asks(exam: Exam) -> AsyncGenerator[Finding, None]:
    """It asks, an answer that names the task alone reaches it, and it goes on."""
    check = "input_required"
    if exam.words.ask is None:
        yield skipped(check, "not tried", "give a prompt that makes it ask with --ask TEXT")
        return
    ears, asked = spoken.Ears(), None
    task_id = state = None
    async for result in _told(exam, exam.message(exam.words.ask)):
        for plain in ears.plain(result):
            asked = _question(plain) or asked
        task_id, state = exam.seen(result)
    if task_id is None or not waits(state):
        todo = "give a prompt that makes it ask with --ask TEXT"
        yield skipped(check, f"it did not ask; the task is {one_line(state, 40)}", todo)
        return
    try:
        state = await _answered(exam, task_id, asked)
    except AgentRefusedError as exc:
        todo = "take a message with the task's id alone as the answer"
        yield failed(check, one_line(exc), todo)
        return
    if over(state):
        yield passed(check, f"asked, answered by the task's id alone, {one_line(state, 40)}")
    elif waits(state):
        yield passed(check, "asked, answered by the task's id alone, and asks on")
    else:
        todo = "go on with the task, in the stream of the answer"
        yield failed(check, f"after the answer the task is {one_line(state, 40)}", todo)


async def _told(exam: Exam, params: JsonObject) -> AsyncGenerator[JsonObject, None]:
    """What a message brings about, until the task waits or has ended."""
    if not exam.known.streaming:
        yield await exam.endpoint.call("SendMessage", params)
        return
    async for result in exam.stream("SendStreamingMessage", params):
        yield result
        _, state = exam.seen(result)
        if waits(state) or over(state):
            return


def _question(item: JsonObject) -> PendingRequest | None:
    """The first request of an item that lists them in our form."""
    held = as_object(item.get("statusUpdate")) or as_object(item.get("task"))
    message = as_object(as_object(held.get("status")).get("message"))
    for part in objects(message.get("parts")):
        for raw in objects(as_object(part.get("data")).get("pending")):
            try:
                return PendingRequest.model_validate(raw)
            except ValueError:
                continue
    return None


async def _answered(exam: Exam, task_id: str, asked: PendingRequest | None) -> str | None:
    """The task's state after an answer. Raises: GatewayError."""
    message: Message = user_text(uuid.uuid4().hex, _WORDS)
    if asked is not None:
        answer = _answer(asked)
        said = spoken.answer(asked, answer, message)
        if isinstance(said, Call):
            await exam.endpoint.call(said.method, said.params)
            return await _settled(exam, task_id)
        parts = (DataPart(data=answer.to_json()),)
        message = said or Message(message_id=message.message_id, role="user", parts=parts)
    wire = messages.to_wire(message, task_id=task_id)
    state: str | None = None
    async for result in _told(exam, {"message": wire, "configuration": {}}):
        _, state = exam.seen(result)
    return state


async def _settled(exam: Exam, task_id: str) -> str | None:
    """The state of a task that was answered beside its stream."""
    state: str | None = None
    async for result in exam.stream("SubscribeToTask", {"id": task_id}):
        _, state = exam.seen(result)
        if over(state):
            break
    return state


def _answer(asked: PendingRequest) -> Answer:
    if asked.kind in ("permission", "plan"):
        offered = [option.id for option in asked.options]
        option = DENY if DENY in offered or not offered else offered[-1]
        return Answer(request_id=asked.request_id, option=option, message="only a test")
    first = {one.id: one.options[0].label if one.options else _WORDS for one in asked.questions}
    return Answer(request_id=asked.request_id, answers=first or None, message=_WORDS)


# -- push ----------------------------------------------------------------------------------------


async def push(exam: Exam) -> AsyncGenerator[Finding, None]:
    """Push configs are kept where the card offers them, and refused by their code elsewhere."""
    check = "push_config"
    offered = as_object(exam.raw_card.get("capabilities")).get("pushNotifications") is True
    task_id = exam.ended or next(iter(exam.tasks), None)
    if not exam.plain or task_id is None:
        yield skipped(check, "no task over JSON-RPC 1.x to set one on")
        return
    wanted = {"taskId": task_id, "id": uuid.uuid4().hex, "url": _HOOK}
    reply = await exam.rpc("CreateTaskPushNotificationConfig", wanted)
    code: object = reply.error.get("code")
    if not offered:
        if code in (PUSH_NOT_SUPPORTED, -32601, -32004):
            yield passed(check, f"not offered, and refused with {code}")
        else:
            todo = f"refuse it with PushNotificationNotSupportedError ({PUSH_NOT_SUPPORTED})"
            yield failed(check, "its card offers no push; a config is not refused as such", todo)
        return
    if code is not None:
        yield _refused(check, code, reply.error.get("message"))
        return
    target = {"taskId": task_id, "id": str(as_object(reply.json.get("result")).get("id"))}
    found = await exam.rpc("GetTaskPushNotificationConfig", target)
    gone = await exam.rpc("DeleteTaskPushNotificationConfig", target)
    if found.error or gone.error:
        todo = "keep a config under its id until it is deleted"
        yield failed(check, "a config that was set cannot be read or deleted", todo)
        return
    yield passed(check, "set, read, deleted")


def _refused(check: str, code: object, text: object) -> Finding:
    """An agent that looks up a hook's address, or takes none on an ended task, may say no."""
    if code == -32602 or code == -32004:
        return skipped(check, f"it does not take {_HOOK}: {one_line(text, 80)}")
    return failed(check, f"{one_line(code, 20)}: {one_line(text, 80)}", "take a config on a task")
