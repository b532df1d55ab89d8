"""An agent at work: a message streamed to its end, its task asked for, replayed, spoken to again.

Knows one exam. Its first check makes the task that the others look at.
"""

import uuid
from collections.abc import AsyncGenerator
from typing import Final

import anyio

from gateway.core.extension import URI
from gateway.core.json import JsonObject, as_object, objects
from gateway.errors import AgentRefusedError
from gateway.link.jsonrpc import JsonRpcEndpoint
from gateway.scoring.exam import Exam, over, waits
from gateway.scoring.findings import Finding, failed, one_line, passed, skipped

NOT_ANSWERED: Final = "no task ran to its end"
_UNSUPPORTED: Final = (-32004, -32601)  # UnsupportedOperation, method not found
_UNWILLING: Final = ("TASK_STATE_REJECTED", "TASK_STATE_FAILED")
_POLL_S: Final = 0.5


async def streaming(exam: Exam) -> AsyncGenerator[Finding, None]:
    """A message is answered: as a stream where the card offers one."""
    if not exam.known.streaming:
        yield skipped("streaming", "its card offers no streaming; clients poll it")
        yield await _sent(exam)
        return
    results = [one async for one in exam.stream("SendStreamingMessage", _prompt(exam))]
    yield _judged(exam, results)


async def _sent(exam: Exam) -> Finding:
    result = await exam.endpoint.call("SendMessage", _prompt(exam))
    task_id, state = exam.seen(result)
    if task_id is None:
        return _bare(result, "send")
    while not (over(state) or waits(state)):
        await anyio.sleep(_POLL_S)
        _, state = exam.seen(await exam.endpoint.call("GetTask", {"id": task_id}))
    exam.ended = task_id if over(state) else None
    if (refused := _refused("send", result, state)) is not None:
        return refused
    return passed("send", f"task {one_line(state, 40)}")


def _prompt(exam: Exam) -> JsonObject:
    return exam.message(exam.words.prompt)


def _bare(result: JsonObject, check: str) -> Finding:
    if as_object(result.get("message")):
        return passed(check, "answered with a message, without a task")
    return failed(check, "neither a task nor a message came", "answer with one of both")


def _judged(exam: Exam, results: list[JsonObject]) -> Finding:
    """Whether a stream is one that a client can follow (specification 3.1.2)."""
    if not results:
        return failed("streaming", "the stream is empty", "send the task first, then its updates")
    first, last = results[0], results[-1]
    if "task" not in first:
        if "message" in first and len(results) == 1:
            return _bare(first, "streaming")
        todo = "send the task first: clients learn its id and state from it"
        return failed(
            "streaming", f"it begins with {one_line(min(first, default='nothing'))}", todo
        )
    task_id, _ = exam.seen(first)
    others = {name for one in results if (name := exam.seen(one)[0]) not in (None, task_id)}
    if others:
        return failed("streaming", "items of another task came", "send one task in one stream")
    _, state = exam.seen(last)
    if not (over(state) or waits(state)):
        todo = "keep a stream open until its task has ended or waits for its caller"
        return failed("streaming", f"it ends while the task is {one_line(state, 40)}", todo)
    if over(state):
        exam.ended = task_id
    if (refused := _refused("streaming", last, state)) is not None:
        return refused
    return passed("streaming", f"{len(results)} items, ends {one_line(state, 40)}")


def _refused(check: str, result: JsonObject, state: str | None) -> Finding | None:
    """The finding of an agent that would not, or could not, do what it was told."""
    if state not in _UNWILLING:
        return None
    held = as_object(result.get("statusUpdate")) or as_object(result.get("task")) or result
    message = as_object(as_object(held.get("status")).get("message"))
    said = " ".join(str(part.get("text")) for part in objects(message.get("parts")))
    todo = "give a folder that it may work in with --cwd, or another prompt with --prompt"
    return failed(check, f"{one_line(state, 40)}: {one_line(said, 120)}", todo)


async def tasks(exam: Exam) -> AsyncGenerator[Finding, None]:
    """The task can be asked for after its end, by its id and in the list."""
    task_id = next(iter(exam.tasks), None)
    if task_id is None:
        yield skipped("get_task", "the message was answered without a task")
        yield skipped("list_tasks", "the message was answered without a task")
        return
    told = exam.tasks[task_id]
    found = await exam.task(task_id)
    state = as_object(found.get("status")).get("state")
    if found.get("id") != task_id or state != told:
        reason = f"its state is {one_line(state, 40)}; the stream ended with {one_line(told, 40)}"
        yield failed("get_task", reason, "keep a task as it was told, after its end too")
    else:
        yield passed("get_task", one_line(state, 40))
    yield await _listed(exam, task_id, str(found.get("contextId")))


async def _listed(exam: Exam, task_id: str, context_id: str) -> Finding:
    try:
        page = await exam.endpoint.call("ListTasks", {"contextId": context_id, "pageSize": 10})
    except AgentRefusedError as exc:
        if exc.rpc_code in _UNSUPPORTED:
            return skipped("list_tasks", f"it lists no tasks ({exc.rpc_code})")
        return failed("list_tasks", one_line(exc), "list a context's tasks, newest first")
    if any(one.get("id") == task_id for one in objects(page.get("tasks"))):
        return passed("list_tasks", "the task is in its context's list")
    return failed("list_tasks", "the task is not in its context's list", "list ended tasks too")


async def replay(exam: Exam) -> AsyncGenerator[Finding, None]:
    """With the coding-run extension: events after any number come again, each once."""
    endpoint = exam.endpoint
    if not isinstance(endpoint, JsonRpcEndpoint) or not endpoint.extension:
        why = "its card does not declare the coding-run extension"
        yield skipped("replay", why, "without it, what a broken link lost is not sent again")
        return
    if exam.ended is None:
        yield skipped("replay", NOT_ANSWERED)
        return
    whole = await _numbers(endpoint, exam.ended, 0)
    if not whole or whole != list(range(1, len(whole) + 1)):
        todo = "number the events of a task from 1, and replay all after Last-Event-ID"
        yield failed("replay", f"after 0 it sends the events {_span(whole)}", todo)
        return
    middle = len(whole) // 2
    rest = await _numbers(endpoint, exam.ended, middle)
    if rest != whole[middle:]:
        reason = f"after {middle} it sends the events {_span(rest)} of {len(whole)}"
        yield failed("replay", reason, "replay exactly the events after Last-Event-ID")
        return
    yield passed("replay", f"{len(whole)} events, and {len(rest)} after Last-Event-ID {middle}")


async def _numbers(endpoint: JsonRpcEndpoint, task_id: str, after: int) -> list[int]:
    found: list[int] = []
    async for group in endpoint.stream("SubscribeToTask", {"id": task_id}, after=after):
        for result in group:
            for held in result.values():
                event = as_object(as_object(as_object(held).get("metadata")).get(URI))
                number: object = event.get("seq")
                if isinstance(number, int):
                    found.append(number)
    return found


def _span(numbers: list[int]) -> str:
    return f"{numbers[0]}-{numbers[-1]} ({len(numbers)})" if numbers else "none"


async def follow_up(exam: Exam) -> AsyncGenerator[Finding, None]:
    """A message to an ended task is refused as such, or starts another; never lost."""
    if exam.ended is None:
        yield skipped("follow_up_ended", NOT_ANSWERED)
        return
    params = exam.message(exam.words.prompt, taskId=exam.ended)
    try:
        result = await exam.endpoint.call("SendMessage", params)
    except AgentRefusedError as exc:
        if exc.rpc_code in (-32603, -32700, -32601):
            todo = "refuse it with UnsupportedOperationError (-32004): the task has ended"
            yield failed("follow_up_ended", one_line(exc), todo)
        else:
            yield passed("follow_up_ended", f"refused ({exc.rpc_code}): the task has ended")
        return
    task_id, state = exam.seen(result)
    if task_id == exam.ended:
        todo = "refuse it with UnsupportedOperationError (-32004): clients wait for an answer"
        yield failed(
            "follow_up_ended", f"an ended task takes it and is {one_line(state, 40)}", todo
        )
        return
    yield passed("follow_up_ended", "answered beside the task that has ended")


async def unknown_follow_up(exam: Exam) -> AsyncGenerator[Finding, None]:
    """A message to a task that never was is refused, not taken for a new one."""
    params = exam.message(exam.words.prompt, taskId=str(uuid.uuid4()))
    try:
        exam.seen(await exam.endpoint.call("SendMessage", params))
    except AgentRefusedError as exc:
        yield passed("follow_up_unknown", f"refused ({exc.rpc_code})")
        return
    todo = "answer TaskNotFoundError (-32001): the caller thinks it goes on with a task"
    yield failed("follow_up_unknown", "a message to a task that never was is taken", todo)
