"""An agent that is stopped: a task at work is listened to anew, cancelled, and none is left.

Knows one exam.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import anyio

from gateway.core.json import JsonObject
from gateway.errors import AgentRefusedError, GatewayError
from gateway.scoring.exam import Exam, over
from gateway.scoring.findings import Finding, failed, one_line, passed, skipped

CANCELLED: Final = "TASK_STATE_CANCELED"
NOT_CANCELABLE: Final = -32002  # specification 5.4
STOP_S: Final = 15.0  # for a cancelled task to say so
_CLEAN_S: Final = 20.0  # for all tasks that are left
_POLL_S: Final = 0.5


async def cancel(exam: Exam) -> AsyncGenerator[Finding, None]:
    """A task at work can be listened to by a second client, and cancelled."""
    params = exam.message(exam.words.busy)
    params["configuration"] = {"returnImmediately": True}
    task_id, state = exam.seen(await exam.endpoint.call("SendMessage", params))
    if task_id is None:
        yield skipped("subscribe", "it answers without a task")
        yield skipped("cancel", "it answers without a task: there is nothing to cancel")
        return
    yield await _subscribed(exam, task_id, state)
    try:
        _, state = exam.seen(await exam.endpoint.call("CancelTask", {"id": task_id}))
    except AgentRefusedError as exc:
        yield await _not_cancelled(exam, task_id, exc)
        return
    with anyio.move_on_after(STOP_S):
        while not over(state):
            await anyio.sleep(_POLL_S)
            _, state = exam.seen(await exam.task(task_id))
    if state == CANCELLED:
        yield passed("cancel", "the task is cancelled")
    else:
        todo = "end a cancelled task as canceled, and stop its work"
        yield failed("cancel", f"a cancelled task is {one_line(state, 40)}", todo)


async def _not_cancelled(exam: Exam, task_id: str, exc: AgentRefusedError) -> Finding:
    found = await exam.task(task_id)
    _, state = exam.seen(found)
    if exc.rpc_code == NOT_CANCELABLE and over(state):
        todo = "give a prompt that keeps it at work with --busy"
        return skipped("cancel", "the task ended before it could be cancelled", todo)
    return failed("cancel", one_line(exc), "let clients cancel a task that is at work")


async def _subscribed(exam: Exam, task_id: str, state: str | None) -> Finding:
    if not exam.known.streaming:
        return skipped("subscribe", "its card offers no streaming")
    if over(state):
        todo = "give a prompt that keeps it at work with --busy"
        return skipped("subscribe", "the task ended before it could be listened to", todo)
    todo = "answer SubscribeToTask with the task as it is, then its updates"
    try:
        first = await _first(exam, task_id)
    except AgentRefusedError as exc:
        return failed("subscribe", one_line(exc), todo)
    if first is None:
        return failed("subscribe", "the stream is empty", todo)
    if "task" not in first:
        return failed(
            "subscribe", f"it begins with {one_line(min(first, default='nothing'))}", todo
        )
    return passed("subscribe", "a second client gets the task as it is")


async def _first(exam: Exam, task_id: str) -> JsonObject | None:
    async with aclosing(exam.stream("SubscribeToTask", {"id": task_id})) as results:
        async for result in results:
            return result
    return None


async def clean_up(exam: Exam) -> AsyncGenerator[Finding, None]:
    """Every task that was made here has ended or is cancelled."""
    left: list[str] = []
    with anyio.move_on_after(_CLEAN_S):
        for task_id, state in list(exam.tasks.items()):
            if not over(state) and not await _stopped(exam, task_id):
                left.append(task_id)
    running = [task_id for task_id, state in exam.tasks.items() if not over(state)]
    if left or running:
        names = ", ".join(one_line(name, 40) for name in running or left)
        yield failed("left_running", f"{names} could not be ended", "cancel it by hand")


async def _stopped(exam: Exam, task_id: str) -> bool:
    try:
        _, state = exam.seen(await exam.endpoint.call("CancelTask", {"id": task_id}))
        if not over(state):
            _, state = exam.seen(await exam.task(task_id))
    except GatewayError:
        try:
            _, state = exam.seen(await exam.task(task_id))
        except GatewayError:
            return False
    return over(state)
