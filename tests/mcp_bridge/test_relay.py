"""The relay as a client starts it: a process between two pipes and a gateway on a real socket."""

import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client, StdioServerParameters
from pytest_httpserver import HTTPServer

from gateway.core import json
from gateway.core.events import AgentMessage, RunCompleted
from gateway.core.json import JsonObject
from gateway.core.tasks import Tasks
from mcp_bridge.runs import poll_events
from tests.core.puppet import Stage, stage
from tests.mcp_bridge.house import PATIENCE_S, Agents, House, http_server

TOKEN = "t" * 43
VERSION = "io.modelcontextprotocol/protocolVersion"


@asynccontextmanager
async def gateway(folder: Path) -> AsyncGenerator[tuple[Stage, Agents, list[str]]]:
    """A gateway behind a token, and the relay's arguments to reach it."""
    token = folder / "token"
    token.write_text(TOKEN, "utf-8")
    token.chmod(0o600)
    agents = Agents()
    async with stage(folder) as puppets, http_server(puppets, agents, TOKEN) as url:
        yield puppets, agents, ["--gateway", url, "--token-file", str(token)]


class Pipe:
    """The client's end of a relay, line by line."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._stdin = process.stdin
        self._stdout = BufferedByteReceiveStream(process.stdout)

    async def write(self, line: bytes) -> None:
        await self._stdin.send(line + b"\n")

    async def say(self, method: str, number: int | str | None = None, **params: Any) -> None:
        meta: JsonObject = {
            VERSION: "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        message: JsonObject = {
            "jsonrpc": "2.0",
            "method": method,
            "params": {"_meta": meta, **params},
        }
        if number is not None:
            message["id"] = number
        await self.write(json.encode(message).encode())

    async def read(self) -> JsonObject:
        with anyio.fail_after(PATIENCE_S):
            return json.decode_object(await self._stdout.receive_until(b"\n", 2**20))

    async def close(self) -> bytes:
        """Close our end; what else it wrote before it ended."""
        await self._stdin.aclose()
        rest = b""
        with anyio.fail_after(PATIENCE_S):
            try:
                while True:
                    rest += await self._stdout.receive()
            except anyio.EndOfStream:
                await self.process.wait()
        return rest


@dataclass
class Wait:
    begun: anyio.Event = field(default_factory=anyio.Event)
    over: anyio.Event = field(default_factory=anyio.Event)


def watched(tasks: Tasks) -> Wait:
    """Tells when the next wait for events begins and ends inside the gateway."""
    wait, any_moved = Wait(), tasks.any_moved

    async def watching(cursors: Mapping[str, int], wait_s: float) -> None:
        wait.begun.set()
        try:
            await any_moved(cursors, wait_s)
        finally:
            wait.over.set()

    tasks.any_moved = watching
    return wait


@asynccontextmanager
async def relay(arguments: Sequence[str], environment: dict[str, str]) -> AsyncGenerator[Pipe]:
    command = [sys.executable, "-m", "mcp_bridge.stdio", *arguments]
    async with await anyio.open_process(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield Pipe(process)
        finally:
            if process.returncode is None:
                process.kill()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_works_through_the_relay_in_both_eras(
    mode: str, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_events, "BEAT_S", 0.05)
    async with gateway(tmp_path) as (puppets, agents, arguments):
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-m", "mcp_bridge.stdio", *arguments],
            env=environment,
        )
        async with Client(parameters, mode=mode) as client:
            house = House(client, puppets, agents, tmp_path)
            assert len((await client.list_tools()).tools) == 7
            run_id, puppet = await house.begin()
            beats: list[str | None] = []
            pages: list[JsonObject] = []

            async def heard(progress: float, total: float | None, message: str | None) -> None:
                assert progress < (total or 0) == 20
                beats.append(message)
                if len(beats) == 2:
                    await puppet.end(
                        AgentMessage(text="grüezi"), RunCompleted(final_response="done")
                    )

            async def poll() -> None:
                result = await client.call_tool(
                    "poll_events",
                    {"run_id": run_id, "after_seq": 1},
                    progress_callback=heard,
                )
                pages.append(result.structured_content or {})

            with anyio.fail_after(PATIENCE_S):
                async with anyio.create_task_group() as group:
                    group.start_soon(poll)
                    # Beside a call that waits, others are answered.
                    assert (await house.call("get_run", run_id=run_id))["status"] == "running"
            assert pages[0]["events"][0]["data"]["text"] == "grüezi"
            assert beats[0] == "running: Run started"
            assert "no run" in await house.refused("get_run", run_id="nope")
            assert (await house.call("get_run", run_id=run_id))["status"] == "completed"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_cancelled_call_stops_waiting_in_the_gateway_too(
    mode: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    async with gateway(tmp_path) as (puppets, agents, arguments):
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-m", "mcp_bridge.stdio", *arguments],
            env=environment,
        )
        async with Client(parameters, mode=mode) as client:
            house = House(client, puppets, agents, tmp_path)
            run_id, _ = await house.begin()
            wait = watched(puppets.tasks)
            with anyio.fail_after(PATIENCE_S):
                async with anyio.create_task_group() as group:
                    call = {"run_id": run_id, "after_seq": 1, "wait_ms": 30_000}
                    group.start_soon(lambda: client.call_tool("poll_events", call))
                    await wait.begun.wait()
                    group.cancel_scope.cancel()
                await wait.over.wait()
            assert (await house.call("get_run", run_id=run_id))["status"] == "running"


async def test_lines_that_are_no_messages_are_answered_and_cost_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with gateway(tmp_path) as (_, _, arguments), relay(arguments, environment) as pipe:
        for line, code in (
            (b"hello", -32700),
            (b"[" * 100_000, -32700),
            (b"[]", -32600),
            (b'{"jsonrpc":"2.0"}', -32600),
            (b'{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}', -32600),
        ):
            await pipe.write(line)
            answer = await pipe.read()
            assert (answer["id"], answer["error"]["code"]) == (None, code)
        await pipe.write(b'{"jsonrpc":"2.0","id":1,"result":{}}')  # nobody asked
        await pipe.write(b"  ")
        await pipe.say("tools/list", "a")
        answer = await pipe.read()
        assert answer["id"] == "a"
        assert len(answer["result"]["tools"]) == 7
        assert await pipe.close() == b""


async def test_names_that_a_header_cannot_carry_are_still_refused_as_tools(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with gateway(tmp_path) as (_, _, arguments), relay(arguments, environment) as pipe:
        await pipe.say("tools/call", 1, name="größe\r\nX: 1", arguments={})
        answer = await pipe.read()
        assert (answer["id"], answer["error"]["code"]) == (1, -32602)
        assert answer["error"]["message"].startswith("no tool 'größe\\r\\nX: 1'; ")
        await pipe.say("no/such", 2)
        answer = await pipe.read()
        assert (answer["id"], answer["error"]["code"]) == (2, -32601)


async def test_a_message_that_is_too_large_is_refused_and_the_next_one_served(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with gateway(tmp_path) as (_, _, arguments), relay(arguments, environment) as pipe:
        await pipe.say("tools/call", 1, name="spawn_run", arguments={"prompt": "x" * 17_000_000})
        answer = await pipe.read()
        assert "HTTP 413" in answer["error"]["message"]
        assert (
            "at most 16777216 bytes; put what is longer into a file" in answer["error"]["message"]
        )
        await pipe.say("tools/list", 2)
        assert "result" in await pipe.read()


async def test_what_is_under_way_when_the_client_closes_its_end_is_answered(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with gateway(tmp_path) as (_, _, arguments), relay(arguments, environment) as pipe:
        for number in range(3):
            await pipe.say("tools/call", number, name="list_runs", arguments={})
        rest = (await pipe.close()).splitlines()
        assert sorted(json.decode_object(line)["id"] for line in rest) == [0, 1, 2]


async def test_a_client_that_vanishes_in_the_middle_of_a_poll_ends_the_relay_and_no_run(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with gateway(tmp_path) as (puppets, _, arguments):
        run, _ = await puppets.begin()
        wait = watched(puppets.tasks)
        async with relay(arguments, environment) as pipe:
            call = {"run_id": run.id, "after_seq": 1, "wait_ms": 30_000}
            await pipe.say("tools/call", 1, name="poll_events", arguments=call)
            with anyio.fail_after(PATIENCE_S):
                await wait.begun.wait()
            assert await pipe.close() == b""
            assert pipe.process.returncode == 0
        with anyio.fail_after(PATIENCE_S):
            await wait.over.wait()
        assert (await puppets.get(run)).status == "running"


async def test_a_gateway_that_refuses_or_is_not_there_is_an_error_of_that_call(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("w" * 43, "utf-8")
    wrong.chmod(0o600)
    async with gateway(tmp_path) as (_, _, arguments):
        url = arguments[1]
        async with relay(["--gateway", url, "--token-file", str(wrong)], environment) as pipe:
            await pipe.say("tools/list", 1)
            text = (await pipe.read())["error"]["message"]
            assert text.startswith("the gateway refused this (HTTP 401): send 'Authorization")
            assert "w" * 43 not in text
    async with relay(["--gateway", url], environment) as pipe:
        await pipe.say("tools/list", 2)
        answer = await pipe.read()
        assert (answer["id"], answer["error"]["code"]) == (2, -32000)
        assert answer["error"]["message"] == f"no gateway answers at {url}"
        await pipe.say("notifications/initialized")
        await pipe.say("tools/list", 3)
        assert (await pipe.read())["id"] == 3


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (503, '{"error": {"code": "bridge_missing", "message": "no bridge"}}', "503): no bridge"),
        (502, "<html>", "502): BAD GATEWAY"),
        (200, "[]", "200): OK"),
        (202, "", "went away"),
        # Its thread ended with the reader of JSON, and the client waited for ever.
        (200, '{"jsonrpc":"2.0","id":1,"result":' + "[" * 100_000, "the relay failed"),
    ],
)
async def test_what_is_no_message_of_mcp_is_told_as_an_error(
    environment: dict[str, str], httpserver: HTTPServer, status: int, body: str, says: str
) -> None:
    httpserver.expect_request("/mcp").respond_with_data(body, status=status)
    async with relay(["--gateway", httpserver.url_for("/")], environment) as pipe:
        await pipe.say("tools/list", 1)
        answer = await pipe.read()
        assert (answer["id"], answer["error"]["code"]) == (1, -32000)
        assert says in answer["error"]["message"]


async def test_the_handshake_era_is_spoken_as_the_handshake_settled_it(
    environment: dict[str, str], httpserver: HTTPServer
) -> None:
    settled = {"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": "2025-06-18"}}
    httpserver.expect_ordered_request("/mcp").respond_with_json(
        settled, headers={"Mcp-Session-Id": "s-1"}
    )
    httpserver.expect_ordered_request(
        "/mcp", headers={"MCP-Protocol-Version": "2025-06-18", "Mcp-Session-Id": "s-1"}
    ).respond_with_json({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "x"}})
    async with relay(["--gateway", httpserver.url_for("/")], environment) as pipe:
        await pipe.write(b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}')
        assert await pipe.read() == settled
        await pipe.write(b'{"jsonrpc":"2.0","id":7,"method":"tools/list"}')
        assert (await pipe.read())["id"] == 7
    httpserver.check_assertions()
