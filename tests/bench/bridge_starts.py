"""How soon the bridge answers: relays, and gateways, from the start of their processes.

Measures; prints nothing.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import anyio

from gateway.core.face.tokens import read_token
from gateway.home import Home, read_published
from tests.bench.bridge import Figures, house
from tests.bench.caller import RefusedError, Target
from tests.bench.speed import process, rss
from tests.bench.toolcalls import ERAS, HELLO, pipe, wire
from tests.demo.stage import plain_environment

STARTS: Final = 5  # a round
LOOK_S: Final = 0.005
START_S: Final = 30.0


async def starts(folder: Path, rounds: int) -> Figures:
    """How soon `initialize` is answered, in turn with what takes time without us."""
    figures = Figures()
    _made(folder)
    async with house(folder / "running") as there:
        await _hello(there.a2a)  # warm: the MCP side is imported behind the open listener
        for _ in range(rounds * STARTS):
            figures.add("python -I -c pass", await _interpreter())
            figures.add("initialize over HTTP", await _hello(there.a2a))
            for era in ERAS:
                async with pipe(there.environment, there.folder, era) as relay:
                    figures.add(f"relay, {era}", relay.started)
                    figures.sizes.setdefault("relay", []).append(rss(relay.process.pid))
        figures.sizes["gateway"] = [rss(there.a2a.pid)]
    for number in range(rounds):
        figures.add("relay, no gateway", await _cold(folder / f"cold-{number}"))
        for name, taken in (await _gateway_start(folder / f"start-{number}")).items():
            figures.add(f"gateway start, {name}", taken)
    return figures


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def _interpreter() -> float:
    began = time.perf_counter()
    started = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", "pass")
    await started.wait()
    return time.perf_counter() - began


async def _hello(target: Target) -> float:
    began = time.perf_counter()
    caller = await wire(target)
    await caller.ask("initialize", HELLO)
    taken = time.perf_counter() - began
    caller.close()
    return taken


async def _cold(folder: Path) -> float:
    """A relay whose home has no gateway: it starts one, which is ended here."""
    home = Home(_made(folder) / "home")
    environment = plain_environment(folder) | {"A2A_GATEWAY_HOME": str(home.path)}
    try:
        async with pipe(environment, folder) as relay:
            return relay.started
    finally:
        with anyio.CancelScope(shield=True):
            await _end(home)


async def _end(home: Home) -> None:
    """The gateway that a relay started is nobody's child; its file says which process it is."""
    published = read_published(home.path / "gateway.json")
    if published is None:
        return
    os.kill(published.process.pid, signal.SIGTERM)
    with anyio.fail_after(START_S):
        while published.process.alive:  # noqa: ASYNC110 - nobody's child tells nobody
            await asyncio.sleep(LOOK_S)


async def _gateway_start(folder: Path) -> dict[str, float]:
    """Seconds from the start of the process until each of its sides answers."""
    home = Home(_made(folder) / "home")
    environment = plain_environment(folder) | {"A2A_GATEWAY_HOME": str(home.path)}
    words = [sys.executable, "-P", "-m", "gateway.cli", "serve", "--json"]
    began = time.perf_counter()
    async with process(words, environment) as ready:
        token = read_token(Path(ready.said["token_file"]))
        target = Target(int(ready.said["url"].rpartition(":")[2]), ready.pid, token)
        found = {"ready line": time.perf_counter() - began}
        connection = await target.connect()
        await connection.ask(target.get("/healthz"))
        found["/healthz"] = time.perf_counter() - began
        asked = await connection.ask(target.call("ListTasks", {}))
        if b'"tasks"' not in asked:
            raise RefusedError(asked.decode())
        found["A2A"] = time.perf_counter() - began
        connection.close()
        await _hello(target)
        found["/mcp"] = time.perf_counter() - began
        return found
