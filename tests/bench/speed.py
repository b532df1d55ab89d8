"""How fast the servers are, side by side in one run: rounds in turn, so that a busy machine is
busy for all of them.

Measures; prints nothing.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import anyio

from gateway.core import json
from tests.bench.caller import (
    EXTENSION,
    Connection,
    RefusedError,
    Streamed,
    Target,
    completed,
    concurrent,
    sequential,
)

CALLERS: Final = 32
SENDS: Final = 150  # one after another, a round
TASKS: Final = 640  # at once, a round
EVENTS: Final = 5000
EARLY: Final = (50, 550)  # items between which an event's cost near the start is taken
LATE: Final = (4450, 4950)
START_S: Final = 30.0
_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Ready:
    """A server process that answers, and the line of JSON it said."""

    pid: int
    said: json.JsonObject


@asynccontextmanager
async def process(
    words: Sequence[str], environment: Mapping[str, str] | None = None
) -> AsyncGenerator[Ready]:
    """A server as a process of its own; ended by SIGTERM."""
    started = await asyncio.create_subprocess_exec(
        *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment
    )
    assert started.stdout is not None
    try:
        with anyio.fail_after(START_S):
            ready = json.decode_object(await started.stdout.readline())
        yield Ready(started.pid, ready)
    finally:
        if started.returncode is None:
            started.terminate()
        with anyio.CancelScope(shield=True), anyio.move_on_after(START_S):
            await started.wait()
        if started.returncode is None:
            started.kill()
            await started.wait()


@asynccontextmanager
async def serving(kind: str, database: str, profile: Path | None = None) -> AsyncGenerator[Target]:
    """An echo server."""
    words = [sys.executable, "-m", "tests.bench.echo", kind, database]
    if profile is not None:
        words += ["--profile", str(profile)]
    # The references are at their best without the SDK's tracing; ours never starts it.
    environment = {**os.environ, "OTEL_INSTRUMENTATION_A2A_SDK_ENABLED": "false"}
    async with process(words, environment) as ready:
        yield Target(ready.said["port"], ready.pid, ready.said["token"])


def cpu_s(pid: int) -> float:
    """Processor seconds that a process used, its threads' too."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def rss(pid: int) -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]) * _PAGE


@dataclass(slots=True)
class Figures:
    """One server's samples, a value a round (`sends`: a value a send)."""

    sends: list[float] = field(default_factory=list[float])
    cpu_per_send: list[float] = field(default_factory=list[float])
    tasks_per_s: list[float] = field(default_factory=list[float])
    cpu_per_task: list[float] = field(default_factory=list[float])
    events_per_s: list[float] = field(default_factory=list[float])
    cpu_per_event: list[float] = field(default_factory=list[float])
    early: list[float] = field(default_factory=list[float])
    late: list[float] = field(default_factory=list[float])
    extended: list[float] = field(default_factory=list[float])
    replayed: list[float] = field(default_factory=list[float])

    @property
    def send(self) -> float:
        return median(self.sends)

    @property
    def slow_send(self) -> float:
        """The 99th percentile."""
        return sorted(self.sends)[int(len(self.sends) * 0.99)]


async def _sequential(target: Target, figures: Figures) -> None:
    before = cpu_s(target.pid)
    figures.sends += await sequential(target, SENDS)
    figures.cpu_per_send.append((cpu_s(target.pid) - before) / SENDS)


async def _concurrent(target: Target, figures: Figures) -> None:
    before = cpu_s(target.pid)
    figures.tasks_per_s.append(await concurrent(target, CALLERS, TASKS))
    figures.cpu_per_task.append((cpu_s(target.pid) - before) / TASKS)


async def streamed(target: Target, request: bytes) -> Streamed:
    """A stream on a connection of its own."""
    connection = await target.connect()
    taken = await connection.stream(request)
    connection.close()
    if taken.items < EVENTS:
        raise RefusedError(f"{taken.items} items, the last: {taken.tail[-300:]!r}")
    return taken


async def _stream(target: Target, figures: Figures) -> None:
    before = cpu_s(target.pid)
    taken = await streamed(target, target.send(f"events {EVENTS}", stream=True))
    figures.events_per_s.append(EVENTS / (taken.over - taken.began))
    figures.cpu_per_event.append((cpu_s(target.pid) - before) / EVENTS)
    for span, kept in ((EARLY, figures.early), (LATE, figures.late)):
        kept.append((taken.at(span[1]) - taken.at(span[0])) / (span[1] - span[0]))


async def _replay(target: Target, figures: Figures) -> None:
    """With the extension: the same stream live, then again from its first event."""
    request = target.send(f"events {EVENTS}", EXTENSION, stream=True)
    taken = await streamed(target, request)
    figures.extended.append(EVENTS / (taken.over - taken.began))
    run_id = taken.tail.rpartition(b'"taskId":"')[2].partition(b'"')[0].decode()
    again = target.call("SubscribeToTask", {"id": run_id}, EXTENSION, b"Last-Event-ID: 0\r\n")
    taken = await streamed(target, again)
    figures.replayed.append(EVENTS / (taken.over - taken.began))


Measure = Callable[[Target, Figures], Awaitable[None]]
MEASURES: Final[Sequence[tuple[Measure, tuple[str, ...]]]] = (
    (_sequential, ("sdk", "floor", "ours")),
    (_concurrent, ("sdk", "floor", "ours")),
    (_stream, ("sdk", "ours")),
    (_replay, ("ours",)),
)


async def compared(rounds: int, databases: dict[str, str]) -> dict[str, Figures]:
    """The figures of every server; `databases` are ours: a name and what to keep the log in."""
    kinds = {"sdk": "sdk", "floor": "floor", **dict.fromkeys(databases, "ours")}
    figures = {name: Figures() for name in kinds}
    async with AsyncExitStack() as stack:
        targets = {
            name: await stack.enter_async_context(serving(kind, databases.get(name, "-")))
            for name, kind in kinds.items()
        }
        for target in targets.values():  # warm: imports, caches, first pages of the file
            await sequential(target, 30)
            await concurrent(target, CALLERS, CALLERS * 2)
        for turn in range(rounds):
            for measure, wanted in MEASURES:
                names = [name for name, kind in kinds.items() if kind in wanted]
                for name in names if turn % 2 == 0 else reversed(names):
                    await measure(targets[name], figures[name])
    return figures


# -- large and many ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Large:
    """Two large outputs: seconds to the end of the run, and the longest another caller waited;
    `without`: how long that caller waited at most in the same time when nothing else went on."""

    taken: float
    longest_wait: float
    without: float


async def large_outputs(target: Target, size: int) -> Large:
    """A blocking send of a run with two command outputs, beside a caller who asks for health."""
    busy, beside = await target.connect(), await target.connect()
    began = time.perf_counter()
    answer = busy.ask(target.send(f"output {size}"))
    longest = await _longest_wait(target, beside, answer.done)
    completed(answer.result())
    taken = time.perf_counter() - began
    until = time.perf_counter() + taken
    without = await _longest_wait(target, beside, lambda: time.perf_counter() > until)
    busy.close()
    beside.close()
    return Large(taken, longest, without)


async def _longest_wait(target: Target, caller: Connection, over: Callable[[], bool]) -> float:
    """Seconds that one health check took at most, of many in a row."""
    longest = 0.0
    while not over():
        asked = time.perf_counter()
        await caller.ask(target.get("/healthz"))
        longest = max(longest, time.perf_counter() - asked)
    return longest


async def idle_bytes(target: Target, count: int) -> float:
    """Bytes of the server for each of `count` subscribers of a run that says nothing."""
    connection = await target.connect()
    sent = json.decode_object(await connection.ask(target.send("hold", wait=False)))
    run = {"id": sent["result"]["task"]["id"]}
    request = target.call("SubscribeToTask", run)
    first = [await target.connect() for _ in range(50)]  # what is paid once is paid
    for one in first:
        await one.stream(request, first_only=True)
    before = rss(target.pid)
    others = [await target.connect() for _ in range(count)]
    for one in others:
        await one.stream(request, first_only=True)
    used = rss(target.pid) - before
    await connection.ask(target.call("CancelTask", run))
    for one in (connection, *first, *others):
        one.close()
    return used / count
