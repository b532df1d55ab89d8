"""Two clients at one run: one wins, the other is told and what to do; each pair in both orders.

answer   against  answer, over MCP both, and MCP against A2A
cancel   against  cancel, completion, continue
spawn    against  spawn under the same request_key
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client

from gateway.core.events import RunCompleted, StatusChanged
from gateway.core.face.cards import Face, Skill, build_card
from gateway.core.face.guard import Guard
from gateway.core.face.routes import FaceApp
from gateway.core.json import JsonObject
from mcp_bridge.face import server
from tests.core.faces import headers
from tests.core.puppet import ME, Stage, stage
from tests.mcp_bridge.house import PATIENCE_S, Agents, House, text_of

AGENT = "codex"
Say = Callable[[str, str], Awaitable[str]]  # (run, option) -> "taken", or why not


@dataclass
class Two:
    """Two clients of the tools and one of A2A, at one gateway."""

    puppets: Stage
    one: House
    other: House
    a2a: httpx.AsyncClient

    async def mcp_one(self, run_id: str, option: str) -> str:
        return await _answer(self.one, run_id, option)

    async def mcp_other(self, run_id: str, option: str) -> str:
        return await _answer(self.other, run_id, option)

    async def over_a2a(self, run_id: str, option: str) -> str:
        answer = {"data": {"request_id": "q", "option": option}}
        message = {"messageId": "m", "role": "ROLE_USER", "taskId": run_id, "parts": [answer]}
        params = {"message": message, "configuration": {"returnImmediately": True}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
        with anyio.fail_after(PATIENCE_S):
            told = (await self.a2a.post("/a2a/jsonrpc", json=body, headers=headers())).json()
        return told["error"]["message"] if "error" in told else "taken"


async def _answer(house: House, run_id: str, option: str) -> str:
    answer = {"request_id": "q", "option": option}
    return await _told(house, "continue_run", run_id=run_id, answer=answer)


async def _told(house: House, tool: str, **arguments: object) -> str:
    with anyio.fail_after(PATIENCE_S):
        result = await house.client.call_tool(tool, arguments)
    return text_of(result) if result.is_error else "taken"


@asynccontextmanager
async def _two(folder: Path) -> AsyncGenerator[Two]:
    work = folder / "work"
    work.mkdir()
    agents = Agents()
    card = build_card(
        name="Codex",
        description="Codex.",
        base_url="http://127.0.0.1",
        version="1",
        skills=[Skill(id="play", name="Play", description="Plays.", tags=("test",))],
        token_required=False,
    )
    async with AsyncExitStack() as stack:
        puppets = await stack.enter_async_context(stage(folder))
        app = Guard(FaceApp(puppets.tasks, Face(agent=AGENT, card=card)), token=None)
        houses: list[House] = []
        for _ in range(2):
            mcp = server.mcp_server(puppets.tasks, agents, ME)
            client = await stack.enter_async_context(Client(mcp))
            houses.append(House(client, puppets, agents, work))
        transport = httpx.ASGITransport(app)
        a2a = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        await stack.enter_async_context(a2a)
        yield Two(puppets, houses[0], houses[1], a2a)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncGenerator[Two]:
    async with _two(tmp_path) as made:
        yield made


PAIRS = [("mcp_one", "mcp_other"), ("mcp_one", "over_a2a"), ("over_a2a", "mcp_one")]


@pytest.mark.promise("answer.once")
@pytest.mark.parametrize("pair", PAIRS, ids=" then ".join)
@pytest.mark.parametrize("under_way", [True, False], ids=["under way", "taken"])
async def test_of_two_clients_that_answer_one_is_taken_and_the_other_told(
    two: Two, pair: tuple[str, str], under_way: bool
) -> None:
    first, second = (getattr(two, name) for name in pair)
    run_id, puppet = await two.one.begin()
    await puppet.ask("q")
    told: JsonObject = {}

    async def say(who: Say, option: str) -> None:
        told[option] = await who(run_id, option)

    if under_way:
        puppet.deaf = asyncio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(say, first, "allow")
            with anyio.fail_after(PATIENCE_S):
                await puppet.listening.wait()  # the first is at the agent
            group.start_soon(say, second, "deny")
            puppet.deaf.set()
    else:
        await say(first, "allow")
        await say(second, "deny")
    assert told["allow"] == "taken"
    assert "already answered" in told["deny"]
    assert "poll_events" in told["deny"] or "GetTask" in told["deny"]
    assert [[(a.request_id, a.option) for a in said] for _, said in puppet.heard] == [
        [("q", "allow")]
    ]
    await puppet.end(RunCompleted(final_response="done"))


@pytest.mark.promise("answer.once")
async def test_an_answer_to_a_question_that_was_taken_back_is_told_so(two: Two) -> None:
    run_id, puppet = await two.one.begin()
    await puppet.ask("q")
    await puppet.resolve("q", "withdrawn")
    assert "no request 'q' is pending" in await two.mcp_one(run_id, "allow")
    await puppet.end(RunCompleted(final_response="done"))
    assert "already completed" in await two.mcp_other(run_id, "allow")


async def test_two_cancels_are_both_answered_with_the_same_end(two: Two) -> None:
    run_id, puppet = await two.one.begin()
    answers: list[JsonObject] = []

    async def cancel(house: House) -> None:
        answers.append(await house.call("cancel_run", run_id=run_id))

    async with anyio.create_task_group() as group:
        group.start_soon(cancel, two.one)
        group.start_soon(cancel, two.other)
    answers.append(await two.other.call("cancel_run", run_id=run_id))
    assert [one["status"] for one in answers] == ["cancelled"] * 3
    assert len({one["cancelled_at"] for one in answers}) == 1
    assert [what for what, _ in puppet.heard] == ["cancel"]


async def test_a_cancel_behind_the_completion_is_told_of_the_end(two: Two) -> None:
    run_id, puppet = await two.one.begin()
    await puppet.writer.emit(RunCompleted())  # appended, not yet stored
    assert "already completed" in await _told(two.other, "cancel_run", run_id=run_id)
    puppet.leave()
    await two.one.ended(run_id)
    assert (await two.one.call("get_run", run_id=run_id))["status"] == "completed"


async def test_a_completion_behind_the_cancel_leaves_it_cancelled(two: Two) -> None:
    run_id, puppet = await two.one.begin()
    answer = await two.one.call("cancel_run", run_id=run_id)
    assert answer["status"] == "cancelled"
    shown = await two.other.call("get_run", run_id=run_id)
    assert shown["status"] == "cancelled"
    assert puppet.writer.run.terminal


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_an_answer_against_a_cancel_has_one_history(two: Two, cancel_first: bool) -> None:
    run_id, puppet = await two.one.begin()
    await puppet.ask("q")
    puppet.on_cancel = []  # it takes its time
    puppet.deaf = asyncio.Event()
    told: JsonObject = {}

    async def cancel() -> None:
        with anyio.fail_after(PATIENCE_S):
            await two.puppets.tasks.cancel(ME, run_id, wait_s=0)

    async def answer() -> None:
        told["answer"] = await two.mcp_other(run_id, "allow")

    async with anyio.create_task_group() as group:
        if cancel_first:
            await cancel()
            group.start_soon(answer)
        else:
            group.start_soon(answer)
            with anyio.fail_after(PATIENCE_S):
                await puppet.listening.wait()
            await cancel()
        puppet.deaf.set()
    if cancel_first:
        assert "is being cancelled" in told["answer"]
        assert [what for what, _ in puppet.heard] == ["cancel"]
    else:
        assert told["answer"] == "taken"
        assert sorted(what for what, _ in puppet.heard) == ["answer", "cancel"]
    await puppet.end(StatusChanged(status="cancelled"))


@pytest.mark.promise("spawn.once")
async def test_the_same_spawn_from_two_clients_at_once_is_one_run(two: Two) -> None:
    made: list[str] = []

    async def spawn(house: House) -> None:
        made.append((await house.call("spawn_run", **house.task(request_key="k")))["run_id"])

    async with anyio.create_task_group() as group:
        for house in (two.one, two.other) * 5:
            group.start_soon(spawn, house)
    assert len(made) == 10
    assert len(set(made)) == 1
    assert len((await two.one.call("list_runs"))["runs"]) == 1
    text = await _told(two.other, "spawn_run", **two.one.task(request_key="k", prompt="else"))
    assert "was used for another request" in text
    assert made[0] in text


@pytest.mark.promise("spawn.once")
async def test_the_same_words_from_two_clients_at_once_are_said_once(two: Two) -> None:
    run_id, puppet = await two.one.begin()
    told: list[str] = []

    async def steer(house: House) -> None:
        told.append(await _told(house, "continue_run", run_id=run_id, text="left", request_key="s"))

    async with anyio.create_task_group() as group:
        for house in (two.one, two.other):
            group.start_soon(steer, house)
    assert told == ["taken"] * 2
    assert puppet.heard == [("steer", "left")]
    await puppet.end(RunCompleted(final_response="done"))
