"""`make bench`: how fast the servers and runs are, each beside what would be there without us.

Figures only: whether they are good is for a reader to say, on the machine they were taken on.
"""

import argparse
import resource
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from gateway.core.face.serving import run
from gateway.core.store.open import open_log
from tests.bench import bridge, bridge_lists, bridge_starts, bridge_tables, tables
from tests.bench.bigstore import fill, measure
from tests.bench.caller import EXTENSION, Target, concurrent, sequential
from tests.bench.crowd import crowd
from tests.bench.gateway import CALLERS as AT_ONCE
from tests.bench.gateway import at_once, passed
from tests.bench.passing import Agent, agents, gateway
from tests.bench.runs import PROMPTS, Row, bare, entry_times, timed
from tests.bench.speed import CALLERS, compared, idle_bytes, large_outputs, serving, streamed
from tests.bench.turns import Figures as Turns
from tests.bench.turns import measured
from tests.bench.wrapped import AGENTS
from tests.demo.stage import private_folder, stage
from tests.postgres import server as postgres_server

SUBSCRIBERS: Final = 1000
OPEN_RUNS: Final = 1000
BEHIND: Final = ("wrapper", "echo", "foreign")
LARGE: Final = 10_000_000  # bytes
PROFILED_S: Final = 8.0


async def _server(folder: Path, arguments: argparse.Namespace) -> None:
    databases = {"ours": str(folder / "speed" / "runs.db")}
    with postgres_server() if arguments.postgres else nullcontext() as server:
        if server is not None:
            databases["on PostgreSQL"] = server.create()
        with tables.CONSOLE.status(f"servers: {arguments.rounds} rounds"):
            figures = await compared(arguments.rounds, databases)
    tables.servers(figures, arguments.rounds)
    async with serving("ours", str(folder / "large" / "runs.db")) as target:
        each = await idle_bytes(target, SUBSCRIBERS)
        large = await large_outputs(target, LARGE)
    tables.extremes(large, LARGE, SUBSCRIBERS, each)


async def _store(folder: Path, arguments: argparse.Namespace) -> None:
    """What readers wait for when much is stored."""
    count: int = arguments.stored
    database = folder / "runs.db"
    with tables.CONSOLE.status(f"a store of {count:,} runs"):
        await fill(database, runs=count, events=count * 10)
        log = await open_log(database)
        try:
            taken = await measure(log)
        finally:
            await log.close()
    tables.store(taken, count)


async def _runs(folder: Path, arguments: argparse.Namespace) -> None:
    console = tables.CONSOLE
    count: int = arguments.runs
    async with stage(folder) as world:
        rows: list[Row] = []
        for agent in arguments.agent or list(PROMPTS):
            with console.status(f"{agent}: 1 + {count} runs"):
                rows.append(await timed(world, agent, count))
        tables.runs(rows)
        with console.status("the bare programs"):
            seconds = await anyio.to_thread.run_sync(bare, world, min(count, 5))
            seconds["a2a-mcp-bridge to initialize"] = await entry_times(world, min(count, 5))
    tables.beside(seconds)


async def _wrappers(folder: Path, arguments: argparse.Namespace) -> None:
    figures: dict[str, Turns] = {}
    for agent in AGENTS:
        if arguments.agent is None or agent in arguments.agent:
            with tables.CONSOLE.status(f"{agent}: {arguments.rounds} rounds, bare and wrapped"):
                figures[agent] = await measured(agent, folder / agent, arguments.rounds)
    tables.wrappers(figures)


async def _gateway(folder: Path, arguments: argparse.Namespace) -> None:
    """What the gateway adds, and what open runs take of it."""
    with tables.CONSOLE.status(f"agents, bare and behind the gateway: {arguments.rounds} rounds"):
        pairs = await passed(folder, BEHIND, arguments.rounds)
    tables.passed(pairs, arguments.rounds)
    with tables.CONSOLE.status(f"{OPEN_RUNS:,} open runs"):
        found = {
            "read by nobody": await crowd(folder / "unread", OPEN_RUNS, readers=False),
            "each with a reader": await crowd(folder / "read", OPEN_RUNS, readers=True),
        }
    tables.crowds(found)


async def _bridge(folder: Path, arguments: argparse.Namespace) -> None:
    """What MCP clients wait for, over stdio and HTTP."""
    rounds: int = arguments.rounds
    with tables.CONSOLE.status(f"the bridge: starts, {rounds} rounds"):
        started = await bridge_starts.starts(folder / "starts", rounds)
    bridge_tables.starts(started)
    with tables.CONSOLE.status(f"the bridge: runs, {rounds} rounds"):
        ran = await bridge.runs(folder / "runs", rounds)
    bridge_tables.runs(ran, rounds)
    with tables.CONSOLE.status(f"the bridge: a store of {arguments.stored:,} runs"):
        found = await bridge_lists.listed(folder / "listed", arguments.stored)
    bridge_tables.listed(found, arguments.stored)


async def _profile_gateway(folder: Path, arguments: argparse.Namespace) -> None:
    """Where the gateway's time goes, before our server and before a foreign one."""

    async def sends(target: Target, agent: Agent) -> None:
        await at_once(target, agent.echo, AT_ONCE * 20)

    async def streams(target: Target, agent: Agent) -> None:
        await streamed(target, target.send(agent.many, EXTENSION, stream=True))

    suffix = ".calls" if arguments.calls else ".samples"
    for name in ("echo", "foreign"):
        for load in (sends, streams):
            file = folder / f"{name}-{load.__name__}{suffix}"
            async with (
                agents(folder / file.stem, [name]) as known,
                gateway(folder / file.stem, known, file) as behind,
            ):
                with anyio.move_on_after(PROFILED_S):
                    while True:
                        await load(behind[name], known[name])
            said = file.read_text("utf-8")
            tables.CONSOLE.print(f"== {file.stem}", said, markup=False, soft_wrap=True)


async def _profile(folder: Path, arguments: argparse.Namespace) -> None:
    """Where our server's time goes, under sends at once, one at a time, and under streams."""

    async def alone(target: Target) -> None:
        await sequential(target, CALLERS)

    async def sends(target: Target) -> None:
        await concurrent(target, CALLERS, CALLERS * 20)

    async def streams(target: Target) -> None:
        await streamed(target, target.send("events 5000", EXTENSION, stream=True))

    suffix = ".calls" if arguments.calls else ".samples"
    for name, load in (("sends", sends), ("alone", alone), ("streams", streams)):
        file = folder / f"{name}{suffix}"
        async with serving("ours", str(folder / name / "runs.db"), file) as target:
            with anyio.move_on_after(PROFILED_S):
                while True:
                    await load(target)
        tables.CONSOLE.print(f"== {name}", file.read_text("utf-8"), markup=False, soft_wrap=True)


Part = Callable[[Path, argparse.Namespace], Awaitable[None]]
PARTS: Final[dict[str, Part]] = {
    "server": _server,
    "store": _store,
    "runs": _runs,
    "wrappers": _wrappers,
    "gateway": _gateway,
    "bridge": _bridge,
    "profile": _profile,
    "profile-gateway": _profile_gateway,
}


async def _bench(arguments: argparse.Namespace) -> None:
    tables.heading()
    for name in arguments.parts or ("server", "store", "runs", "wrappers", "gateway", "bridge"):
        with private_folder() as folder:
            await PARTS[name](folder, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}: all but the profiles")
    parser.add_argument(
        "--rounds", type=int, default=5, help="server, wrappers, gateway, bridge: rounds (5)"
    )
    parser.add_argument("--postgres", action="store_true", help="server: ours on PostgreSQL too")
    parser.add_argument(
        "--stored", type=int, default=100_000, help="store, bridge: runs in it (100,000)"
    )
    parser.add_argument("--runs", type=int, default=20, help="runs: of each agent (20)")
    parser.add_argument("--agent", choices=list(PROMPTS), action="append", help="only these")
    parser.add_argument("--calls", action="store_true", help="profile: count calls, not samples")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):  # argparse's choices refuse "none given"
        parser.error(f"no part {', '.join(sorted(unknown))}; there is {', '.join(PARTS)}")
    # A connection is a file here, a thousand subscribers are more than the usual 1,024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
    run(_bench(arguments))


if __name__ == "__main__":
    main()
