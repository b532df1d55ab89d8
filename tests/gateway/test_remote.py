from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.core.errors import (
    AnswerRefusedError,
    InvalidInputError,
    NotCancelableError,
    NotSteerableError,
)
from gateway.core.events import (
    AgentMessage,
    CommandFinished,
    CommandStarted,
    RunCompleted,
    RunFailed,
    StatusChanged,
)
from gateway.core.extension import Limits
from gateway.core.face.cards import build_card
from gateway.core.messages import DataPart, Message, user_text
from gateway.core.record import Run
from gateway.core.status import RunStatus
from tests.core.faces import Served, served
from tests.core.puppet import Puppet, Stage
from tests.gateway.cable import cable
from tests.gateway.house import ME, PATIENCE_S, House, house, texts

TOKEN = "t" * 43


class Pair:
    """A gateway and an agent of ours behind it, whose strings the test holds."""

    def __init__(self, gateway: House, puppets: Stage, agent: Served, name: str) -> None:
        self.gateway = gateway
        self.puppets = puppets
        self.agent = agent
        self.name = name

    async def begin(self, **more: Any) -> tuple[Run, Puppet]:
        run = await self.gateway.spawn(self.name, **more)
        await self.gateway.seen(run, 1)
        return run, self.puppet(run)

    def puppet(self, run: Run) -> Puppet:
        """The puppet that plays this run of the gateway."""
        found = [p for p in self.puppets.puppets.values() if p.run.request.run_id == run.id]
        assert len(found) == 1, "a run is one task at its agent"
        return found[0]


def advertise(agent: Served, url: str) -> str:
    """The agent says in its card that it lives at `url`: a cable's end is another origin."""
    agent.face.card = build_card(
        name="Puppet", description="Behind a cable.", base_url=url, version="1", skills=[]
    )
    return url


@pytest.fixture
async def pair(tmp_path: Path):
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for, token=TOKEN) as agent,
        house(tmp_path / "gateway") as gateway,
    ):
        name = await gateway.agent(agent.base_url, auth_token=TOKEN)
        yield Pair(gateway, puppets, agent, name)


async def test_every_event_of_the_agent_is_copied_once_and_in_order(pair: Pair) -> None:
    run, puppet = await pair.begin()
    await puppet.say(
        AgentMessage(text="hello"),
        CommandStarted(command="ls", extra={"cwd": "/x"}),
        CommandFinished(command="ls", output="a\n", status="completed", exit_code=0),
    )
    await puppet.end(RunCompleted(final_response="done", usage={"input_tokens": 3}))
    ended = await pair.gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED
    assert ended.result is not None
    assert (ended.result.final_response, ended.result.usage) == ("done", {"input_tokens": 3})
    events = await pair.gateway.events(run)
    assert [type_ for type_, _ in events] == [
        "run_started",
        "agent_message",
        "command_started",
        "command_finished",
        "run_completed",
    ]
    assert events[2][1] == {"command": "ls", "cwd": "/x"}
    started = events[0][1]
    assert started["task_id"] == puppet.run.id
    assert started["remote_ref"]["agent_url"] == pair.agent.base_url
    assert started["agent_name"] == pair.name
    assert ended.remote is not None
    assert (ended.remote.task_id, ended.remote.src_seq) == (puppet.run.id, 5)


async def test_the_request_reaches_the_agent_and_the_secret_does_not(pair: Pair) -> None:
    run, puppet = await pair.begin(role="reviewer", sandbox="read-only", cwd="/abs/tree")
    asked = puppet.run.request
    assert (asked.role, asked.sandbox, asked.cwd) == ("reviewer", "read-only", "/abs/tree")
    assert (asked.run_id, asked.session_id) == (run.id, run.context_id)
    assert puppet.run.context_id not in (run.context_id, run.id), "each hop has its own ids"
    await puppet.end(RunCompleted())
    await pair.gateway.ended(run)
    stored = b"".join(p.read_bytes() for p in pair.gateway.home.path.glob("gateway.db*"))
    assert TOKEN.encode() not in stored


async def test_a_payload_the_agent_split_is_whole_here_too(pair: Pair) -> None:
    run, puppet = await pair.begin()
    output = "".join(f"line {n} é\n" for n in range(30_000))
    await puppet.say(CommandFinished(command="make", output=output, status="completed"))
    await puppet.end(RunCompleted(final_response="x" * 5000))
    await pair.gateway.ended(run)
    page = await pair.gateway.tasks.events(ME, run.id)
    split = await pair.gateway.tasks.whole(page.run, page.events[1])
    assert split["output"] == output
    final = await pair.gateway.tasks.whole(page.run, page.events[2])
    assert final["final_response"] == "x" * 5000


async def test_a_question_is_answered_at_the_agent_and_its_events_tell_so(pair: Pair) -> None:
    run, puppet = await pair.begin()
    await puppet.ask("p-1")
    waiting = await pair.gateway.waiting(run)
    assert [request.request_id for request in waiting.pending] == ["p-1"]
    answer = DataPart(data={"request_id": "p-1", "option": "allow"})
    await pair.gateway.say(run, Message(message_id="m-2", role="user", parts=(answer,)))
    with anyio.fail_after(PATIENCE_S):
        while not puppet.heard:
            await pair.agent.tasks.log.changed(puppet.run.id, puppet.writer.run.last_seq, 0.1)
    [(kind, answers)] = puppet.heard
    assert kind == "answer"
    assert [(a.request_id, a.choice) for a in answers] == [("p-1", "allow")]
    await puppet.end(RunCompleted())
    assert (await pair.gateway.ended(run)).status is RunStatus.COMPLETED
    resolved = [data for _, data in await pair.gateway.events(run) if data.get("resolved")]
    assert [(data["resolved"], data["how"]) for data in resolved] == [("p-1", "answered")]


async def test_an_answer_the_agent_refuses_is_refused_with_its_code(pair: Pair) -> None:
    run, puppet = await pair.begin()
    await puppet.ask("p-1", "p-2")
    await pair.gateway.seen(run, 3)
    answer = DataPart(data={"request_id": "p-1", "option": "allow"})
    # The agent withdraws the request while our copy of that is still on its way.
    await puppet.writer.emit(
        StatusChanged(status="input_required", resolved="p-1", how="withdrawn")
    )
    await puppet.writer.flush()
    with pytest.raises(AnswerRefusedError) as refused:
        await pair.gateway.say(run, Message(message_id="m-2", role="user", parts=(answer,)))
    assert refused.value.code == "request_gone"
    await puppet.end(RunCompleted())
    await pair.gateway.ended(run)


async def test_a_message_to_a_running_run_steers_the_agent(pair: Pair) -> None:
    run, puppet = await pair.begin()
    await pair.gateway.say(run, user_text("m-2", "also the tests"))
    assert puppet.heard == [("steer", "also the tests")]
    puppet.steerable = False
    with pytest.raises(NotSteerableError):
        await pair.gateway.say(run, user_text("m-3", "and the docs"))
    await puppet.end(RunCompleted())
    await pair.gateway.ended(run)


async def test_a_cancel_is_the_agents_to_confirm(pair: Pair) -> None:
    run, puppet = await pair.begin()
    cancelled = await pair.gateway.tasks.cancel(ME, run.id)
    assert cancelled.status is RunStatus.CANCELLED
    assert puppet.heard == [("cancel", None)]
    events = await pair.gateway.events(run)
    assert "cancel_requested_at" in events[1][1]
    assert events[-1][1]["status"] == "cancelled"
    with pytest.raises(NotCancelableError):
        await pair.gateway.tasks.cancel(ME, run.id)


async def test_an_agent_that_finished_before_the_cancel_reached_it_keeps_its_end(
    pair: Pair,
) -> None:
    run, puppet = await pair.begin()
    puppet.on_cancel = []
    await puppet.writer.emit(RunCompleted(final_response="just in time"))
    puppet.leave()
    ended = await pair.gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED


async def test_a_refused_request_is_a_failed_run_with_the_agents_reason(tmp_path: Path) -> None:
    def check(_request: object) -> None:
        raise InvalidInputError("cwd /x lies outside this agent's folders", "cwd")

    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for, check=check) as agent,
        house(tmp_path / "gateway") as gateway,
    ):
        run = await gateway.spawn(await gateway.agent(agent.base_url))
        ended = await gateway.ended(run)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert "cwd /x lies outside" in ended.error.message


async def test_the_second_run_of_a_session_is_in_the_same_context_of_the_agent(pair: Pair) -> None:
    first, puppet = await pair.begin()
    await puppet.end(RunCompleted())
    await pair.gateway.ended(first)
    second, other = await pair.begin(context_id=first.context_id)
    assert other.run.context_id == puppet.run.context_id
    assert second.id != first.id
    await other.end(RunFailed(message="no", reason="budget"))
    ended = await pair.gateway.ended(second)
    assert ended.error is not None
    assert ended.error.reason == "budget"


# -- links that break ------------------------------------------------------------------------------


async def test_a_link_cut_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for, token=TOKEN) as agent,
        cable(agent.listener.port) as link,
        house(tmp_path / "gateway") as gateway,
    ):
        name = await gateway.agent(advertise(agent, link.url), auth_token=TOKEN)
        pair = Pair(gateway, puppets, agent, name)
        run, puppet = await pair.begin()
        for number in range(200):
            await puppet.say(AgentMessage(text=str(number)))
            if number % 20 == 10:
                await gateway.seen(run, number - 5)  # the stream is live again
                link.cut()
        await puppet.end(RunCompleted())
        ended = await gateway.ended(run)
        assert ended.status is RunStatus.COMPLETED
        assert texts(await gateway.events(run)) == [str(number) for number in range(200)]
        assert link.connections > 10


async def test_what_happens_while_the_link_is_down_is_caught_up_with(tmp_path: Path) -> None:
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for) as agent,
        cable(agent.listener.port) as link,
        house(tmp_path / "gateway") as gateway,
    ):
        pair = Pair(gateway, puppets, agent, await gateway.agent(advertise(agent, link.url)))
        run, puppet = await pair.begin()
        link.unplug()
        await puppet.say(*(AgentMessage(text=str(number)) for number in range(50)))
        await puppet.end(RunCompleted())
        assert not (await gateway.tasks.get(ME, run.id)).terminal
        link.plug()
        assert (await gateway.ended(run)).status is RunStatus.COMPLETED
        assert texts(await gateway.events(run)) == [str(number) for number in range(50)]


async def test_a_cancel_asked_while_the_link_is_down_is_told_when_it_is_back(
    tmp_path: Path,
) -> None:
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for) as agent,
        cable(agent.listener.port) as link,
        house(tmp_path / "gateway") as gateway,
    ):
        pair = Pair(gateway, puppets, agent, await gateway.agent(advertise(agent, link.url)))
        run, puppet = await pair.begin()
        link.unplug()
        asked = await gateway.tasks.cancel(ME, run.id, wait_s=0)
        assert asked.status is RunStatus.RUNNING
        assert asked.cancel_requested_at is not None
        link.plug()
        assert (await gateway.ended(run)).status is RunStatus.CANCELLED
        assert puppet.heard == [("cancel", None)]


async def test_an_agent_that_stays_away_longer_than_our_patience_ends_the_run_agent_lost(
    tmp_path: Path,
) -> None:
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for) as agent,
        cable(agent.listener.port) as link,
        house(tmp_path / "gateway", patience_s=0.3) as gateway,
    ):
        pair = Pair(gateway, puppets, agent, await gateway.agent(advertise(agent, link.url)))
        run, puppet = await pair.begin()
        link.unplug()
        ended = await gateway.ended(run)
        assert ended.error is not None
        assert ended.error.reason == "agent_lost"
        puppet.leave()


async def test_the_agents_server_keeps_the_deadline_and_its_end_is_copied(tmp_path: Path) -> None:
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for) as agent,
        house(tmp_path / "gateway") as gateway,
    ):
        pair = Pair(gateway, puppets, agent, await gateway.agent(agent.base_url))
        run, puppet = await pair.begin(limits=Limits(deadline_s=0.05))
        ended = await gateway.ended(run)
    assert ended.error is not None
    assert (ended.status, ended.error.reason) == (RunStatus.FAILED, "deadline")
    assert ended.cancel_requested_at is None, "nobody here had to ask"
    assert puppet.heard == [("cancel", None)]


async def test_a_restarted_gateway_goes_on_where_its_log_ends(tmp_path: Path) -> None:
    puppets = Stage()
    async with served(tmp_path / "agent", driver_for=puppets.driver_for) as agent:
        async with house(tmp_path / "gateway") as gateway:
            pair = Pair(gateway, puppets, agent, await gateway.agent(agent.base_url))
            run, puppet = await pair.begin()
            await puppet.say(AgentMessage(text="before"))
            await gateway.seen(run, 2)
        await puppet.say(AgentMessage(text="between"))
        async with house(tmp_path / "gateway") as gateway:
            await gateway.seen(run, 3)
            await puppet.end(RunCompleted(final_response="after"))
            ended = await gateway.ended(run)
            assert ended.status is RunStatus.COMPLETED
            assert texts(await gateway.events(run)) == ["before", "between"]


async def test_a_cancel_while_a_restarted_gateway_looks_for_the_agent_is_told_later(
    tmp_path: Path,
) -> None:
    # It counted as never sent: the gateway said `cancelled` while the agent worked on.
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for) as agent,
        cable(agent.listener.port) as link,
    ):
        async with house(tmp_path / "gateway") as gateway:
            pair = Pair(gateway, puppets, agent, await gateway.agent(advertise(agent, link.url)))
            run, puppet = await pair.begin()
        link.unplug()
        async with house(tmp_path / "gateway") as gateway:
            asked = await gateway.tasks.cancel(ME, run.id, wait_s=0)
            assert asked.status is RunStatus.RUNNING
            assert puppet.heard == []
            link.plug()
            assert (await gateway.ended(run)).status is RunStatus.CANCELLED
            assert puppet.heard == [("cancel", None)]


async def test_a_run_the_agent_forgot_ends_agent_lost(tmp_path: Path) -> None:
    puppets, others = Stage(), Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for) as agent,
        served(tmp_path / "other", driver_for=others.driver_for) as other,
        cable(agent.listener.port) as link,
        house(tmp_path / "gateway") as gateway,
    ):
        pair = Pair(gateway, puppets, agent, await gateway.agent(advertise(agent, link.url)))
        run, puppet = await pair.begin()
        advertise(other, link.url)
        link.redirect(other.listener.port)
        ended = await gateway.ended(run)
        puppet.leave()
    assert ended.error is not None
    assert ended.error.reason == "agent_lost"
    assert str(puppet.run.id) in ended.error.message
