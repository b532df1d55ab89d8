"""What the gateway adds: each figure through it and beside it, in turn, in the same run.

Measures; prints nothing. Real processes: the agent, the gateway, and this one as their caller.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.caller import EXTENSION, Connection, RefusedError, Streamed, Target, completed
from tests.bench.passing import EVENTS, Agent, agents, gateway
from tests.bench.speed import cpu_s

CALLERS: Final = 8
SENDS: Final = 100  # pairs, one after another, a round
TASKS: Final = 400  # at once, a round


@dataclass(slots=True)
class Way:
    """The samples of one way to an agent; `cpu_*`: seconds of the gateway and of the agent."""

    sends: list[float] = field(default_factory=list[float])
    tasks_per_s: list[float] = field(default_factory=list[float])
    events_per_s: list[float] = field(default_factory=list[float])
    replayed: list[float] = field(default_factory=list[float])
    gateway_per_task: list[float] = field(default_factory=list[float])
    agent_per_task: list[float] = field(default_factory=list[float])
    gateway_per_event: list[float] = field(default_factory=list[float])
    agent_per_event: list[float] = field(default_factory=list[float])


@dataclass(slots=True)
class Pair:
    """One agent: called directly, and through the gateway."""

    agent: Agent
    direct: Way = field(default_factory=Way)
    through: Way = field(default_factory=Way)
    added: list[float] = field(default_factory=list[float])  # seconds, of each pair of sends


async def passed(folder: Path, wanted: Sequence[str], rounds: int) -> dict[str, Pair]:
    """The figures of these agents."""
    async with agents(folder, wanted) as known, gateway(folder, known) as behind:
        pairs = {name: Pair(agent) for name, agent in known.items()}
        for name, pair in pairs.items():  # warm: imports, cards, connections, first pages
            await _sends(pair, behind[name], 20, keep=False)
            for target in (pair.agent.target, behind[name]):
                await at_once(target, pair.agent.echo, CALLERS * 4)
        for turn in range(rounds):
            for name, pair in pairs.items():
                await _sends(pair, behind[name], SENDS)
                ways = [(pair.agent.target, pair.direct), (behind[name], pair.through)]
                for measure in (_tasks, _stream):
                    for target, way in ways if turn % 2 == 0 else reversed(ways):
                        await measure(pair.agent, target, behind[name], way)
        return pairs


async def _sends(pair: Pair, behind: Target, count: int, *, keep: bool = True) -> None:
    """Blocking sends one after another, one directly and one through the gateway in turn."""
    direct, through = await pair.agent.target.connect(), await behind.connect()
    for turn in range(count):
        both = [(direct, pair.agent.target), (through, behind)]
        taken: dict[int, float] = {}
        for connection, target in both if turn % 2 == 0 else reversed(both):
            request = target.send(pair.agent.echo)
            began = time.perf_counter()
            completed(await connection.ask(request))
            taken[id(connection)] = time.perf_counter() - began
        if keep:
            pair.direct.sends.append(taken[id(direct)])
            pair.through.sends.append(taken[id(through)])
            pair.added.append(taken[id(through)] - taken[id(direct)])
    direct.close()
    through.close()


async def at_once(target: Target, text: str, count: int) -> float:
    """Tasks a second."""
    request = target.send(text)
    connections = [await target.connect() for _ in range(CALLERS)]
    left = iter(range(count))

    async def work(connection: Connection) -> None:
        for _ in left:
            completed(await connection.ask(request))

    began = time.perf_counter()
    await asyncio.gather(*(work(connection) for connection in connections))
    taken = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return count / taken


async def _tasks(agent: Agent, target: Target, behind: Target, way: Way) -> None:
    before = cpu_s(behind.pid), cpu_s(agent.target.pid)
    way.tasks_per_s.append(await at_once(target, agent.echo, TASKS))
    way.gateway_per_task.append((cpu_s(behind.pid) - before[0]) / TASKS)
    way.agent_per_task.append((cpu_s(agent.target.pid) - before[1]) / TASKS)


async def _stream(agent: Agent, target: Target, behind: Target, way: Way) -> None:
    before = cpu_s(behind.pid), cpu_s(agent.target.pid)
    taken = await _streamed(target, target.send(agent.many, EXTENSION, stream=True))
    way.events_per_s.append(EVENTS / (taken.over - taken.began))
    way.gateway_per_event.append((cpu_s(behind.pid) - before[0]) / EVENTS)
    way.agent_per_event.append((cpu_s(agent.target.pid) - before[1]) / EVENTS)
    if target is behind:
        run_id = task_id(taken.tail)
        again = target.call("SubscribeToTask", {"id": run_id}, EXTENSION, b"Last-Event-ID: 0\r\n")
        taken = await _streamed(target, again)
        way.replayed.append(EVENTS / (taken.over - taken.began))


async def _streamed(target: Target, request: bytes) -> Streamed:
    """A stream on a connection of its own, to its end."""
    connection = await target.connect()
    taken = await connection.stream(request)
    connection.close()
    if taken.items < EVENTS or b"TASK_STATE_COMPLETED" not in taken.tail:
        raise RefusedError(f"{taken.items} items, the last: {taken.tail[-300:]!r}")
    return taken


def task_id(tail: bytes) -> str:
    """The id in a stream's last item."""
    return tail.rpartition(b'"taskId":"')[2].partition(b'"')[0].decode()
