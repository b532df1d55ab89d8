"""What the gateway's figures are taken on: agents as processes of their own, and a gateway before
them.

Knows no figure.
"""

import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.core.face.tokens import read_token
from gateway.home import Home, write_private
from tests.bench.caller import Target
from tests.bench.speed import process, serving
from tests.demo.stage import plain_environment
from tests.wrappers.launched import COMMAND as WRAPPER

EVENTS: Final = 5000
RUNS_MAX: Final = 1200  # of the wrapper at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent of the bench. `echo`, `many` and `held` are what makes it say a word, EVENTS events,
    and nothing until it is spoken to; `ours`: it has the coding-run extension."""

    name: str
    target: Target
    echo: str
    many: str
    held: str
    ours: bool = True


@asynccontextmanager
async def agents(folder: Path, wanted: Sequence[str]) -> AsyncGenerator[dict[str, Agent]]:
    """Those of `wrapper` (the scripted one, by its command), `echo` (our server, no agent behind
    it) and `foreign` (plain A2A, in memory)."""
    found: dict[str, Agent] = {}
    async with AsyncExitStack() as stack:
        if "wrapper" in wanted:
            target = await stack.enter_async_context(_wrapper(folder / "wrapper"))
            many = f"stream {EVENTS} 0 status"
            found["wrapper"] = Agent(
                name="wrapper", target=target, echo="hello", many=many, held="listen"
            )
        if "echo" in wanted:
            served = serving("ours", str(folder / "echo" / "runs.db"))
            target = await stack.enter_async_context(served)
            found["echo"] = Agent(
                name="echo", target=target, echo="hello", many=f"events {EVENTS}", held="hold"
            )
        if "foreign" in wanted:
            words = [sys.executable, "-m", "tests.bench.foreign"]
            ready = await stack.enter_async_context(process(words))
            target = Target(ready.said["port"], ready.pid, "")
            found["foreign"] = Agent(
                name="foreign",
                target=target,
                echo="hello",
                many=f"events {EVENTS}",
                held="hold",
                ours=False,
            )
        yield found


@asynccontextmanager
async def _wrapper(folder: Path) -> AsyncGenerator[Target]:
    project = folder / "project"
    project.mkdir(parents=True)
    words = [*WRAPPER, "scripted", "--root", str(project), "--max-runs", str(RUNS_MAX), "--json"]
    async with process(words, plain_environment(folder)) as ready:
        port = int(ready.said["base_url"].rpartition(":")[2])
        yield Target(port, ready.pid, read_token(Path(ready.said["token_file"])))


@asynccontextmanager
async def gateway(
    folder: Path, known: Mapping[str, Agent], profile: Path | None = None
) -> AsyncGenerator[dict[str, Target]]:
    """A gateway that knows these agents: where each is behind it."""
    home = Home(folder / "home")
    registered = {
        name: {"agent_url": f"http://127.0.0.1:{agent.target.port}"}
        | ({"auth_token": agent.target.token} if agent.target.token else {})
        for name, agent in known.items()
    }
    write_private(home.registry, registered)
    environment = plain_environment(folder) | {"A2A_GATEWAY_HOME": str(home.path)}
    words = [sys.executable, "-m", "tests.bench.profiling", *([str(profile)] if profile else [])]
    if profile is None:
        words = [sys.executable, "-P", "-m", "gateway.cli"]
    async with process([*words, "serve", "--json"], environment) as ready:
        port = int(ready.said["url"].rpartition(":")[2])
        target = Target(port, ready.pid, read_token(Path(ready.said["token_file"])))
        yield {name: replace(target, path=f"/agents/{name}/a2a/jsonrpc") for name in known}
