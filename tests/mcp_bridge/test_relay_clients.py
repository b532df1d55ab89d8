"""The relay under clients that ask for much at once, read late, are ended, or meet a new token."""

import json
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.dispatcher import ProgressFnT

from gateway.core.events import RunCompleted
from gateway.core.json import JsonObject
from mcp_bridge.runs import poll_events
from tests.core.puppet import Puppet, stage
from tests.mcp_bridge.house import PATIENCE_S, Agents, House, http_server
from tests.mcp_bridge.test_relay import TOKEN, gateway, relay, watched

CALLS = 40
WAITS = 5


@pytest.mark.promise("poll.progress")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_each_of_many_waiting_polls_gets_its_own_progress_in_order(
    mode: str, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_events, "BEAT_S", 0.15)  # the wire has tenths
    async with gateway(tmp_path) as (puppets, agents, arguments):
        parameters = StdioServerParameters(
            command=sys.executable, args=["-m", "mcp_bridge.stdio", *arguments], env=environment
        )
        async with Client(parameters, mode=mode) as client:
            house = House(client, puppets, agents, tmp_path)
            beats: dict[int, list[float]] = {seconds: [] for seconds in range(20, 20 + WAITS)}
            pages: dict[str, JsonObject] = {}

            def heard_by(seconds: int, puppet: Puppet) -> ProgressFnT:
                async def heard(progress: float, total: float | None, message: str | None) -> None:
                    assert (total, message) == (seconds, "running: Run started")
                    beats[seconds].append(progress)
                    if len(beats[seconds]) == 3:
                        await puppet.end(RunCompleted(final_response=str(seconds)))

                return heard

            async def wait(seconds: int) -> None:
                run_id, puppet = await house.begin()
                asked = {"run_id": run_id, "after_seq": 1, "wait_ms": seconds * 1000}
                answer = await client.call_tool(
                    "poll_events", asked, progress_callback=heard_by(seconds, puppet)
                )
                pages[run_id] = answer.structured_content or {}

            with anyio.fail_after(PATIENCE_S):
                async with anyio.create_task_group() as group:
                    for seconds in beats:
                        group.start_soon(wait, seconds)
            for values in beats.values():
                assert len(values) >= 3
                assert values == sorted(set(values))
            assert [page["run_id"] for page in pages.values()] == list(pages)


async def test_a_client_that_reads_late_gets_every_answer_whole(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with gateway(tmp_path) as (_, _, arguments), relay(arguments, environment) as pipe:
        with anyio.fail_after(PATIENCE_S):
            for number in range(CALLS):  # 0.5 MB of answers: many times what a pipe holds
                await pipe.say("tools/list", number)
        answers = [await pipe.read() for _ in range(CALLS)]
        assert sorted(answer["id"] for answer in answers) == list(range(CALLS))
        assert {len(answer["result"]["tools"]) for answer in answers} == {7}
        assert await pipe.close() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_relay_at_once_and_no_run(
    tmp_path: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    async with gateway(tmp_path) as (puppets, _, arguments):
        run, _ = await puppets.begin()
        wait = watched(puppets.tasks)
        async with relay(arguments, environment) as pipe:
            call = {"run_id": run.id, "after_seq": 1, "wait_ms": 30_000}
            await pipe.say("tools/call", 1, name="poll_events", arguments=call)
            with anyio.fail_after(PATIENCE_S):
                await wait.begun.wait()
                pipe.process.send_signal(number)
                await pipe.process.wait()
                assert pipe.process.stderr is not None
                with pytest.raises(anyio.EndOfStream):  # not a word, and no traceback
                    await pipe.process.stderr.receive()
                await wait.over.wait()
        assert (await puppets.get(run)).status == "running"


@pytest.mark.promise("relay.token")
async def test_a_new_token_or_port_of_the_gateway_is_found_by_the_next_call(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home = Path(environment["A2A_GATEWAY_HOME"])

    def write(url: str, token: str) -> None:
        (home / "token").write_text(token, "utf-8")
        (home / "token").chmod(0o600)
        told = {"url": url, "pid": os.getpid(), "token_file": str(home / "token")}
        (home / "gateway.json").write_text(json.dumps(told), "utf-8")
        (home / "gateway.json").chmod(0o600)

    async with stage(tmp_path) as puppets, relay([], environment) as pipe:
        async with http_server(puppets, Agents(), TOKEN) as url:
            write(url, TOKEN)
            await pipe.say("tools/list", 1)
            assert "result" in await pipe.read()
        rotated = TOKEN[::-1].upper()
        async with http_server(puppets, Agents(), rotated) as url:
            write(url, TOKEN)  # the new port, and still the old token
            await pipe.say("tools/list", 2)
            assert "HTTP 401" in (await pipe.read())["error"]["message"]
            write(url, rotated)
            await pipe.say("tools/list", 3)
            assert "result" in await pipe.read()
