"""Nothing that a caller can send makes a tool fail: a result that fits, or a line that says why."""

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.types import Tool

from gateway.core.events import AgentMessage, CommandFinished, RunCompleted
from gateway.core.json import JsonObject
from gateway.core.messages import user_text
from mcp_bridge.catalog import TOOLSETS
from tests.mcp_bridge import hostile
from tests.mcp_bridge.house import House, house, text_of

TOOLS: dict[str, Tool] = {
    tool.name: tool.published() for tools in TOOLSETS.values() for tool in tools
}
INTERNAL = "failed inside the gateway"


@dataclass
class World:
    """A client, and runs of every kind that it may name. It lives beside the tests: hypothesis
    plays a test's cases one by one."""

    portal: BlockingPortal
    house: House
    runs: dict[str, str]
    others: str

    def reference(self) -> st.SearchStrategy[str]:
        return st.sampled_from([*self.runs.values(), self.others, "nope"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with start_blocking_portal() as portal:
        folder = tmp_path_factory.mktemp("bad")
        with portal.wrap_async_context_manager(_world(portal, folder)) as made:
            yield made


@asynccontextmanager
async def _world(portal: BlockingPortal, folder: Path) -> AsyncGenerator[World]:
    async with house(folder, "memory, 2026", toolsets=("agents",)) as made:
        ended, puppet = await made.begin()
        output = CommandFinished(command="c", output="ü\n" * 5000)
        await puppet.end(AgentMessage(text="hi"), output, RunCompleted(final_response="ok"))
        await made.ended(ended)
        waiting, puppet = await made.begin()
        await puppet.ask("q-1")
        running, _ = await made.begin()
        theirs = user_text("m", "theirs")
        other = await made.puppets.tasks.send(
            principal="somebody else", agent="codex", message=theirs
        )
        runs = {"ended": ended, "waiting": waiting, "running": running}
        yield World(portal, made, runs, other.run.id)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    yield
    loud = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [(record.message, record.exc_text) for record in loud] == []


def outcome(world: World, tool: str, arguments: JsonObject) -> str | None:
    """The refusal, after a look at it; None for a result that fits what is published."""
    result = world.portal.call(world.house.client.call_tool, tool, arguments)
    if not result.is_error:
        schema = TOOLS[tool].output_schema
        assert schema is not None
        jsonschema.validate(result.structured_content, schema)
        return None
    text = text_of(result)
    assert result.structured_content is None
    assert 0 < len(text) <= 600
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text), text
    assert INTERNAL not in text, (tool, arguments)
    assert "Traceback" not in text
    return text


def plain(world: World, tool: str) -> st.SearchStrategy[JsonObject]:
    """Arguments that the tool's published schema allows, with references that mean something."""
    schema = TOOLS[tool].input_schema
    known: JsonObject = schema["properties"]
    fields = {name: hostile.fitting(field) for name, field in known.items()}
    for name in ("run_id", "parent_run_id"):
        if name in fields:
            fields[name] = world.reference()
    for name in ("to_agent_name", "from_agent_name", "agent_name"):
        if name in fields:
            fields[name] = st.sampled_from(["agent1", "agent2", world.others, "nope"])
    if "wait_ms" in fields:
        fields["wait_ms"] = st.integers(0, 1)
    fields |= {name: st.just(str(world.house.folder)) for name in ("cwd",) if name in fields}
    needed = {*schema.get("required", ())} | {"run_id", "wait_ms", "prompt"} & fields.keys()
    return st.fixed_dictionaries(
        {name: field for name, field in fields.items() if name in needed},
        optional={name: field for name, field in fields.items() if name not in needed},
    )


FUZZ = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.promise("error.any")
@pytest.mark.parametrize("tool", TOOLS)
@FUZZ
@given(data=st.data())
def test_what_the_schema_allows_is_answered(world: World, tool: str, data: st.DataObject) -> None:
    outcome(world, tool, data.draw(plain(world, tool)))


@pytest.mark.promise("error.any")
@pytest.mark.parametrize("tool", TOOLS)
@FUZZ
@given(data=st.data())
def test_one_thing_wrong_is_answered_or_refused_in_a_line(
    world: World, tool: str, data: st.DataObject
) -> None:
    name, arguments = data.draw(
        plain(world, tool).flatmap(lambda given: hostile.spoiled(TOOLS[tool].input_schema, given))
    )
    if arguments.get("wait_ms") not in (0, 1) and tool != "fetch_agent_messages":
        arguments["run_id"] = world.runs["ended"]  # it answers at once
    said = outcome(world, tool, arguments)
    if said is not None and said.startswith(f"{tool}: "):
        about = {
            name,
            *arguments,
            *TOOLS[tool].input_schema.get("required", ()),
            "Provide",
            "missing",
        }
        assert any(one[:30] in said for one in about), (name, arguments, said)


@pytest.mark.promise("error.any")
@pytest.mark.parametrize("tool", TOOLS)
@FUZZ
@given(data=st.data())
def test_nothing_but_nonsense_is_refused_in_a_line(
    world: World, tool: str, data: st.DataObject
) -> None:
    known: JsonObject = TOOLS[tool].input_schema["properties"]
    names = st.sampled_from([*known, "foo", "__proto__"])
    arguments = data.draw(st.dictionaries(names, hostile.values, max_size=len(known)))
    arguments["foo"] = 1  # no poll of it waits
    assert outcome(world, tool, arguments) is not None


@pytest.mark.promise("reference.own")
@pytest.mark.parametrize(
    "tool", [name for name, tool in TOOLS.items() if "run_id" in tool.input_schema["properties"]]
)
def test_a_run_of_somebody_else_is_no_run(world: World, tool: str) -> None:
    more: JsonObject = {
        "poll_events": {"after_seq": 0},
        "continue_run": {"text": "mine now"},
        "get_event_artifact": {"seq": 1, "field_path": "/x"},
    }.get(tool, {})
    said = outcome(world, tool, {"run_id": world.others, **more})
    unknown = outcome(world, tool, {"run_id": "nobody's", **more})
    assert said is not None
    assert unknown is not None
    assert said.replace(world.others, "nobody's") == unknown.replace('"', "'")
    assert f"no run {world.others!r} here" in said
