"""Clients that vanish, babble or do not read: the relay and the gateway stay small and serve others."""

import socket
import struct
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx
import pytest

from gateway.core import json
from gateway.core.events import RunCompleted
from gateway.core.json import JsonObject
from mcp_bridge.relaying.lines import LINE_MAX
from mcp_bridge.relaying.relay import CALLS_MAX
from tests.core.puppet import ME, Stage
from tests.mcp_bridge.house import PATIENCE_S
from tests.mcp_bridge.test_relay import TOKEN, Pipe, gateway, relay, watched

HEADERS = {
    "Authorization": f"Bearer {TOKEN}",
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
}


def _poll(run_id: str, wait_ms: int = 30_000) -> JsonObject:
    return {"run_id": run_id, "after_seq": 1, "wait_ms": wait_ms}


async def _others_are_served(puppets: Stage, arguments: list[str], run_id: str) -> None:
    """By the gateway itself, and the run goes on to its end."""
    body: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    body["params"] = {"name": "get_run", "arguments": {"run_id": run_id}}
    async with httpx.AsyncClient(base_url=arguments[1], headers=HEADERS) as http:
        answer = await http.post("/mcp", json=body)
    assert '\\"status\\":\\"running\\"' in answer.text
    puppet = puppets.puppets[run_id]
    await puppet.end(RunCompleted(final_response="done"))
    with anyio.fail_after(PATIENCE_S):
        assert (await puppets.tasks.settled(ME, run_id)).status == "completed"


def figure(pid: int, name: str) -> int:
    """Of /proc/PID/status: `Threads`, or `VmHWM` in KB."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line for line in text.splitlines() if line.startswith(name)).split()[1])


@pytest.mark.promise("client.gone")
async def test_a_relay_that_is_killed_while_it_polls_ends_its_wait_and_nothing_else(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with gateway(tmp_path) as (puppets, _, arguments):
        run, _ = await puppets.begin()
        wait = watched(puppets.tasks)
        async with relay(arguments, environment) as pipe:
            await pipe.say("tools/call", 1, name="poll_events", arguments=_poll(run.id))
            with anyio.fail_after(PATIENCE_S):
                await wait.begun.wait()
                pipe.process.kill()
                await wait.over.wait()
        await _others_are_served(puppets, arguments, run.id)


@pytest.mark.promise("client.gone")
async def test_a_connection_that_is_reset_while_it_polls_ends_its_wait_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as (puppets, _, arguments):
        run, _ = await puppets.begin()
        wait = watched(puppets.tasks)
        call: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        call["params"] = {"name": "poll_events", "arguments": _poll(run.id)}
        body = json.encode(call).encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        request = (
            f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {len(body)}\r\n\r\n"
        )
        port = urlsplit(arguments[1]).port or 0
        with socket.create_connection(("127.0.0.1", port)) as wire:
            await anyio.to_thread.run_sync(wire.sendall, request.encode() + body)
            with anyio.fail_after(PATIENCE_S):
                await wait.begun.wait()
            # Closed so, it sends a reset and no farewell.
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with anyio.fail_after(PATIENCE_S):
            await wait.over.wait()
        await _others_are_served(puppets, arguments, run.id)


@pytest.mark.promise("client.noise")
async def test_garbage_on_the_pipe_is_answered_line_by_line(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    garbage = [
        b"\x00\xff\xfe",
        b"{",
        b"[" * 5000,
        b'{"a":' * 5000,
        b"null",
        b"7",
        b'"text"',
        b"[]",
        b"{}",
        b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":[1],"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":true,"method":5}',
        b"\xef\xbb\xbf{}",
    ]
    # An id that is a list is no key: what named one ended the relay with a traceback.
    silent = [
        b"",
        b"   ",
        b'{"result":1}',
        b'{"jsonrpc":"2.0","id":[1],"result":{}}',
        b'{"jsonrpc":"2.0","method":"no/such"}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled"}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[1]}}',
    ]
    async with (
        gateway(tmp_path) as (_, _, arguments),
        relay([*arguments, "--elicit"], environment) as pipe,
    ):
        for line in garbage:
            await pipe.write(line)
            assert "error" in await pipe.read(), line
        for line in silent:
            await pipe.write(line)
        await pipe.say("tools/list", 2)
        answer = await pipe.read()
        assert (answer["id"], "result" in answer) == (2, True)


@pytest.mark.promise("client.noise")
async def test_a_line_without_end_is_thrown_away_and_its_call_told(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with gateway(tmp_path) as (_, _, arguments), relay(arguments, environment) as pipe:
        await _send_overlong(
            pipe, b'{"jsonrpc":"2.0","id":"big","method":"tools/call","x":"', b'"}'
        )
        await _send_overlong(pipe, b'{"method":"tools/call","x":"', b'","id": 8,"jsonrpc":"2.0"}')
        for expected in ("big", 8):
            answer = await pipe.read()
            assert answer["id"] == expected
            assert "put what is longer into a file" in answer["error"]["message"]
        await pipe.say("tools/list", 2)
        assert "result" in await pipe.read()
        assert figure(pipe.process.pid, "VmHWM") < 4 * LINE_MAX // 1024


async def _send_overlong(pipe: Pipe, head: bytes, tail: bytes) -> None:
    with anyio.fail_after(3 * PATIENCE_S):
        await pipe.write(head + b"x" * (LINE_MAX + 1000) + tail)


@pytest.mark.promise("client.noise")
async def test_a_client_that_asks_and_does_not_read_is_not_read_on_for_ever(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    calls = 2 * CALLS_MAX
    async with gateway(tmp_path) as (puppets, _, arguments):
        run, _ = await puppets.begin()
        async with relay(arguments, environment) as pipe:
            most, answered = 0, set[int]()
            async with anyio.create_task_group() as group:

                async def ask() -> None:
                    for number in range(calls):
                        await pipe.say("tools/list", number)

                group.start_soon(ask)
                await _others_are_served(puppets, arguments, run.id)
                most = figure(pipe.process.pid, "Threads")
                answered = {(await pipe.read())["id"] for _ in range(calls)}
            assert answered == set(range(calls))
            assert most <= CALLS_MAX + 10
