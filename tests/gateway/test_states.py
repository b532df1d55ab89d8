"""What may be said to a run in each of its states, at the task server and through both faces.

One table: each row is a state, each column an operation; a cell is what happens, or the code of the
refusal.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.core.errors import CoreError
from gateway.core.events import AuthRequired, Rejected, RunCompleted, RunFailed
from gateway.core.json import JsonObject
from gateway.core.messages import DataPart, Message, user_text
from gateway.core.record import Run
from gateway.core.status import RunStatus
from tests.core.faces import AGENT, params
from tests.core.puppet import ME
from tests.gateway.both import Both, both


async def queued(on: Both) -> Run:
    first, _ = await on.begin()
    return (await on.stage.send(context_id=first.context_id)).run


async def running(on: Both) -> Run:
    return (await on.begin())[0]


async def deaf(on: Both) -> Run:
    run, puppet = await on.begin()
    puppet.steerable = False
    return run


async def asking(on: Both) -> Run:
    run, puppet = await on.begin()
    await puppet.ask("q")
    return run


async def asking_twice(on: Both) -> Run:
    run, puppet = await on.begin()
    await puppet.ask("q", "r")
    return run


async def without_login(on: Both) -> Run:
    run, puppet = await on.begin()
    await puppet.say(AuthRequired(text="log in"))
    return run


async def cancelling(on: Both) -> Run:
    run, puppet = await on.begin()
    puppet.on_cancel = []
    await on.tasks.cancel(ME, run.id, wait_s=0)
    return run


def ended(*events: Any) -> Callable[[Both], Awaitable[Run]]:
    async def end(on: Both) -> Run:
        run, puppet = await on.begin()
        await puppet.end(*events)
        return await on.tasks.settled(ME, run.id)

    return end


async def cancelled(on: Both) -> Run:
    run = await running(on)
    return await on.tasks.cancel(ME, run.id)


STATES: Final[dict[str, Callable[[Both], Awaitable[Run]]]] = {
    "queued": queued,
    "running": running,
    "running, takes nothing in": deaf,
    "input_required": asking,
    "input_required twice": asking_twice,
    "auth_required": without_login,
    "cancelling": cancelling,
    "completed": ended(RunCompleted(final_response="done")),
    "failed": ended(RunFailed(message="no")),
    "cancelled": cancelled,
    "rejected": ended(Rejected(message="no")),
}
# What a message to the run does: in words; with an answer to the request "q"; with one to a request
# that never was; and what a cancel does.
SAID: Final[dict[str, tuple[str, str, str, str]]] = {
    "queued": ("not_steerable", "not_steerable", "not_steerable", "cancelled"),
    "running": ("steered", "request_gone", "request_gone", "cancelled"),
    "running, takes nothing in": ("not_steerable", "request_gone", "request_gone", "cancelled"),
    "input_required": ("answered", "answered", "request_gone", "cancelled"),
    "input_required twice": ("ambiguous_answer", "answered", "request_gone", "cancelled"),
    "auth_required": ("resumed", "request_gone", "request_gone", "cancelled"),
    "cancelling": ("cancel_pending", "cancel_pending", "cancel_pending", "running"),
    "completed": ("run_ended", "run_ended", "run_ended", "not_cancelable"),
    "failed": ("run_ended", "run_ended", "run_ended", "not_cancelable"),
    "cancelled": ("run_ended", "run_ended", "run_ended", "not_cancelable"),
    "rejected": ("run_ended", "run_ended", "run_ended", "not_cancelable"),
}
WORDS: Final = {"parts": [{"text": "allow"}]}
OPERATIONS: Final[tuple[JsonObject | None, ...]] = (
    WORDS,
    {"parts": [{"data": {"request_id": "q", "option": "allow"}}]},
    {"parts": [{"data": {"request_id": "never", "option": "allow"}}]},
    None,  # cancel
)
NAMES: Final = ("words", "answer", "wrong answer", "cancel")
CELLS: Final = [
    pytest.param(state, OPERATIONS[at], cell, id=f"{state}: {NAMES[at]}")
    for state, row in SAID.items()
    for at, cell in enumerate(row)
]
# The A2A error of each code that the table refuses with.
A2A_CODES: Final = {
    "not_steerable": -32004,
    "run_ended": -32004,
    "cancel_pending": -32004,
    "not_cancelable": -32002,
    "request_gone": -32602,
    "ambiguous_answer": -32602,
}


def message_of(said: JsonObject) -> Message:
    [part] = said["parts"]
    if "text" in part:
        return user_text("m-2", part["text"])
    return Message(message_id="m-2", role="user", parts=(DataPart(data=part["data"]),))


def test_every_state_is_in_the_table() -> None:
    assert SAID.keys() == STATES.keys()
    assert {state.partition(",")[0].partition(" ")[0] for state in STATES} >= set(RunStatus)


@pytest.mark.parametrize(("state", "said", "cell"), CELLS)
async def test_the_table_holds_at_the_task_server(
    tmp_path: Path, state: str, said: JsonObject | None, cell: str
) -> None:
    async with both(tmp_path) as on:
        run = await STATES[state](on)
        try:
            if said is None:
                found = (await on.tasks.cancel(ME, run.id, wait_s=0.05)).status.value
            else:
                message = message_of(said)
                sent = await on.tasks.send(
                    principal=ME, agent=AGENT, message=message, run_id=run.id
                )
                found = sent.did
        except CoreError as exc:
            found = exc.code
        assert found == cell


@pytest.mark.parametrize(("state", "said", "cell"), CELLS)
async def test_the_table_holds_over_a2a(
    tmp_path: Path, state: str, said: JsonObject | None, cell: str
) -> None:
    async with both(tmp_path) as on:
        run = await STATES[state](on)
        if said is None and cell == "running":
            return  # it would wait five seconds for a puppet that says nothing
        if said is None:
            answer = await on.a2a.rpc("CancelTask", {"id": run.id})
        else:
            about = {"returnImmediately": True}
            asked = params("", task_id=run.id, parts=said["parts"], configuration=about)
            answer = await on.a2a.rpc("SendMessage", asked)
        if cell in A2A_CODES:
            assert answer["error"]["code"] == A2A_CODES[cell]
            assert answer["error"]["data"][0]["metadata"]["code"] == cell
        elif said is None:
            assert answer["result"]["status"]["state"] == "TASK_STATE_CANCELED"
        else:
            assert answer["result"]["task"]["id"] == run.id


# Where the tools differ from the task server: people and models refer to runs, so a word to one that
# has ended goes on in its session, and to cancel twice is no mistake.
TOOLS: Final[dict[tuple[str, str], str]] = {
    ("completed", "words"): "resumed",
    ("failed", "words"): "resumed",
    ("cancelled", "words"): "resumed",
    ("rejected", "words"): "not_resumable",
    ("cancelled", "cancel"): "cancelled",
}
# How each refusal begins to say what to do next.
TEXTS: Final = {
    "not_steerable": "takes no message now",
    "run_ended": "continue_run with text goes on",
    "cancel_pending": "is being cancelled",
    "not_cancelable": "is already",
    "request_gone": "no request 'never'",
    "ambiguous_answer": "'q', 'r'",
    "not_resumable": "was rejected: nothing to go on with",
}


@pytest.mark.parametrize(("state", "said", "cell"), CELLS)
async def test_the_table_holds_through_the_tools(
    tmp_path: Path, state: str, said: JsonObject | None, cell: str
) -> None:
    async with both(tmp_path) as on:
        run = await STATES[state](on)
        if said is None and cell == "running":
            return  # as above
        name = NAMES[OPERATIONS.index(said)]
        cell = TOOLS.get((state, name), cell)
        if said is None:
            answer = await on.ask("cancel_run", run_id=run.id)
        else:
            [part] = said["parts"]
            word = {"text": part["text"]} if "text" in part else {"answer": part["data"]}
            answer = await on.ask("continue_run", run_id=run.id, **word)
        if cell in TEXTS:
            wanted = TEXTS[cell].replace("never", "q") if name == "answer" else TEXTS[cell]
            assert wanted in answer["refused"]
            assert run.id in answer["refused"] or cell in ("request_gone", "ambiguous_answer")
            return
        assert cell == (answer["status"] if said is None else answer["did"])
        new = cell == "resumed" and state != "auth_required"
        assert (answer["run_id"] != run.id) is new
