"""Many runs open at the same time, all at one agent process: what the gateway takes for them.

Measures; prints nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from gateway.core import json
from tests.bench.caller import EXTENSION, Connection, Streamed, Target
from tests.bench.gateway import CALLERS, at_once, task_id
from tests.bench.passing import Agent, agents, gateway
from tests.bench.speed import cpu_s, rss

FIRST: Final = 50  # runs that pay what is paid once
OPENING: Final = 32  # runs that are being opened at a time
IDLE_S: Final = 3.0
LOOK_S: Final = 0.02
SETTLE_S: Final = 5.0  # until a gateway that has just started has imported what it does without
PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """`runs` that are open at the same time: bytes of the gateway for each and in all, seconds to
    open and to finish them, the share of a core that they take while nothing happens, and CPU
    seconds of the gateway for each from first to last; `failed`: those that did not complete."""

    runs: int
    idle: int
    each: float
    whole: int
    opened: float
    idle_cpu: float
    finished: float
    cpu: float
    failed: int


async def crowd(folder: Path, runs: int, *, readers: bool) -> Crowd:
    """Many runs of one wrapper, with or without a reader for each."""
    async with (
        agents(folder, ["wrapper"]) as known,
        gateway(folder, known) as behind,
    ):
        agent, target = known["wrapper"], behind["wrapper"]
        await at_once(target, agent.echo, CALLERS * 4)
        group = _Readers(target, agent) if readers else _Unread(target, agent)
        with anyio.fail_after(PATIENCE_S):
            await group.open(FIRST)
            await asyncio.sleep(SETTLE_S)
            before, spent = rss(target.pid), cpu_s(target.pid)
            began = time.perf_counter()
            await group.open(runs - FIRST)
            opened = time.perf_counter() - began
            whole = rss(target.pid)
            resting = cpu_s(target.pid)
            await asyncio.sleep(IDLE_S)
            idle_cpu = (cpu_s(target.pid) - resting) / IDLE_S
            began = time.perf_counter()
            done = await group.finish()
            finished = time.perf_counter() - began
        return Crowd(
            runs=runs,
            idle=before,
            each=(whole - before) / (runs - FIRST),
            whole=whole,
            opened=opened,
            idle_cpu=idle_cpu,
            finished=finished,
            cpu=(cpu_s(target.pid) - spent) / runs,
            failed=runs - done,
        )


class _Unread:
    """Runs nobody reads: sent without waiting, looked at as a list."""

    def __init__(self, target: Target, agent: Agent) -> None:
        self._target = target
        self._agent = agent
        self._ids: list[str] = []

    async def open(self, count: int) -> None:
        """Returns when they work at the agent."""
        request = self._target.send(self._agent.held, wait=False)

        async def one(connection: Connection) -> None:
            sent = json.decode_object(await connection.ask(request))
            self._ids.append(sent["result"]["task"]["id"])

        await self._each(count, one)
        await self._until("TASK_STATE_WORKING", len(self._ids))

    async def finish(self) -> int:
        """How many completed."""
        ids, done = iter(self._ids), 0

        async def one(connection: Connection) -> None:
            await connection.ask(_spoken(self._target, next(ids)))

        async def look(connection: Connection) -> None:
            nonlocal done
            answer = await connection.ask(self._target.call("GetTask", {"id": next(again)}))
            done += b"TASK_STATE_COMPLETED" in answer

        await self._each(len(self._ids), one)
        await self._until("TASK_STATE_WORKING", 0)
        again = iter(self._ids)
        await self._each(len(self._ids), look)
        return done

    async def _each(self, count: int, one: Callable[[Connection], Awaitable[None]]) -> None:
        left = iter(range(count))

        async def work() -> None:
            connection = await self._target.connect()
            for _ in left:
                await one(connection)
            connection.close()

        await asyncio.gather(*(work() for _ in range(OPENING)))

    async def _until(self, status: str, count: int) -> None:
        while True:
            if await self._total(status) == count:
                return
            await asyncio.sleep(LOOK_S)

    async def _total(self, status: str) -> int:
        connection = await self._target.connect()
        params = {"status": status, "pageSize": 1}
        page = json.decode_object(await connection.ask(self._target.call("ListTasks", params)))
        connection.close()
        return page["result"]["totalSize"]


class _Readers:
    """Runs with a reader each: streams that stay open."""

    def __init__(self, target: Target, agent: Agent) -> None:
        self._target = target
        self._agent = agent
        self._open: list[tuple[Connection, Streamed]] = []

    async def open(self, count: int) -> None:
        request = self._target.send(self._agent.held, EXTENSION, stream=True)
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                connection = await self._target.connect()
                streamed = await connection.stream(request, first_only=True)
                self._open.append((connection, streamed))

        await asyncio.gather(*(work() for _ in range(OPENING)))
        # The task, its first status and the agent's `run_started`: then it is at work there.
        await self._until(lambda tail: b'"run_started"' in tail)

    async def finish(self) -> int:
        left = iter(self._open)

        async def work() -> None:
            connection = await self._target.connect()
            for _, streamed in left:
                await connection.ask(_spoken(self._target, task_id(streamed.tail)))
            connection.close()

        await asyncio.gather(*(work() for _ in range(OPENING)))
        await self._until(lambda tail: tail.endswith(b"0\r\n\r\n"))
        for connection, _ in self._open:
            connection.close()
        return sum(b"TASK_STATE_COMPLETED" in one.tail for _, one in self._open)

    async def _until(self, true: Callable[[bytes], bool]) -> None:
        """Wait until it is true of what came last on every stream."""
        for _, streamed in self._open:
            while True:
                if true(streamed.tail):
                    break
                await asyncio.sleep(LOOK_S)


def _spoken(target: Target, run_id: str) -> bytes:
    """A word to a run that waits for one."""
    message = {
        "messageId": f"go-{run_id}",
        "taskId": run_id,
        "role": "ROLE_USER",
        "parts": [{"text": "go"}],
    }
    configuration = {"returnImmediately": True}
    return target.call("SendMessage", {"message": message, "configuration": configuration})
