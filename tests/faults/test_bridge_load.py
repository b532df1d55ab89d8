"""Ten thousand polls and messages of five megabytes: the gateway and the relay stay as they were.

Short forms by default; `--rounds 34` polls ten thousand times.
"""

import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from gateway.core import json
from gateway.core.json import JsonObject
from tests.gateway.process import START_S, Gateway, started
from tests.mcp_bridge.test_relay import relay

POLLS: Final = 300  # a round
CLIENTS: Final = 64
GROWN_MB: Final = 24  # what caches and an allocator's leftovers may take
FIVE_MB: Final = 5_000_000


@pytest.fixture
async def gateway(environment: dict[str, str]) -> AsyncGenerator[Gateway]:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    async with started(environment) as running:
        yield running
        assert await running.stop() == 0


async def _spawn(gateway: Gateway, folder: Path, prompt: str) -> str:
    about = {"backend": "remote_a2a", "role": "worker", "session_mode": "new"}
    config = {"agent": "scripted"}
    spawned = await gateway.ask(
        "spawn_run", prompt=prompt, cwd=str(folder), backend_config=config, **about
    )
    assert "run_id" in spawned, spawned
    return spawned["run_id"]


async def _until(gateway: Gateway, run_id: str, *wanted: str) -> JsonObject:
    """The run at one of these statuses."""
    after, status = 0, ""
    with anyio.fail_after(2 * START_S):
        while status not in wanted:
            page = await gateway.ask("poll_events", run_id=run_id, after_seq=after)
            after, status = page["next_after_seq"], page["status"]
    return await gateway.ask("get_run", run_id=run_id)


def memory_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def figures(pid: int) -> tuple[float, int, int]:
    """Memory in MB, open files, threads."""
    proc = Path(f"/proc/{pid}")
    return memory_mb(pid), len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir()))


def _no_more_than(
    before: tuple[float, int, int], after: tuple[float, int, int], files: int
) -> None:
    assert after[0] - before[0] < GROWN_MB, (before, after)
    assert after[1] - before[1] <= files, (before, after)
    assert after[2] - before[2] <= 8, (before, after)  # workers that stay


async def test_ten_thousand_polls_leave_nothing_behind(
    gateway: Gateway, tmp_path: Path, rounds: int
) -> None:
    ended = await _spawn(gateway, tmp_path, "say hi")
    await _until(gateway, ended, "completed")
    waiting = await _spawn(gateway, tmp_path, "ask Which one?")
    await _until(gateway, waiting, "input_required")
    working = await _spawn(gateway, tmp_path, "listen")
    await _until(gateway, working, "running")
    polls: list[dict[str, Any]] = [
        {"run_id": ended, "after_seq": 0},
        {"run_id": ended, "after_seq": 10_000},
        {"run_id": waiting, "after_seq": 1000},
        {"run_id": working, "after_seq": 1000, "wait_ms": 5},
        {"run_id": "nobody's", "after_seq": 0},
    ]

    async def poll(count: int) -> None:
        for number in range(count):
            page = await gateway.ask("poll_events", **polls[number % len(polls)])
            assert ("refused" in page) == (number % len(polls) == 4), page

    async def of_all(count: int) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(CLIENTS):
                group.start_soon(poll, count // CLIENTS)

    pid = gateway.process.pid
    await of_all(2 * POLLS)
    before = figures(pid)
    began = time.perf_counter()
    await poll(POLLS * rounds // 3)
    await of_all(POLLS * rounds * 2 // 3)
    took = time.perf_counter() - began
    after = figures(pid)
    sys.stdout.write(f"\n{POLLS * rounds} polls in {took:.1f} s: {before} -> {after}\n")
    _no_more_than(before, after, files=8)


async def test_polls_through_a_relay_leave_nothing_behind(
    gateway: Gateway, environment: dict[str, str], tmp_path: Path, rounds: int
) -> None:
    ended = await _spawn(gateway, tmp_path, "say hi")
    await _until(gateway, ended, "completed")
    async with relay([], environment) as pipe:

        async def poll(count: int) -> None:
            for number in range(count):
                about = {"run_id": ended, "after_seq": 0}
                await pipe.say("tools/call", number, name="poll_events", arguments=about)
                assert (await pipe.read())["id"] == number

        await poll(50)
        before = figures(pipe.process.pid)
        await poll(POLLS * rounds // 3)
        after = figures(pipe.process.pid)
    sys.stdout.write(f"\n{POLLS * rounds // 3} polls, relay: {before} -> {after}\n")
    _no_more_than(before, after, files=2)


@pytest.mark.promise("spawn.large")
async def test_prompts_of_five_megabytes_work_beside_others(
    gateway: Gateway, tmp_path: Path, rounds: int
) -> None:
    small = await _spawn(gateway, tmp_path, "say warm")
    await _until(gateway, small, "completed")
    pid, slowest = gateway.process.pid, 0.0
    before = memory_mb(pid)
    text = "reason " + "def café(): return 'x'\\n".replace("\\n", " ") * (FIVE_MB // 24)
    prompt = (
        text[: FIVE_MB // 2] + "x" * (FIVE_MB - len(text[: FIVE_MB // 2].encode())) + "\nsay ok"
    )
    count = min(20, 2 * rounds)

    async def one() -> None:
        run_id = await _spawn(gateway, tmp_path, prompt)
        run = await _until(gateway, run_id, "completed", "failed")
        assert (run["status"], run["result"]["final_response"]) == ("completed", "ok"), run

    async def others(over: anyio.Event) -> None:
        nonlocal slowest
        while not over.is_set():
            began = time.perf_counter()
            await gateway.ask("get_run", run_id=small)
            slowest = max(slowest, time.perf_counter() - began)

    over, took = anyio.Event(), 0.0
    async with anyio.create_task_group() as group:
        group.start_soon(others, over)
        began = time.perf_counter()
        async with anyio.create_task_group() as large:
            for _ in range(count):
                large.start_soon(one)
        took = time.perf_counter() - began
        over.set()
    began = time.perf_counter()
    listed = await gateway.ask("list_runs")
    list_s = time.perf_counter() - began
    assert len(listed["runs"]) >= min(count, 10)
    assert len(json.encode(listed)) <= 8192
    sys.stdout.write(
        f"\n{count} runs of 5 MB in {took:.1f} s; slowest get_run beside them {slowest * 1000:.0f} ms;"
        f" list_runs {list_s * 1000:.0f} ms; gateway {before:.0f} -> {memory_mb(pid):.0f} MB\n"
    )
    # Each is held as text, as JSON and as what is on its way, some times over; none stays.
    assert memory_mb(pid) - before < 1024
