from pathlib import Path

import pytest

from gateway.core.errors import NotSteerableError
from gateway.core.extension import Limits
from gateway.core.messages import DataPart, Message, user_text
from gateway.core.status import RunStatus
from tests.gateway.cable import cable
from tests.gateway.foreigners import Executor, sdk_agent
from tests.gateway.house import ME, house, texts


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "polled"])
async def test_an_agent_of_the_sdk_runs_to_its_end(tmp_path: Path, streaming: bool) -> None:
    async with (
        sdk_agent(Executor(), streaming=streaming) as agent,
        house(tmp_path) as gateway,
    ):
        run = await gateway.spawn(await gateway.agent(agent.base_url), "hello")
        ended = await gateway.ended(run)
        events = await gateway.events(run)
    assert ended.status is RunStatus.COMPLETED
    assert ended.result is not None
    assert ended.result.final_response == "echo: hello"
    types = [type_ for type_, _ in events]
    assert types[0] == "status_changed", "the mark that it is about to be sent"
    assert types[1] == "run_started"
    assert types.count("artifact_added") == 1
    assert types[-1] == "run_completed"
    assert ended.remote is not None
    assert ended.remote.task_id
    assert events[1][1]["remote_ref"]["task_id"] == ended.remote.task_id


async def test_artifact_chunks_are_one_artifact_and_messages_are_said_once(tmp_path: Path) -> None:
    async with sdk_agent(Executor()) as agent, house(tmp_path) as gateway:
        run = await gateway.spawn(await gateway.agent(agent.base_url), "chunks")
        ended = await gateway.ended(run)
        events = await gateway.events(run)
    artifacts = [data for type_, data in events if type_ == "artifact_added"]
    assert [data["text"] for data in artifacts] == ["chunk0 chunk1 chunk2 chunk3 "]
    assert texts(events) == ["working on it", "all chunks sent"]
    assert ended.result is not None
    assert ended.result.final_response == "all chunks sent"


async def test_a_bare_message_is_a_completed_run(tmp_path: Path) -> None:
    async with sdk_agent(Executor()) as agent, house(tmp_path) as gateway:
        run = await gateway.spawn(await gateway.agent(agent.base_url), "message")
        ended = await gateway.ended(run)
    assert ended.result is not None
    assert ended.result.final_response == "just a word"


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("fail", RunStatus.FAILED, "out of paint"),
        ("reject", RunStatus.REJECTED, "not my job"),
    ],
)
async def test_other_ends_keep_the_agents_words(
    tmp_path: Path, text: str, status: RunStatus, said: str
) -> None:
    async with sdk_agent(Executor()) as agent, house(tmp_path) as gateway:
        run = await gateway.spawn(await gateway.agent(agent.base_url), text)
        ended = await gateway.ended(run)
    assert ended.status is status
    assert ended.error is not None
    assert ended.error.message == said


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "polled"])
async def test_a_question_is_answered_in_words_and_the_run_goes_on(
    tmp_path: Path, streaming: bool
) -> None:
    executor = Executor()
    async with sdk_agent(executor, streaming=streaming) as agent, house(tmp_path) as gateway:
        run = await gateway.spawn(await gateway.agent(agent.base_url), "ask me")
        waiting = await gateway.waiting(run)
        assert [request.text for request in waiting.pending] == ["Which colour?"]
        answer = {"request_id": waiting.pending[0].request_id, "message": "blue"}
        message = Message(message_id="m-2", role="user", parts=(DataPart(data=answer),))
        await gateway.say(run, message)
        ended = await gateway.ended(run)
        events = await gateway.events(run)
    assert ended.status is RunStatus.COMPLETED
    assert executor.heard == ["ask me", "blue"]
    assert ended.result is not None
    assert ended.result.final_response == "echo: blue"
    types = [type_ for type_, _ in events]
    assert types.count("input_required") == 1
    assert [d["how"] for _, d in events if "resolved" in d] == ["answered"]


async def test_a_foreign_agent_is_not_steered_while_it_works(tmp_path: Path) -> None:
    async with sdk_agent(Executor()) as agent, house(tmp_path) as gateway:
        run = await gateway.spawn(await gateway.agent(agent.base_url), "wait")
        await gateway.seen(run, 3)
        with pytest.raises(NotSteerableError):
            await gateway.say(run, user_text("m-2", "faster"))
        assert (await gateway.tasks.cancel(ME, run.id)).status is RunStatus.CANCELLED


async def test_the_gateway_keeps_the_deadline_of_an_agent_that_knows_none(tmp_path: Path) -> None:
    async with sdk_agent(Executor()) as agent, house(tmp_path) as gateway:
        name = await gateway.agent(agent.base_url)
        run = await gateway.spawn(name, "wait", limits=Limits(deadline_s=0.2))
        ended = await gateway.ended(run)
        events = await gateway.events(run)
    assert ended.error is not None
    assert (ended.status, ended.error.reason) == (RunStatus.FAILED, "deadline")
    assert any("cancel_requested_at" in data for _, data in events), "the agent was told"


async def test_the_second_run_of_a_session_stays_in_the_agents_context(tmp_path: Path) -> None:
    async with sdk_agent(Executor()) as agent, house(tmp_path) as gateway:
        name = await gateway.agent(agent.base_url)
        first = await gateway.ended(await gateway.spawn(name, "one"))
        second = await gateway.ended(await gateway.spawn(name, "two", context_id=first.context_id))
    assert first.remote is not None
    assert second.remote is not None
    assert first.remote.context_id == second.remote.context_id
    assert first.remote.task_id != second.remote.task_id


async def test_a_link_cut_under_a_foreign_run_is_taken_up_again(tmp_path: Path) -> None:
    executor = Executor()
    async with cable(0) as link, sdk_agent(executor, url=link.url) as agent:
        link.redirect(agent.port)
        async with house(tmp_path) as gateway:
            run = await gateway.spawn(await gateway.agent(link.url), "wait")
            await gateway.seen(run, 3)
            link.cut()
            executor.release.set()
            ended = await gateway.ended(run)
            events = await gateway.events(run)
    assert ended.status is RunStatus.COMPLETED
    assert executor.heard == ["wait"], "the message was not sent twice"
    assert texts(events) == ["released"]


async def test_a_restarted_gateway_sends_no_prompt_whose_secret_is_gone(tmp_path: Path) -> None:
    executor = Executor()
    async with cable(0) as link, sdk_agent(executor, url=link.url) as agent:
        link.redirect(agent.port)
        link.unplug()
        async with house(tmp_path) as gateway:
            name = await gateway.agent(link.url)
            run = await gateway.spawn(name, "use sk-proj-Canary0123456789abcdef")
        link.plug()
        async with house(tmp_path) as gateway:
            ended = await gateway.ended(run)
    assert ended.error is not None
    assert (ended.status, ended.error.reason) == (RunStatus.FAILED, "secret_lost")
    assert executor.heard == []


async def test_a_restarted_gateway_asks_a_foreign_agent_how_its_run_ended(tmp_path: Path) -> None:
    executor = Executor()
    async with sdk_agent(executor) as agent:
        async with house(tmp_path) as gateway:
            run = await gateway.spawn(await gateway.agent(agent.base_url), "wait")
            await gateway.seen(run, 3)
        executor.release.set()
        async with house(tmp_path) as gateway:
            ended = await gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED
    assert ended.result is not None
    assert ended.result.final_response == "released"
    assert executor.heard == ["wait"]
