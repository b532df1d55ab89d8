"""The tools of agents, as a client that asked for them uses them, in each of the four ways."""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from gateway.core import json
from gateway.core.events import RunCompleted
from gateway.core.json import JsonObject
from mcp_bridge.agents import fetch_agent_messages as fetching
from mcp_bridge.agents.fetch_agent_messages import (
    FetchAgentMessages,
    fetch_agent_messages,
)
from mcp_bridge.agents.list_agents import ListAgents, list_agents
from mcp_bridge.agents.results import MessagesPage
from mcp_bridge.agents.send_agent_message import SendAgentMessage, send_agent_message
from mcp_bridge.agents.toolset import AGENTS_TOOLSET
from mcp_bridge.tool import Beat, Call
from tests.core.puppet import ME
from tests.mcp_bridge.house import PATIENCE_S, WAYS, House, Way, house

# Names, arguments and result keys that callers of the predecessor rely on.
CONTRACT: dict[str, tuple[set[str], set[str]]] = {
    "list_agents": ({"cwd", "backend", "status"}, {"agents"}),
    "send_agent_message": (
        {"to_agent_name", "from_agent_name", "cwd", "message", "metadata"},
        {"message_id", "to_agent_name", "to_session_id", "seq", "created_at"},
    ),
    "fetch_agent_messages": (
        {"agent_name", "cwd", "after_seq", "limit"},
        {"agent_name", "session_id", "messages", "next_after_seq"},
    ),
}
HELLO: JsonObject = {"role": "user", "parts": [{"type": "text", "text": "hello"}]}


@pytest.fixture(params=WAYS)
async def caller(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[House]:
    way: Way = request.param
    async with house(tmp_path, way, toolsets=("agents",)) as made:
        yield made


@pytest.fixture
async def one(tmp_path: Path) -> AsyncGenerator[House]:
    async with house(tmp_path, "memory, 2026", toolsets=("agents",)) as made:
        yield made


async def silent(waited: float, most: float, text: str) -> None:
    del waited, most, text


def within(caller: House, run_id: str | None, beat: Beat = silent) -> Call:
    """A call from within a run, as the server makes one of the relay's header."""
    tasks, backends = caller.puppets.tasks, caller.agents
    return Call(tasks=tasks, backends=backends, principal=ME, beat=beat, within=run_id)


# -- what is published -----------------------------------------------------------------------------


def test_names_arguments_and_results_are_those_of_the_contract() -> None:
    published = {tool.name: tool.published() for tool in AGENTS_TOOLSET}
    assert list(published) == list(CONTRACT)
    for name, (taken, given) in CONTRACT.items():
        assert set(published[name].input_schema["properties"]) >= taken, name
        assert set((published[name].output_schema or {})["required"]) >= given, name
    required = {name: tool.input_schema.get("required", []) for name, tool in published.items()}
    assert required["send_agent_message"] == ["to_agent_name"]
    limit = published["fetch_agent_messages"].input_schema["properties"]["limit"]
    assert (limit["minimum"], limit["maximum"]) == (1, 1000)


def test_the_three_take_less_than_two_and_a_half_kilobytes() -> None:
    published = [
        {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
        for tool in (tool.published() for tool in AGENTS_TOOLSET)
    ]
    text = json.encode(published)
    assert len(text.encode()) < 2500
    assert [word for word in ("$ref", "$defs", '"title"', '"default"') if word in text] == []


# -- in use ----------------------------------------------------------------------------------------


async def test_agents_are_listed_written_to_and_read(caller: House) -> None:
    ann, puppet = await caller.begin(nickname="ann", role="planner")
    await caller.begin(nickname="bob")
    listed = (await caller.call("list_agents"))["agents"]
    assert [agent["agent_name"] for agent in listed] == ["bob", "ann"]
    assert listed[1] == {
        "agent_name": "ann",
        "role": "planner",
        "session_id": puppet.run.context_id,
        "status": "running",
        "cwd": str(caller.folder),
        "last_run_id": ann,
        "updated_at": listed[1]["updated_at"],
    }
    sent = await caller.call(
        "send_agent_message",
        to_agent_name="ann",
        from_agent_name="bob",
        cwd=str(caller.folder),
        message=HELLO,
        metadata={"topic": 1},
    )
    assert (sent["seq"], sent["to_agent_name"], sent["from_agent_name"]) == (1, "ann", "bob")
    assert sent["to_session_id"] == puppet.run.context_id
    again = await caller.call("send_agent_message", to_agent_name="ann", text="and again")
    assert again["seq"] == 2
    page = await caller.call("fetch_agent_messages", agent_name="ann")
    assert list(page) == ["agent_name", "session_id", "next_after_seq", "has_more", "messages"]
    assert (page["agent_name"], page["next_after_seq"], page["has_more"]) == ("ann", 2, False)
    first, second = page["messages"]
    assert first == {
        "seq": 1,
        "message_id": sent["message_id"],
        "created_at": sent["created_at"],
        "from_agent_name": "bob",
        "from_session_id": listed[0]["session_id"],
        "to_agent_name": "ann",
        "to_session_id": puppet.run.context_id,
        "body": HELLO,
        "metadata": {"topic": 1},
    }
    assert second["body"]["parts"] == [{"type": "text", "text": "and again"}]
    assert second["from_agent_name"] is None
    rest = await caller.call("fetch_agent_messages", agent_name="ann", after_seq=2)
    assert (rest["messages"], rest["next_after_seq"]) == ([], 2)


@pytest.mark.promise("mail.wait")
async def test_a_fetch_that_waits_is_answered_by_the_next_message(caller: House) -> None:
    await caller.begin(nickname="ann")
    pages: list[JsonObject] = []

    async def fetch() -> None:
        pages.append(
            await caller.call("fetch_agent_messages", agent_name="ann", after_seq=0, wait_ms=30_000)
        )

    async with anyio.create_task_group() as group:
        group.start_soon(fetch)
        await caller.call("send_agent_message", to_agent_name="ann", text="hello")
    assert [message["seq"] for message in pages[0]["messages"]] == [1]


async def test_a_wait_for_nothing_ends_in_time(one: House) -> None:
    await one.begin(nickname="ann")
    page = await one.call("fetch_agent_messages", agent_name="ann", wait_ms=50)
    assert page["messages"] == []


async def test_a_waiting_fetch_says_that_it_waits(
    one: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "BEAT_S", 0.01)
    await one.begin(nickname="ann")
    beats: list[tuple[float, str]] = []

    async def beat(waited: float, most: float, text: str) -> None:
        beats.append((waited, text))
        assert most == 30
        if len(beats) == 3:
            await one.call("send_agent_message", to_agent_name="ann", text="at last")

    asked = FetchAgentMessages(agent_name="ann", wait_ms=30_000)
    with anyio.fail_after(PATIENCE_S):
        page = await fetch_agent_messages(within(one, None, beat), asked)
    assert len(page["messages"]) == 1
    waits = [waited for waited, _ in beats]
    assert waits == sorted(waits)
    assert beats[0][1] == "no message for ann yet"


async def test_a_fetch_that_is_cancelled_leaves_nobody_waiting(one: House) -> None:
    await one.begin(nickname="ann")
    mail = one.puppets.tasks.log.mail
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            asked: JsonObject = {"agent_name": "ann", "wait_ms": 30_000}
            group.start_soon(one.client.call_tool, "fetch_agent_messages", asked)
            while not mail.listening:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        while mail.listening:
            await anyio.lowlevel.checkpoint()
    await one.call("send_agent_message", to_agent_name="ann", text="hello")


async def test_who_waits_is_told_that_nothing_came_when_the_server_stops(one: House) -> None:
    # The wait began anew after every beat, so a gateway that was to end waited for it.
    await one.begin(nickname="ann")
    pages: list[MessagesPage] = []

    async def fetch() -> None:
        asked = FetchAgentMessages(agent_name="ann", wait_ms=30_000)
        pages.append(await fetch_agent_messages(within(one, None), asked))

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(fetch)
            while not one.puppets.tasks.log.mail.listening:
                await anyio.lowlevel.checkpoint()
            await one.puppets.tasks.stop()
    assert pages[0]["messages"] == []


# -- within a run ----------------------------------------------------------------------------------


@pytest.mark.promise("mail.sender")
async def test_an_agent_writes_and_reads_under_its_own_name(one: House) -> None:
    ann, _ = await one.begin(nickname="ann")
    bob, puppet = await one.begin(nickname="bob")
    await send_agent_message(within(one, ann), SendAgentMessage(to_agent_name="bob", text="hi"))
    page = await fetch_agent_messages(within(one, bob), FetchAgentMessages())
    assert page["agent_name"] == "bob"
    assert page["messages"][0]["from_agent_name"] == "ann"
    assert (await list_agents(within(one, bob), ListAgents())).get("you") == "bob"
    assert "you" not in await list_agents(within(one, None), ListAgents())
    # Its process may outlive the run that it was started for.
    await puppet.end(RunCompleted(final_response="done"))
    await one.ended(bob)
    said = SendAgentMessage(to_agent_name="ann", text="done")
    sent = await send_agent_message(within(one, bob), said)
    assert sent.get("from_agent_name") == "bob"


# -- sizes -----------------------------------------------------------------------------------------


async def test_a_list_of_agents_stays_within_its_bytes_and_goes_on(one: House) -> None:
    names = [f"agent-{n}-{'x' * 40}" for n in range(12)]
    for name in names:
        await one.begin(nickname=name)
    seen: list[str] = []
    cursor: JsonObject = {}
    while True:
        page = await one.call("list_agents", max_bytes=1500, **cursor)
        assert len(json.encode(page).encode()) <= 1500
        seen += [agent["agent_name"] for agent in page["agents"]]
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == names[::-1]
    assert len((await one.call("list_agents", limit=5))["agents"]) == 5


async def test_a_page_of_messages_stays_within_its_bytes_and_says_what_is_clipped(
    one: House,
) -> None:
    await one.begin(nickname="ann")
    for text in ("short", "x" * 60_000, "last"):
        await one.call(
            "send_agent_message", to_agent_name="ann", text=text, metadata={"k": "y" * 4000}
        )
    clipped: list[bool] = []
    after = 0
    while True:
        page = await one.call("fetch_agent_messages", agent_name="ann", after_seq=after)
        assert len(json.encode(page).encode()) <= 8192
        clipped += ["clipped" in message for message in page["messages"]]
        after = page["next_after_seq"]
        if not page["has_more"]:
            break
    assert (after, clipped) == (3, [False, True, False])
    whole = await one.call(
        "fetch_agent_messages", agent_name="ann", after_seq=1, limit=1, max_bytes=100_000
    )
    assert whole["messages"][0]["body"]["parts"][0]["text"] == "x" * 60_000
    assert whole["has_more"]


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("list_agents", {"status": "busy"}, "list_agents: status: Input should be 'idle'"),
        ("list_agents", {"limit": 0}, "limit"),
        ("list_agents", {"foo": 1}, "unknown argument 'foo'; known: cwd, backend, status"),
        ("list_agents", {"cursor": "x"}, "cursor is not one of ours"),
        ("send_agent_message", {"text": "x"}, "argument 'to_agent_name' is missing"),
        ("send_agent_message", {"to_agent_name": "ann"}, "Provide text or message, one of them"),
        (
            "send_agent_message",
            {"to_agent_name": "ann", "text": "x", "message": HELLO},
            "Provide text or message, one of them",
        ),
        ("send_agent_message", {"to_agent_name": "ann", "message": "hello"}, "message"),
        (
            "send_agent_message",
            {"to_agent_name": "ann", "message": {"parts": []}},
            "message.parts: List should have at least 1 item",
        ),
        (
            "send_agent_message",
            {"to_agent_name": "ann", "message": {"parts": [{"type": "text"}]}},
            "message: parts[0].text must be a non-empty string",
        ),
        ("send_agent_message", {"to_agent_name": "zoe", "text": "x"}, "Unknown agent_name: zoe"),
        (
            "send_agent_message",
            {"to_agent_name": "ann", "text": "x", "cwd": "/x"},
            "Unknown agent_name in cwd /x: ann; list_agents shows the names",
        ),
        (
            "send_agent_message",
            {"to_agent_name": "ann", "text": "x" * 70_000},
            "put what is long into a file of the folder",
        ),
        ("fetch_agent_messages", {}, "argument 'agent_name' is missing; list_agents shows"),
        ("fetch_agent_messages", {"agent_name": "ann", "limit": 1001}, "limit"),
        ("fetch_agent_messages", {"agent_name": "ann", "after_seq": -1}, "after_seq"),
        ("fetch_agent_messages", {"agent_name": "ann", "wait_ms": 30_001}, "wait_ms"),
        ("fetch_agent_messages", {"agent_name": "zoe"}, "Unknown agent_name: zoe"),
    ],
)
async def test_what_cannot_be_taken_is_refused_in_one_line(
    one: House, tool: str, arguments: JsonObject, said: str
) -> None:
    await one.begin(nickname="ann")
    assert said in await one.refused(tool, **arguments)
    assert (await one.call("fetch_agent_messages", agent_name="ann"))["messages"] == []


async def test_a_cursor_past_every_message_finds_none(one: House) -> None:
    await one.begin(nickname="ann")
    page = await one.call("fetch_agent_messages", agent_name="ann", after_seq=2**31 - 1)
    assert (page["messages"], page["next_after_seq"]) == ([], 2**31 - 1)


async def test_a_message_is_sent_once_under_its_key(one: House) -> None:
    await one.begin(nickname="ann")
    asked: JsonObject = {"to_agent_name": "ann", "text": "x", "request_key": "k"}
    assert await one.call("send_agent_message", **asked) == await one.call(
        "send_agent_message", **asked
    )
    refusal = await one.refused("send_agent_message", **{**asked, "text": "y"})
    assert "request_key 'k' was used for another request (message" in refusal
