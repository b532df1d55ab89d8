"""What a foreign agent did while the gateway was away is told once, and nothing is sent twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from gateway.core.extension import Limits
from gateway.core.messages import user_text
from gateway.core.record import Run
from gateway.core.status import RunStatus
from tests.gateway.house import ME, House, house, texts
from tests.gateway.script import (
    Broken,
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


def reason_of(run: Run) -> str | None:
    return run.error.reason if run.error else None


def artifacts(events: list[tuple[str, Json]]) -> list[str]:
    return [data["text"] for type_, data in events if type_ == "artifact_added"]


async def started(gateway: House, url: str, **more: Any) -> Run:
    return await gateway.spawn(await gateway.agent(url), **more)


async def test_what_was_said_and_made_while_the_gateway_was_down_is_added_once(
    tmp_path: Path,
) -> None:
    # A restarted gateway took everything in the first task it got for known: what the agent had
    # said and made in between was never told.
    one, two, three = said("one", "m-1"), said("two", "m-2"), said("three", "m-3")
    away = anyio.Event()
    script = Script(
        {
            "SendStreamingMessage": lambda _: until(
                away,
                {"task": task("SUBMITTED")},
                update("WORKING", one),
                piece("first", "a-1", lastChunk=True),
                piece("sec", "a-2", lastChunk=False),
            ),
            "GetTask": lambda _: task(
                "WORKING",
                three,
                history=[said("go", "m-0", "USER"), one, two],
                artifacts=[made("first", "a-1"), made("second", "a-2"), made("third", "a-3")],
            ),
            "SubscribeToTask": [
                {"task": task("WORKING", three, history=[one, two])},
                piece(" and more", "a-3", append=True, lastChunk=True),
                update("COMPLETED", said("done", "m-4")),
            ],
        }
    )
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await started(gateway, agent.base_url)
            await gateway.seen(run, 6)
        async with house(tmp_path) as gateway:
            ended = await gateway.ended(run)
            events = await gateway.events(run)
        away.set()
    assert ended.status is RunStatus.COMPLETED
    assert texts(events) == ["one", "two", "three", "done"]
    assert artifacts(events) == ["first", "second", "third and more"]
    assert script.count("SendStreamingMessage") == 1


async def test_a_message_with_a_secret_is_known_again_after_a_restart(tmp_path: Path) -> None:
    # The log masks what looks like a secret: a message told by its stored text would be told twice.
    key = said("use sk-proj-Canary0123456789abcdef", "m-1")
    away = anyio.Event()
    script = Script(
        {
            "SendStreamingMessage": lambda _: until(away, update("WORKING", key)),
            "GetTask": task("COMPLETED", said("done", "m-2"), history=[key]),
        }
    )
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await started(gateway, agent.base_url)
            await gateway.seen(run, 5)
        async with house(tmp_path) as gateway:
            await gateway.ended(run)
            events = await gateway.events(run)
        away.set()
    assert len(texts(events)) == 2


async def test_a_question_stays_the_same_question_over_a_restart(tmp_path: Path) -> None:
    asked = said("Which colour?", "q-1")
    script = Script(
        {
            "SendStreamingMessage": turns(
                [{"task": task("WORKING")}, update("INPUT_REQUIRED", asked)],
                [{"task": task("COMPLETED", said("blue it is", "m-9"))}],
            ),
            "GetTask": task("INPUT_REQUIRED", asked),
        }
    )
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await started(gateway, agent.base_url)
            before = await gateway.waiting(run)
        async with house(tmp_path) as gateway:
            await script.called("GetTask")
            assert (await gateway.waiting(run)).pending == before.pending
            await gateway.say(run, user_text("m-2", "blue"))
            ended = await gateway.ended(run)
            events = await gateway.events(run)
    assert ended.status is RunStatus.COMPLETED
    assert [type_ for type_, _ in events].count("input_required") == 1


# -- lost answers --------------------------------------------------------------------------------


def listed(*tasks: Json) -> Json:
    return {"tasks": list(tasks), "nextPageToken": "", "pageSize": 50, "totalSize": len(tasks)}


def kept(script: Script, *, listing_history: bool = True) -> Callable[[Json], Json]:
    """ListTasks and GetTask of an agent that keeps what it was sent."""

    def answer(params: Json) -> Json:
        sent = [*script.heard(), *script.heard("SendMessage")]
        other = {**task("WORKING", history=[said("else", "m-7", "USER")]), "id": "t-7"}
        mine = task("COMPLETED", said("found", "m-1"), history=sent)
        if "id" in params:
            return mine if params["id"] == "t-1" else other
        bare: Json = {} if listing_history else {"history": []}
        return listed({**other, **bare}, {**mine, **bare})

    return answer


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "polled"])
@pytest.mark.parametrize("history", [True, False], ids=["whole", "without history"])
async def test_a_start_whose_answer_was_lost_is_found_by_its_message(
    tmp_path: Path, streaming: bool, history: bool
) -> None:
    script = Script({"SendStreamingMessage": Broken(), "SendMessage": Broken()})
    script.parts["GetTask"] = kept(script)
    script.parts["ListTasks"] = kept(script, listing_history=history)
    async with playing(script, streaming=streaming) as agent, house(tmp_path) as gateway:
        run = await started(gateway, agent.base_url)
        ended = await gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED
    assert ended.remote is not None
    assert ended.remote.task_id == "t-1"
    assert script.count("SendStreamingMessage", "SendMessage") == 1


@pytest.mark.parametrize("found", [True, False])
async def test_a_gateway_killed_between_send_and_record_looks_and_never_sends_again(
    tmp_path: Path, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.driving.foreign.search.LOOKS_S", (0.0, 0.05))
    silent = anyio.Event()
    script = Script({"SendStreamingMessage": lambda _: until(silent)})
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await started(gateway, agent.base_url)
            await script.called("SendStreamingMessage")
        script.parts["ListTasks"] = kept(script) if found else listed()
        script.parts["GetTask"] = kept(script)
        async with house(tmp_path) as gateway:
            ended = await gateway.ended(run)
        silent.set()
    if found:
        assert ended.status is RunStatus.COMPLETED
    else:
        assert (ended.status, reason_of(ended)) == (RunStatus.FAILED, "start_unknown")
    assert script.count("SendStreamingMessage") == 1


async def test_a_start_that_never_left_is_sent_by_the_next_gateway(tmp_path: Path) -> None:
    # The mark that it may have been sent stood in the record of a run whose agent was never
    # reached; after a restart it ended start_unknown.
    script = Script(
        {"SendStreamingMessage": turns(Broken(503), [{"task": task("COMPLETED")}])},
    )
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await started(gateway, agent.base_url)
            await script.called("SendStreamingMessage")
            with anyio.fail_after(30):
                while (r := await gateway.tasks.get(ME, run.id)).remote is None or (
                    r.remote.agent_url is not None and script.count("SendStreamingMessage") == 1
                ):
                    await checkpoint()
        async with house(tmp_path) as gateway:
            ended = await gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED


ASKED = said("Which colour?", "q-1")
ASKING = [{"task": task("WORKING")}, update("INPUT_REQUIRED", ASKED)]


async def answered(gateway: House, url: str, **more: Any) -> Run:
    run = await started(gateway, url, **more)
    await gateway.waiting(run)
    await gateway.say(run, user_text("m-2", "blue"))
    return run


async def test_an_answer_that_was_heard_although_nothing_came_back_is_not_asked_for_again(
    tmp_path: Path,
) -> None:
    script = Script({"SendStreamingMessage": turns(ASKING, Broken())})
    script.parts["GetTask"] = turns(
        lambda _: task("INPUT_REQUIRED", ASKED, history=script.heard()),
        lambda _: task("COMPLETED", said("done", "m-5"), history=script.heard()),
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await answered(gateway, agent.base_url)
        ended = await gateway.ended(run)
        events = await gateway.events(run)
    assert ended.status is RunStatus.COMPLETED
    assert [type_ for type_, _ in events].count("input_required") == 1
    assert script.count("SendStreamingMessage") == 2


async def test_an_answer_that_was_not_heard_is_asked_for_again_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.driving.foreign.search.LOOKS_S", (0.0, 0.05))
    script = Script(
        {
            "SendStreamingMessage": turns(ASKING, Broken(), [{"task": task("COMPLETED")}]),
            "GetTask": task("INPUT_REQUIRED", ASKED),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        run = await answered(gateway, agent.base_url)
        again = await gateway.waiting(run)
        assert script.count("SendStreamingMessage") == 2
        assert [one.text for one in again.pending] == ["Which colour?"]
        await gateway.say(run, user_text("m-2", "blue"))
        ended = await gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED
    ids = [message["messageId"] for message in script.heard()]
    assert len(set(ids)) == 3, "each has an id of its own, whatever the caller names them"


@pytest.mark.parametrize("restarted", [True, False])
async def test_an_answer_that_became_a_task_of_its_own_is_found_in_the_context(
    tmp_path: Path, restarted: bool
) -> None:
    silent = anyio.Event()
    second: Reply = (lambda _: until(silent)) if restarted else Broken()
    script = Script(
        {
            "SendStreamingMessage": turns(ASKING, second),
            "GetTask": lambda params: (
                task("INPUT_REQUIRED", ASKED)
                if params["id"] == "t-1"
                else {
                    **task("COMPLETED", said("blue", "m-8"), history=script.heard()[1:]),
                    "id": "t-2",
                }
            ),
        }
    )

    def lists(params: Json) -> Json:
        assert params["contextId"] == "c-1"
        new = {**task("COMPLETED", history=script.heard()[1:]), "id": "t-2"}
        return listed(new, task("INPUT_REQUIRED", ASKED))

    script.parts["ListTasks"] = lists
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await answered(gateway, agent.base_url)
            await script.called("SendStreamingMessage", 2)
            if not restarted:
                await gateway.ended(run)
        async with house(tmp_path) as gateway:
            ended = await gateway.ended(run)
        silent.set()
    assert ended.status is RunStatus.COMPLETED
    assert ended.remote is not None
    assert ended.remote.task_id == "t-2"
    assert script.count("SendStreamingMessage") == 2


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [True, False])
async def test_nobody_answering_in_time_says_the_default(tmp_path: Path, restarted: bool) -> None:
    script = Script(
        {
            "SendStreamingMessage": turns(ASKING, [{"task": task("COMPLETED")}]),
            "GetTask": task("INPUT_REQUIRED", ASKED),
        }
    )
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await started(gateway, agent.base_url, limits=Limits(answer_s=1.0))
            waiting = await gateway.waiting(run)
            assert waiting.pending[0].expires_at is not None
            assert waiting.pending[0].default is not None
            if not restarted:
                await gateway.ended(run)
        async with house(tmp_path) as gateway:
            ended = await gateway.ended(run)
            events = await gateway.events(run)
    assert ended.status is RunStatus.COMPLETED
    assert [data["how"] for _, data in events if "resolved" in data] == ["expired"]
    assert "decide by yourself" in script.heard()[1]["parts"][0]["text"]


async def test_a_deadline_counts_on_after_a_restart(tmp_path: Path) -> None:
    away = anyio.Event()
    script = Script(
        {
            "SendStreamingMessage": lambda _: until(away, {"task": task("WORKING")}),
            "GetTask": task("WORKING"),
            "SubscribeToTask": lambda _: until(away, {"task": task("WORKING")}),
            "CancelTask": task("CANCELED"),
        }
    )
    async with playing(script) as agent:
        async with house(tmp_path) as gateway:
            run = await started(gateway, agent.base_url, limits=Limits(deadline_s=1.0))
            await gateway.seen(run, 2)
        async with house(tmp_path) as gateway:
            ended = await gateway.ended(run)
        away.set()
    assert (ended.status, reason_of(ended)) == (RunStatus.FAILED, "deadline")
    assert script.count("CancelTask") == 1


async def test_a_task_that_vanished_ends_its_run_agent_lost(tmp_path: Path) -> None:
    script = Script(
        {
            "SendStreamingMessage": [{"task": task("WORKING")}],
            "GetTask": Refusal(-32001, "Task not found"),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        ended = await gateway.ended(await started(gateway, agent.base_url))
    assert reason_of(ended) == "agent_lost"


async def test_a_task_that_is_stored_late_is_found_a_moment_later(tmp_path: Path) -> None:
    script = Script(
        {
            "SendStreamingMessage": [{"task": task("WORKING")}],
            "GetTask": turns(Refusal(-32001), Refusal(-32001), task("COMPLETED")),
        }
    )
    async with playing(script) as agent, house(tmp_path) as gateway:
        ended = await gateway.ended(await started(gateway, agent.base_url))
    assert ended.status is RunStatus.COMPLETED
