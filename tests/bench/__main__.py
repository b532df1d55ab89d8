"""`make bench`: how long a run takes from the caller's side, beside the bare programs.

Figures only: whether they are good is for a reader to say, on the machine they were taken on.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

import anyio
import anyio.to_thread
from rich.console import Console
from rich.table import Table

from tests.bench.runs import PROMPTS, Row, bare, entry_times, timed
from tests.demo.stage import private_folder, stage


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}"


def _table(rows: list[Row]) -> Table:
    table = Table(title="through the stdio MCP entry, milliseconds from the call of spawn_run")
    for column in (
        "agent",
        "runs",
        "spawn_run",
        "first event",
        "terminal",
        "slowest",
        "very first",
    ):
        table.add_column(column, justify="left" if column == "agent" else "right")
    for row in rows:
        warm = (row.warm.spawned, row.warm.first_event, row.warm.terminal)
        figures = (*warm, row.worst, row.cold.terminal)
        table.add_row(row.agent, str(row.runs), *(_ms(figure) for figure in figures))
    table.caption = (
        "medians; very first: spawn to terminal with wrapper and CLI still to be started"
    )
    return table


async def _bench(folder: Path, count: int, agents: list[str]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    console.print(f"{os.cpu_count()} cores, {system}", highlight=False)
    async with stage(folder) as world:
        rows: list[Row] = []
        for agent in agents:
            with console.status(f"{agent}: 1 + {count} runs"):
                rows.append(await timed(world, agent, count))
        console.print(_table(rows))
        with console.status("the bare programs"):
            beside = await anyio.to_thread.run_sync(bare, world, min(count, 5))
            beside["a2a-mcp-bridge to initialize"] = await entry_times(world, min(count, 5))
    table = Table("beside it", title="the same machine, milliseconds, whole process")
    table.add_column("median", justify="right")
    for name, seconds in beside.items():
        table.add_row(name, _ms(seconds))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs of each agent (20)")
    parser.add_argument("--agent", choices=list(PROMPTS), action="append", help="only these")
    arguments = parser.parse_args()
    with private_folder() as folder:
        anyio.run(_bench, folder, arguments.runs, arguments.agent or list(PROMPTS))


if __name__ == "__main__":
    main()
