"""Runs through the MCP bridge, from a client's side, beside the same without it.

Measures; prints nothing. Real processes: relays, the gateway, the scripted agent behind its
wrapper, and this one as their caller.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from gateway.core.json import JsonObject
from gateway.home import Home
from tests.bench.caller import RefusedError, Target, completed, concurrent
from tests.bench.passing import Agent, agents, gateway
from tests.bench.speed import cpu_s
from tests.bench.toolcalls import ERAS, Caller, Era, Pipe, call, pipe, run, wire
from tests.demo.stage import plain_environment

EVENTS: Final = 15
# The agent says it has begun and that it is done, and this many words in between.
PROMPT: Final = f"stream {EVENTS - 2} 0 status"
WAITED: Final = "sleep 0.2\nsay now"  # long enough for a poll to wait
MANY: Final = 64  # callers
RUNS: Final = 20  # of one caller, a round
CROWD: Final = 256  # runs of many callers, a round
WAITS: Final = 4  # a round
CALLS: Final = 400
NAMES: Final = ("stdio, 2025", "http, 2025", "stdio, 2026", "http, 2026")


@dataclass(slots=True)
class Way:
    """Seconds of each run of one way to the agent; `per_s`: runs a second, of one caller."""

    spawned: list[float] = field(default_factory=list[float])
    terminal: list[float] = field(default_factory=list[float])
    polled: list[float] = field(default_factory=list[float])
    first: list[float] = field(default_factory=list[float])
    per_s: list[float] = field(default_factory=list[float])
    many_per_s: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])  # of the gateway, a run
    relay_cpu: list[float] = field(default_factory=list[float])
    events: set[int] = field(default_factory=set[int])
    failed: int = 0


@dataclass(slots=True)
class Figures:
    """Samples in seconds, by what was done, and the ways to run something; `sizes` in bytes."""

    taken: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    ways: dict[str, Way] = field(default_factory=dict[str, Way])
    sizes: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def add(self, name: str, seconds: float) -> None:
        self.taken.setdefault(name, []).append(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A gateway with the scripted agent behind it. `a2a`: the agent through the gateway."""

    agent: Agent
    a2a: Target
    environment: Mapping[str, str]
    folder: Path
    asked: JsonObject


@asynccontextmanager
async def house(folder: Path) -> AsyncGenerator[House]:
    async with agents(folder, ["wrapper"]) as known, gateway(folder, known) as behind:
        home = {"A2A_GATEWAY_HOME": str(Home(folder / "home").path)}
        asked: JsonObject = {
            "backend": "remote_a2a",
            "backend_config": {"agent": "wrapper"},
            "role": "worker",
            "prompt": PROMPT,
            "cwd": str(folder / "wrapper" / "project"),
            "session_mode": "new",
        }
        yield House(
            agent=known["wrapper"],
            a2a=behind["wrapper"],
            environment=plain_environment(folder) | home,
            folder=folder,
            asked=asked,
        )


async def runs(folder: Path, rounds: int) -> Figures:
    """Runs of EVENTS events by every way, one after another and many at once, in turn."""
    figures = Figures(ways={name: Way() for name in (*NAMES, "A2A")})
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(house(folder))
        relays = {
            f"stdio, {era}": await stack.enter_async_context(
                pipe(there.environment, there.folder, era)
            )
            for era in ERAS
        }
        await _warm(there)
        for turn in range(rounds):
            for name in NAMES if turn % 2 == 0 else reversed(NAMES):
                async with _caller(there, name, relays) as caller:
                    await _alone(there, caller, figures.ways[name])
                    await _first(there, caller, figures.ways[name])
            await _plain(there, figures.ways["A2A"])
            for era in ERAS:
                await _together(there, figures.ways[f"http, {era}"], era)
        for _ in range(rounds):
            await _relays(there, figures.ways["stdio, 2025"])
        for name in NAMES:
            async with _caller(there, name, relays) as caller:
                await _calls(figures, name, caller, there.a2a)
    return figures


@asynccontextmanager
async def _caller(there: House, name: str, relays: Mapping[str, Pipe]) -> AsyncGenerator[Caller]:
    """A relay stays; a connection that is idle for seconds is closed by the gateway."""
    if name in relays:
        yield relays[name]
        return
    caller = await wire(there.a2a, "2026" if name.endswith("2026") else "2025")
    yield caller
    caller.close()


async def _warm(there: House) -> None:
    for era in ERAS:
        caller = await wire(there.a2a, era)
        for _ in range(RUNS):
            await run(caller, there.asked)
        caller.close()
    await concurrent(there.a2a, MANY, MANY, PROMPT)


def _relay_of(caller: Caller) -> int | None:
    return caller.process.pid if isinstance(caller, Pipe) else None


async def _alone(there: House, caller: Caller, way: Way) -> None:
    """One run after another: first each with its last poll, then as many as there is time for."""
    for _ in range(RUNS):
        taken = await run(caller, there.asked)
        way.spawned.append(taken.spawned)
        way.terminal.append(taken.terminal)
        way.polled.append(taken.polled)
        way.events.add(taken.events)
    relay = _relay_of(caller)
    spent = cpu_s(there.a2a.pid), cpu_s(relay) if relay is not None else 0.0
    began = time.perf_counter()
    for _ in range(RUNS * 2):
        await run(caller, there.asked, again=False)
    way.per_s.append(RUNS * 2 / (time.perf_counter() - began))
    way.cpu.append((cpu_s(there.a2a.pid) - spent[0]) / (RUNS * 2))
    if relay is not None:
        way.relay_cpu.append((cpu_s(relay) - spent[1]) / (RUNS * 2))


async def _first(there: House, caller: Caller, way: Way) -> None:
    """From the time an event bears, which it gets before it is written down, to the end of the poll
    that waited for it; the same clock on both sides."""
    for _ in range(WAITS):
        await _waited(there, caller, way)


async def _waited(there: House, caller: Caller, way: Way) -> None:
    spawned = await call(caller, "spawn_run", **(there.asked | {"prompt": WAITED}))
    after = 0
    while True:
        page = await call(caller, "poll_events", run_id=spawned["run_id"], after_seq=after)
        now = time.time()
        for event in page["events"][:1]:
            if event["type"] == "agent_message":
                way.first.append(now - _moment(event))
        after = page["next_after_seq"]
        if page["status"] == "completed" and not page["has_more"]:
            return


def _moment(event: JsonObject) -> float:
    return datetime.fromisoformat(event["ts"]).timestamp()


async def _plain(there: House, way: Way) -> None:
    """The same runs by a blocking SendMessage, through the gateway."""
    connection = await there.a2a.connect()
    request = there.a2a.send(PROMPT)
    spent, began = cpu_s(there.a2a.pid), time.perf_counter()
    for _ in range(RUNS):
        at = time.perf_counter()
        completed(await connection.ask(request))
        way.terminal.append(time.perf_counter() - at)
    way.per_s.append(RUNS / (time.perf_counter() - began))
    way.cpu.append((cpu_s(there.a2a.pid) - spent) / RUNS)
    connection.close()
    way.many_per_s.append(await concurrent(there.a2a, MANY, CROWD, PROMPT))


async def _together(there: House, way: Way, era: Era) -> None:
    callers: list[Caller] = [await wire(there.a2a, era) for _ in range(MANY)]
    await _crowd(there, callers, way)
    for caller in callers:
        caller.close()


async def _relays(there: House, way: Way) -> None:
    """MANY relays: as many processes as there are clients."""
    async with AsyncExitStack() as stack:
        callers: list[Caller] = []
        for _ in range(MANY):
            callers.append(  # noqa: PERF401 - each before the next
                await stack.enter_async_context(pipe(there.environment, there.folder))
            )
        await _crowd(there, callers, way)


async def _crowd(there: House, callers: Sequence[Caller], way: Way) -> None:
    left = iter(range(CROWD))

    async def work(caller: Caller) -> None:
        for _ in left:
            try:
                await run(caller, there.asked, again=False)
            except RefusedError:
                way.failed += 1

    began = time.perf_counter()
    await asyncio.gather(*(work(caller) for caller in callers))
    way.many_per_s.append(CROWD / (time.perf_counter() - began))


async def _calls(figures: Figures, name: str, caller: Caller, target: Target) -> None:
    """A call that does next to nothing: what is left is the way there and back."""
    run_id = (await call(caller, "list_runs", limit=1))["runs"][0]["run_id"]
    relay = _relay_of(caller)
    spent = cpu_s(target.pid), cpu_s(relay) if relay is not None else 0.0
    count = CALLS
    for _ in range(count):
        began = time.perf_counter()
        await call(caller, "poll_events", run_id=run_id, after_seq=EVENTS)
        figures.add(f"poll, {name}", time.perf_counter() - began)
    figures.taken[f"poll CPU, {name}"] = [(cpu_s(target.pid) - spent[0]) / count]
    if relay is not None:
        figures.taken[f"poll relay CPU, {name}"] = [(cpu_s(relay) - spent[1]) / count]
