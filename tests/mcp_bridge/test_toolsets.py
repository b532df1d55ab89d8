"""Which tools a client is offered: the seven, and what it asks for beside them."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import INVALID_PARAMS

from gateway.core.json import JsonObject
from mcp_bridge import stdio
from mcp_bridge.catalog import TOOLS, TOOLSETS, offered
from mcp_bridge.errors import RefusedError
from mcp_bridge.face.options import Options, read_options
from tests.core.puppet import stage
from tests.mcp_bridge.house import WAYS, Agents, House, Way, house, http_server
from tests.mcp_bridge.test_relay import gateway, relay

SEVEN = [tool.name for tool in TOOLS]
EXTRA = [tool.name for tool in TOOLSETS["agents"]]
LISTING: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ACCEPT = {"Accept": "application/json, text/event-stream"}


def test_without_a_word_the_seven_are_offered() -> None:
    assert offered() == TOOLS
    assert read_options("") == Options(toolsets=(), elicit=False)


def test_a_toolset_comes_behind_the_seven_however_often_it_is_named() -> None:
    for query in ("toolsets=agents", "toolsets=agents,runs,agents", "toolsets=agents&toolsets=,"):
        named = read_options(query)
        assert [tool.name for tool in offered(named.toolsets)] == SEVEN + EXTRA, query


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("toolsets=agent", "no toolset 'agent'; the toolsets are runs, agents"),
        ("toolsets=agents,%00", "no toolset '\\x00'; the toolsets are runs, agents"),
        ("elicit=maybe", "elicit is true or false, not 'maybe'"),
        ("toolset=agents", "/mcp has no option 'toolset'; it has toolsets and elicit"),
    ],
)
def test_what_nobody_knows_is_named(query: str, said: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read_options(query)
    assert str(refused.value) == said


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.promise("toolsets.asked")
async def test_a_client_gets_the_tools_it_asks_for(way: Way, tmp_path: Path) -> None:
    async with house(tmp_path, way, toolsets=("agents",)) as caller:
        listed = (await caller.client.list_tools()).tools
        assert [tool.name for tool in listed] == SEVEN + EXTRA
        assert "runs" in await caller.call("list_runs")


async def test_a_tool_that_was_not_asked_for_says_where_it_is(caller: House) -> None:
    for name in EXTRA:
        with pytest.raises(MCPError) as refused:
            await caller.client.call_tool(name, {})
        said = str(refused.value)
        assert said.endswith("It is of the toolset agents: connect to /mcp?toolsets=agents"), said


async def test_an_unknown_toolset_is_refused_with_the_first_request(tmp_path: Path) -> None:
    async with stage(tmp_path) as puppets, http_server(puppets, Agents()) as url:
        eras: tuple[dict[str, str], ...] = ({}, {"MCP-Protocol-Version": "2026-07-28"})
        async with httpx.AsyncClient(headers=ACCEPT) as http:
            for era in eras:
                answer = await http.post(f"{url}/mcp?toolsets=x", json=LISTING, headers=era)
                assert answer.status_code == 400
                error = answer.json()["error"]
                assert error["code"] == INVALID_PARAMS
                assert error["message"] == "no toolset 'x'; the toolsets are runs, agents"


def _config(*flags: str) -> list[str]:
    made = subprocess.run(
        [sys.executable, "-m", "mcp_bridge.stdio", *flags, "config", "claude"],
        capture_output=True, text=True, encoding="utf-8", check=True, timeout=20,
    )  # fmt: skip
    return json.loads(made.stdout)["mcpServers"]["a2a-gateway"]["args"]


def test_the_configuration_carries_the_flags() -> None:
    assert _config() == []
    assert _config("--toolsets", "agents", "--elicit") == ["--toolsets", "agents", "--elicit"]


def test_a_gateway_url_with_a_query_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        stdio.main(["--gateway", "http://127.0.0.1:1/mcp?toolsets=agents"])
    assert "use --toolsets and --elicit" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:1",
        "http://127.0.0.1:65536",
        "http://127.0.0.1:x",
        "http://127.0.0.1:0",
        "http://[::1",
        "http://127.0.0.1:1/a b",
        "http://127.0.0.1:1/\u4e2d",
    ],
)
def test_what_no_request_can_be_sent_to_is_refused(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # A port that is none was found at the first call, which ended its thread and had no answer.
    with pytest.raises(SystemExit):
        stdio.main(["--gateway", url])
    assert "is no http(s) URL" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_relay_asks_for_what_its_flags_say(
    mode: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    async with gateway(tmp_path) as (_, __, arguments):
        client = _through(environment, *arguments, "--toolsets", "agents", "--elicit")
        async with Client(client, mode=mode) as asked:
            assert [tool.name for tool in (await asked.list_tools()).tools] == SEVEN + EXTRA
        async with relay([*arguments, "--toolsets", "agent"], environment) as pipe:
            await pipe.say("server/discover", 1)
            error = (await pipe.read())["error"]
            assert error["message"] == "no toolset 'agent'; the toolsets are runs, agents"


def _through(environment: dict[str, str], *arguments: str) -> StdioServerParameters:
    command = ["-m", "mcp_bridge.stdio", *arguments]
    return StdioServerParameters(command=sys.executable, args=command, env=environment)
