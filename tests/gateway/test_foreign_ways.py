"""The ways of foreign agents beside the plain one: they ask, answer, break off and lie."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.core.extension import Answer, CodingRequest, PendingRequest
from gateway.core.json import JsonObject, as_object
from gateway.core.messages import DataPart, Message, user_text
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.dialects import spoken
from gateway.dialects.dialect import Call, Said
from gateway.driving.foreign import artifacts, foreign_run, recording, setbacks
from tests.gateway.house import House, house, texts
from tests.gateway.script import (
    Json,
    Refusal,
    Reply,
    Script,
    made,
    piece,
    playing,
    said,
    task,
    turns,
    until,
    update,
)


async def started(gateway: House, url: str, **more: Any) -> Run:
    return await gateway.spawn(await gateway.agent(url), **more)


def reason_of(run: Run) -> str | None:
    return run.error.reason if run.error else None


def how_resolved(events: list[tuple[str, Json]]) -> list[str]:
    return [data["how"] for _, data in events if "resolved" in data]


# -- asking --------------------------------------------------------------------------------------


async def test_several_questions_in_a_row_are_asked_one_by_one(tmp_path: Path) -> None:
    script = Script(
        {
            "SendStreamingMessage": turns(
                [{"task": task("INPUT_REQUIRED", said("Colour?", "q-1"))}],
                [update("WORKING"), update("INPUT_REQUIRED", said("Colour?", "q-1"))],
                [update("WORKING"), update("INPUT_REQUIRED", said("Size?", "q-2"))],
                [update("WORKING"), update("COMPLETED", said("done", "m-9"))],
            )
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url)
        ids: list[str] = []
        for number, text in enumerate(["none", "blue", "large"]):
            waiting = await gateway.waiting(run)
            ids += [one.request_id for one in waiting.pending]
            await gateway.say(run, user_text(f"m-{number}", text))
        ended = await gateway.ended(run)
        events = await gateway.events(run)
    assert ended.status is RunStatus.COMPLETED
    assert len(set(ids)) == 3, "the same words asked anew are another request"
    assert how_resolved(events) == ["answered"] * 3


async def test_a_question_that_only_a_task_shows_is_asked(tmp_path: Path) -> None:
    asked = said("Which?", "q-1")
    script = Script(
        {
            "SendStreamingMessage": turns(
                [{"task": task("SUBMITTED")}], [{"task": task("COMPLETED")}]
            ),
            "GetTask": task("INPUT_REQUIRED", asked, history=[asked]),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url)
        assert [one.text for one in (await gateway.waiting(run)).pending] == ["Which?"]
        await gateway.say(run, user_text("m-2", "this"))
        assert (await gateway.ended(run)).status is RunStatus.COMPLETED


async def test_a_question_that_the_agent_takes_back_is_withdrawn(tmp_path: Path) -> None:
    # The agent went on by itself; the run stood at input_required until its end.
    gone = anyio.Event()
    script = Script(
        {
            "SendStreamingMessage": lambda _: until(
                gone,
                {"task": task("INPUT_REQUIRED", said("Which?", "q-1"))},
                update("WORKING"),
                update("AUTH_REQUIRED", said("Log in", "q-2")),
                update("INPUT_REQUIRED", said("And now?", "q-3")),
                update("AUTH_REQUIRED", said("Log in again", "q-4")),
                update("SUBMITTED"),
                update("WORKING"),
                update("COMPLETED"),
            )
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        ended = await gateway.ended(await started(gateway, agent.base_url))
        events = await gateway.events(ended)
        gone.set()
    assert ended.status is RunStatus.COMPLETED
    assert how_resolved(events) == ["withdrawn", "withdrawn"]
    states = [data["state"] for _, data in events if "state" in data]
    assert states == [f"TASK_STATE_{name}" for name in ("WORKING", "SUBMITTED", "WORKING")]


@pytest.mark.parametrize("by_us", [True, False], ids=["told", "elsewhere"])
async def test_a_login_is_waited_for_and_then_the_run_goes_on(
    tmp_path: Path, by_us: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The specification lets the login be made elsewhere: the task goes on without a message.
    monkeypatch.setattr(foreign_run, "WATCH_MIN_S", 0.05)
    need = said("Log in at https://x", "q-1")
    script = Script(
        {
            "SendStreamingMessage": turns(
                [{"task": task("WORKING")}, update("AUTH_REQUIRED", need)],
                [update("AUTH_REQUIRED", said("Still not", "q-2"))],
                [update("COMPLETED", said("logged in", "m-9"))],
            ),
            "GetTask": task("AUTH_REQUIRED", need) if by_us else task("COMPLETED"),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url)
        if by_us:
            await gateway.waiting(run)
            await gateway.say(run, user_text("m-1", "done"))
            await script.called("SendStreamingMessage", 2)
            with anyio.fail_after(30):
                while (await gateway.waiting(run)).summary.endswith("https://x"):
                    await gateway.tasks.log.changed(run.id, (await gateway.waiting(run)).last_seq)
            await gateway.say(run, user_text("m-2", "now really"))
        ended = await gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED
    assert script.count("SendStreamingMessage") == (3 if by_us else 1)


class Riddle:
    """A dialect: metadata `riddle` asks, `riddle.answer` is a method of its own."""

    name = "riddle"
    extensions = ("urn:riddle",)

    def ear(self, pending: Sequence[PendingRequest]) -> "Riddle":
        return self

    def plain(self, result: JsonObject) -> list[JsonObject]:
        item = as_object(result.get("statusUpdate"))
        text = as_object(item.get("metadata")).get("riddle")
        if not isinstance(text, str):
            return [result]
        request = PendingRequest(request_id=f"riddle:{text}", kind="question", text=text)
        part = {"data": {"pending": [request.to_json()]}}
        asked = {"messageId": text, "role": "ROLE_AGENT", "parts": [{"text": text}, part]}
        return [update("INPUT_REQUIRED", asked)]

    def spoken_by(self, card_name: str, card_extensions: Sequence[str]) -> bool:
        return False

    def settings(self, request: CodingRequest) -> JsonObject:
        return {}

    def answer(self, request: PendingRequest, answer: Answer, message: Message) -> Said:
        if answer.message == "by method":
            return Call(method="riddle.answer", params={"id": request.request_id})
        part = DataPart(data={"riddle": request.text, "answer": answer.message})
        return Message(message_id="", role="user", parts=(part,))


@pytest.mark.parametrize("way", ["by message", "by method"])
async def test_a_dialect_is_understood_and_answered(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoken, "DIALECTS", [Riddle()])
    answered = anyio.Event()

    def solved(_: Json) -> Json:
        answered.set()
        return {"ok": True}

    script = Script(
        {
            "SendStreamingMessage": turns(
                lambda _: until(
                    answered,
                    {"task": task("WORKING")},
                    update("WORKING", metadata={"riddle": "What walks?"}),
                    then=(update("WORKING"), update("COMPLETED")),
                ),
                [update("COMPLETED")],
            ),
            "riddle.answer": solved,
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url)
        waiting = await gateway.waiting(run)
        assert [one.request_id for one in waiting.pending] == ["riddle:What walks?"]
        await gateway.say(run, user_text("m-2", way))
        ended = await gateway.ended(run)
        events = await gateway.events(run)
        answered.set()
    assert ended.status is RunStatus.COMPLETED
    assert how_resolved(events) == ["answered"]
    if way == "by message":
        assert script.heard()[1]["parts"] == [
            {"data": {"riddle": "What walks?", "answer": "by message"}}
        ]
    else:
        assert script.count("riddle.answer", "SendStreamingMessage") == 2


# -- answering -----------------------------------------------------------------------------------

ASKS: list[Json] = [{"task": task("INPUT_REQUIRED", said("Which?", "q-1"))}]


@pytest.mark.parametrize(
    ("get", "final"),
    [
        (task("INPUT_REQUIRED", said("Which?", "q-1")), "just a word"),
        (Refusal(-32601), "just a word"),
        (Refusal(-32001), "just a word"),
        (task("COMPLETED", said("really done", "m-9")), "really done"),
    ],
    ids=["still asks", "cannot be asked", "forgot it", "completed"],
)
async def test_a_bare_message_answers_a_follow_up(tmp_path: Path, get: Any, final: str) -> None:
    reply = {"message": {**said("just a word", "m-5"), "contextId": "c-1"}}
    script = Script({"SendStreamingMessage": turns(ASKS, [reply]), "GetTask": get})
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url)
        await gateway.waiting(run)
        await gateway.say(run, user_text("m-2", "this"))
        ended = await gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED
    assert ended.result is not None
    assert ended.result.final_response == final


async def test_a_bare_message_keeps_its_context_for_the_session(tmp_path: Path) -> None:
    reply = {"message": {**said("just a word", "m-5"), "contextId": "c-9"}}
    script = Script({"SendStreamingMessage": [reply]})
    async with playing(script) as agent, house(tmp_path) as gateway:
        first = await gateway.ended(await started(gateway, agent.base_url))
        second = await started(gateway, agent.base_url, context_id=first.context_id)
        await gateway.ended(second)
    assert [message.get("contextId") for message in script.heard()] == [None, "c-9"]


async def test_an_answer_may_become_a_task_of_its_own_in_the_same_context(tmp_path: Path) -> None:
    new = {**task("COMPLETED", said("from the new one", "m-7")), "id": "t-2"}
    script = Script({"SendStreamingMessage": turns(ASKS, [{"task": new}])})
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url)
        await gateway.waiting(run)
        await gateway.say(run, user_text("m-2", "this"))
        ended = await gateway.ended(run)
        events = await gateway.events(run)
    assert ended.status is RunStatus.COMPLETED
    assert ended.remote is not None
    assert ended.remote.task_id == "t-2"
    assert "new_task" in [data.get("reason") for _, data in events]


# -- breaking off --------------------------------------------------------------------------------


async def test_a_silent_stream_is_no_failure_of_its_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Servers without pings are silent for hours: each minute of it counted as a failure, which the
    # agent's health showed and its other runs waited for.
    monkeypatch.setattr("gateway.link.client.SILENCE_S", 0.05)
    gone = anyio.Event()
    script = Script(
        {
            "SendStreamingMessage": lambda _: until(gone, {"task": task("WORKING")}),
            "GetTask": turns(task("WORKING"), task("WORKING"), task("COMPLETED")),
            "SubscribeToTask": lambda _: until(gone, {"task": task("WORKING")}),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url)
        ended = await gateway.ended(run)
        gone.set()
        state = gateway.registry.state(run.agent)
    assert ended.status is RunStatus.COMPLETED
    assert state == "healthy"


async def test_an_agent_without_get_task_is_followed_by_its_stream(tmp_path: Path) -> None:
    script = Script(
        {
            "SendStreamingMessage": [{"task": task("WORKING")}],
            "SubscribeToTask": turns(
                [{"task": task("WORKING", said("on it", "m-1"))}],
                [update("COMPLETED", said("done", "m-2"))],
            ),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        ended = await gateway.ended(await started(gateway, agent.base_url))
        events = await gateway.events(ended)
    assert ended.status is RunStatus.COMPLETED
    assert texts(events) == ["on it", "done"]


async def test_an_agent_that_can_neither_be_asked_nor_followed_is_lost(tmp_path: Path) -> None:
    script = Script({"SendMessage": {"task": task("WORKING")}})
    async with playing(script, streaming=False) as agent, house(tmp_path) as gateway:
        ended = await gateway.ended(await started(gateway, agent.base_url))
    assert reason_of(ended) == "agent_lost"


def test_an_agent_that_is_silent_for_hours_is_asked_on_and_on() -> None:
    # The delay was doubled without end: after a thousand polls (86 minutes) it was no number any
    # more, and the run failed.
    assert [setbacks.pause_s(idle, 0.25, 5.0) for idle in (1, 2, 3, 100_000)] == [
        0.25,
        0.5,
        1.0,
        5.0,
    ]


# -- what was asked for --------------------------------------------------------------------------

SCHEMA: Json = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
FENCED = 'Here it is:\n```json\n{"n": 3}\n```\nEnjoy.'


@pytest.mark.parametrize("answer", ['{"n": 3}', FENCED])
async def test_an_answer_in_words_is_held_to_the_output_schema(tmp_path: Path, answer: str) -> None:
    script = Script({"SendStreamingMessage": [{"task": task("COMPLETED", said(answer, "m-1"))}]})
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url, output_schema=SCHEMA)
        ended = await gateway.ended(run)
    assert ended.result is not None
    assert ended.result.structured_output == {"n": 3}


async def test_an_answer_that_does_not_fit_is_asked_for_once_more(tmp_path: Path) -> None:
    better = {**task("COMPLETED", said('{"n": 4}', "m-2")), "id": "t-2"}
    script = Script(
        {
            "SendStreamingMessage": turns(
                [{"task": task("COMPLETED", said("four", "m-1"))}], [{"task": better}]
            )
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url, output_schema=SCHEMA)
        ended = await gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED
    assert ended.result is not None
    assert ended.result.structured_output == {"n": 4}
    repair = script.heard()[1]
    assert (repair["contextId"], repair["referenceTaskIds"]) == ("c-1", ["t-1"])
    assert "taskId" not in repair


@pytest.mark.parametrize("found", [True, False])
async def test_a_better_answer_that_was_asked_for_before_a_kill_is_looked_for(
    tmp_path: Path, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.driving.foreign.search.LOOKS_S", (0.0, 0.05))
    silent = anyio.Event()
    first = {"task": task("COMPLETED", said("four", "m-1"))}
    script = Script({"SendStreamingMessage": turns([first], lambda _: until(silent))})

    def better(params: Json) -> Json:
        kept = script.heard()[1:] if found else []
        made = {**task("COMPLETED", said('{"n": 4}', "m-2"), history=kept), "id": "t-2"}
        return made if "id" in params else {"tasks": [made, first["task"]]}

    script.parts |= {"GetTask": better, "ListTasks": better}
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await started(gateway, agent.base_url, output_schema=SCHEMA)
            await script.called("SendStreamingMessage", 2)
        async with house(tmp_path) as gateway:
            ended = await gateway.ended(run)
        silent.set()
    if found:
        assert ended.result is not None
        assert ended.result.structured_output == {"n": 4}
    else:
        assert reason_of(ended) == "schema_mismatch"
    assert script.count("SendStreamingMessage") == 2


@pytest.mark.parametrize("second", [[{"task": {**task("COMPLETED"), "id": "t-2"}}], Refusal(-1)])
async def test_who_cannot_give_what_was_asked_for_failed(tmp_path: Path, second: Any) -> None:
    first = [{"task": task("COMPLETED", said("four", "m-1"))}]
    script = Script({"SendStreamingMessage": turns(first, second)})
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url, output_schema=SCHEMA)
        ended = await gateway.ended(run)
    assert (ended.status, reason_of(ended)) == (RunStatus.FAILED, "schema_mismatch")
    assert script.count("SendStreamingMessage") == 2


# -- lying ---------------------------------------------------------------------------------------


async def test_another_context_is_ignored_and_said_once(tmp_path: Path) -> None:
    stray = {**update("WORKING", said("hm", "m-1"))["statusUpdate"], "contextId": "c-666"}
    script = Script(
        {
            "SendStreamingMessage": [
                {"task": task("WORKING")},
                {"statusUpdate": stray},
                {"statusUpdate": stray},
                update("COMPLETED"),
            ]
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        ended = await gateway.ended(await started(gateway, agent.base_url))
        events = await gateway.events(ended)
    assert ended.status is RunStatus.COMPLETED
    assert ended.remote is not None
    assert ended.remote.context_id == "c-1"
    assert [d.get("reason") for _, d in events].count("wrong_context") == 1


async def test_nothing_is_heard_after_the_end(tmp_path: Path) -> None:
    script = Script(
        {
            "SendStreamingMessage": [
                {"task": task("WORKING")},
                update("COMPLETED"),
                update("WORKING", said("no, wait", "m-1")),
                update("FAILED"),
            ]
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        ended = await gateway.ended(await started(gateway, agent.base_url))
        events = await gateway.events(ended)
    assert ended.status is RunStatus.COMPLETED
    assert events[-1][0] == "run_completed"


async def _artifacts() -> AsyncGenerator[Json, None]:
    yield {"task": task("WORKING")}
    for number in range(100_000):
        yield piece("x", f"a-{number}", lastChunk=True)


async def _chatter() -> AsyncGenerator[Json, None]:
    yield {"task": task("WORKING")}
    for number in range(1_000_000):
        yield update("WORKING", metadata={"n": number})


@pytest.mark.parametrize("flood", ["artifacts", "a task of them", "updates"])
async def test_an_agent_that_sends_without_end_is_told_to_stop(
    tmp_path: Path, flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "ARTIFACTS_MAX", 1_000)
    monkeypatch.setattr(recording, "EVENTS_MAX", 3_000)
    many = [made("x", f"a-{number}") for number in range(20_000)]
    sends: dict[str, Reply] = {
        "artifacts": lambda _: _artifacts(),
        "a task of them": [{"task": task("WORKING", artifacts=many)}],
        "updates": lambda _: _chatter(),
    }
    script = Script({"SendStreamingMessage": sends[flood], "CancelTask": task("CANCELED")})
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url)
        ended = await gateway.ended(run)
        await script.called("CancelTask")
    assert (ended.status, reason_of(ended)) == (RunStatus.FAILED, "agent_flood")


# -- how it is said ------------------------------------------------------------------------------


async def test_every_message_says_which_history_and_modes_are_wanted(tmp_path: Path) -> None:
    script = Script(
        {
            "SendStreamingMessage": turns(ASKS, [{"task": task("WORKING")}]),
            "GetTask": task("COMPLETED"),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        config = {"history_length": 7, "accepted_output_modes": ["text/plain"], "blocking": False}
        name = await gateway.agent(agent.base_url, **config)
        run = await gateway.spawn(name)
        await gateway.waiting(run)
        await gateway.say(run, user_text("m-2", "this"))
        await gateway.ended(run)
    sent = [params for method, params in script.calls if method == "SendStreamingMessage"]
    wanted = {"historyLength": 7, "acceptedOutputModes": ["text/plain"]}
    assert [params["configuration"] for params in sent] == [wanted, wanted]
    asked = [params for method, params in script.calls if method == "GetTask"]
    assert asked[0] == {"id": "t-1", "historyLength": 7}
