"""Prints what the bench measured, each ratio beside the bound it is held against."""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench.crowd import Crowd
from tests.bench.gateway import CALLERS as AT_ONCE
from tests.bench.gateway import Pair, Way
from tests.bench.passing import EVENTS as COPIED
from tests.bench.runs import Row
from tests.bench.speed import CALLERS, EVENTS, Figures, Large
from tests.bench.turns import BURST, OUTPUT
from tests.bench.turns import Figures as Turns

CONSOLE: Final = Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def heading() -> None:
    """The machine and how busy it is: on a busy one read ratios and CPU figures."""
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    CONSOLE.print(f"{os.cpu_count()} cores, {system}; load average {load}")


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}"


def us(seconds: float) -> str:
    return f"{seconds * 1_000_000:,.0f}"


def _hundredths(seconds: float) -> str:
    return f"{seconds * 1000:,.2f}"


def blank(title: str, first: str, *columns: str, caption: str | None = None) -> Table:
    table = Table(title=title, caption=caption)
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


# -- servers -------------------------------------------------------------------------------------

_LINES: Final[tuple[tuple[str, Callable[[Figures], list[float]], Callable[[float], str]], ...]] = (
    (f"tasks/s, {CALLERS} blocking sends at once", lambda f: f.tasks_per_s, lambda v: f"{v:,.0f}"),
    ("server CPU us a task, at once", lambda f: f.cpu_per_task, us),
    ("blocking send, one at a time, median us", lambda f: f.sends, us),
    ("server CPU us a send, one at a time", lambda f: f.cpu_per_send, us),
    (f"events/s, one stream of {EVENTS:,}", lambda f: f.events_per_s, lambda v: f"{v:,.0f}"),
    ("server CPU us an event", lambda f: f.cpu_per_event, us),
    ("us an event, events 50-550", lambda f: f.early, us),
    ("us an event, events 4,450-4,950", lambda f: f.late, us),
    ("events/s with the extension", lambda f: f.extended, lambda v: f"{v:,.0f}"),
    ("events/s replayed from Last-Event-ID 0", lambda f: f.replayed, lambda v: f"{v:,.0f}"),
)


def servers(figures: Mapping[str, Figures], rounds: int) -> None:
    """Medians, then ratios."""
    names = list(figures)
    table = blank(
        "the same echo agent on each server",
        "",
        *names,
        caption=f"medians of {rounds} rounds in turn; sdk: DefaultRequestHandler in memory; "
        "floor: the SDK's routes over a handler that does nothing; the rest: this server, durable",
    )
    for title, read, shown in _LINES:
        values = [read(figures[name]) for name in names]
        table.add_row(title, *(shown(median(value)) if value else "-" for value in values))
    table.add_row("blocking send, 99th percentile us", *(us(figures[n].slow_send) for n in names))
    CONSOLE.print(table)
    _ratios(figures)


def _ratios(figures: Mapping[str, Figures]) -> None:
    sdk, floor = figures["sdk"], figures["floor"]
    ours = {name: one for name, one in figures.items() if name not in ("sdk", "floor")}
    table = blank("beside them", "ratio", "bound", *ours)
    rows: tuple[tuple[str, str, Callable[[Figures], float]], ...] = (
        ("tasks/s of sdk", ">= 3", lambda o: median(o.tasks_per_s) / median(sdk.tasks_per_s)),
        ("CPU a task, sdk of ours", "", lambda o: _mean(sdk.cpu_per_task) / _mean(o.cpu_per_task)),
        ("tasks/s of floor", ">= 0.5", lambda o: median(o.tasks_per_s) / median(floor.tasks_per_s)),
        (
            "CPU a task, floor of ours",
            "",
            lambda o: _mean(floor.cpu_per_task) / _mean(o.cpu_per_task),
        ),
        ("blocking send of sdk", "<= 0.7", lambda o: o.send / sdk.send),
        ("CPU a send, ours of sdk", "", lambda o: _mean(o.cpu_per_send) / _mean(sdk.cpu_per_send)),
        ("events/s of sdk", ">= 20", lambda o: median(o.events_per_s) / median(sdk.events_per_s)),
        (
            "CPU an event, sdk of ours",
            "",
            lambda o: _mean(sdk.cpu_per_event) / _mean(o.cpu_per_event),
        ),
        ("event 4,700 of event 300", "<= 1.2", lambda o: median(o.late) / median(o.early)),
    )
    for title, bound, ratio in rows:
        table.add_row(title, bound, *(f"{ratio(one):.2f}" for one in ours.values()))
    CONSOLE.print(table)


def _mean(values: list[float]) -> float:
    """The clock of a process ticks in 10 ms: sums say more than medians."""
    return sum(values) / len(values) or 1e-9


def extremes(large: Large, size: int, subscribers: int, each: float) -> None:
    table = blank("large and many", "", "measured", "bound")
    table.add_row(f"run with two outputs of {size / 1e6:,.0f} MB, ms", ms(large.taken), "")
    table.add_row("another caller's longest wait meanwhile, ms", ms(large.longest_wait), "30")
    table.add_row("the same with nothing going on, ms", ms(large.without), "")
    table.add_row(f"KB each of {subscribers:,} idle subscribers", f"{each / 1024:.1f}", "40")
    CONSOLE.print(table)


# -- store ---------------------------------------------------------------------------------------


def store(taken: Mapping[str, float], count: int) -> None:
    """`taken`: milliseconds."""
    table = blank(
        f"{count:,} runs and {count * 10:,} events stored, SQLite", "", "median ms", "bound"
    )
    for name, one in taken.items():
        table.add_row(name, f"{one:.2f}", "5")
    CONSOLE.print(table)


# -- runs ----------------------------------------------------------------------------------------


def runs(rows: list[Row]) -> None:
    """The way there and back through the stdio entry."""
    columns = ("runs", "spawn_run", "first event", "terminal", "slowest", "very first")
    table = blank(
        "through the stdio MCP entry, milliseconds from the call of spawn_run",
        "agent",
        *columns,
        caption="medians; very first: spawn to terminal with wrapper and CLI still to be started",
    )
    for row in rows:
        warm = (row.warm.spawned, row.warm.first_event, row.warm.terminal)
        figures = (*warm, row.worst, row.cold.terminal)
        table.add_row(row.agent, str(row.runs), *(ms(figure) for figure in figures))
    CONSOLE.print(table)


def beside(seconds: Mapping[str, float]) -> None:
    table = blank("the same machine, milliseconds, whole process", "beside it", "median")
    for name, taken in seconds.items():
        table.add_row(name, ms(taken))
    CONSOLE.print(table)


# -- wrappers ------------------------------------------------------------------------------------


def wrappers(figures: Mapping[str, Turns]) -> None:
    """Turns of the CLIs: bare, through a wrapper, and what that adds."""
    count = min(len(one.sent) for one in figures.values())
    table = blank(
        "a turn, milliseconds",
        "",
        *("bare", "wrapped", "more", "bound", "slow bare", "slow wrapped"),
        caption=f"medians, the first three of {count} warm turns each, in turn; slow: the 90th "
        "percentile; bare: the least client of the same CLI and model; more: by medians",
    )
    for name, one in figures.items():
        rows: tuple[tuple[str, list[float], list[float], str], ...] = (
            ("warm, SendMessage", one.bare, one.sent, "15"),
            ("warm, streamed", one.bare, one.streamed, "15"),
            ("first of another context", one.bare_new, one.new, ""),
            ("first of all, from the process's start", one.bare_cold, _sums(one), ""),
            (f"of {BURST} messages, streamed", one.bare_burst, one.burst, ""),
            (f"of `{OUTPUT}`, streamed", one.bare_output, one.output, ""),
        )
        for title, bare, wrapped, bound in rows:
            middle = (median(bare), median(wrapped), median(wrapped) - median(bare))
            slow = (_slow(bare), _slow(wrapped))
            table.add_row(f"{name}: {title}", *map(_tenths, middle), bound, *map(ms, slow))
    CONSOLE.print(table)
    _first_events(figures)
    _costs(figures)


def _first_events(figures: Mapping[str, Turns]) -> None:
    columns = ("median ms", "90th percentile ms", "bound")
    table = blank("from the CLI's line to the stream's reader", "", *columns)
    for name, one in figures.items():
        for event, taken in one.after.items():
            table.add_row(f"{name}: {event}", _tenths(median(taken)), _tenths(_slow(taken)), "10")
    CONSOLE.print(table)


def _costs(figures: Mapping[str, Turns]) -> None:
    table = blank("what a wrapper's own process takes", "", *figures)
    rows: tuple[tuple[str, Callable[[Turns], str]], ...] = (
        ("start to ready, ms", lambda f: ms(median(f.ready))),
        ("CPU ms a warm turn", lambda f: _tenths(_mean(f.cpu))),
        (f"CPU ms a turn of `{OUTPUT}`", lambda f: _tenths(_mean(f.output_cpu))),
        (f"events/s, of {BURST} messages", lambda f: f"{f.burst_events / median(f.burst):,.0f}"),
        ("MB before the first run", lambda f: f"{f.idle / 1e6:.0f}"),
        ("MB after all", lambda f: f"{f.used / 1e6:.0f}"),
    )
    for title, shown in rows:
        table.add_row(title, *(shown(one) for one in figures.values()))
    CONSOLE.print(table)


def _sums(figures: Turns) -> list[float]:
    return [start + turn for start, turn in zip(figures.ready, figures.cold, strict=True)]


def _slow(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.9)]


def _tenths(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}"


# -- gateway -------------------------------------------------------------------------------------

_WAYS: Final[tuple[tuple[str, str, Callable[[Way], list[float]], Callable[[float], str]], ...]] = (
    ("blocking send, median ms", "", lambda w: w.sends, _hundredths),
    (f"tasks/s, {AT_ONCE} at once", "300", lambda w: w.tasks_per_s, lambda v: f"{v:,.0f}"),
    ("CPU ms a task, gateway", "", lambda w: w.gateway_per_task, _hundredths),
    ("CPU ms a task, agent", "", lambda w: w.agent_per_task, _hundredths),
    (f"events/s, one run of {COPIED:,}", "", lambda w: w.events_per_s, lambda v: f"{v:,.0f}"),
    ("events/s replayed", "", lambda w: w.replayed, lambda v: f"{v:,.0f}"),
    ("CPU us an event, gateway", "", lambda w: w.gateway_per_event, us),
    ("CPU us an event, agent", "", lambda w: w.agent_per_event, us),
)


def passed(pairs: Mapping[str, Pair], rounds: int) -> None:
    """Each agent called directly and through the gateway."""
    table = blank(
        "each agent called directly, and through the gateway",
        "",
        "bound",
        *(f"{name}{how}" for name in pairs for how in ("", ", through")),
        caption=f"{rounds} rounds in turn; wrapper: the scripted agent by its command; echo: our "
        "server without an agent behind it; foreign: plain A2A in memory",
    )
    for title, bound, read, shown in _WAYS:
        values = [read(way) for pair in pairs.values() for way in (pair.direct, pair.through)]
        averaged = _mean if title.startswith("CPU") else median
        table.add_row(title, bound, *(shown(averaged(v)) if v else "-" for v in values))
    added = [("", _hundredths(median(pair.added))) for pair in pairs.values()]
    table.add_row("added to a send, median ms", "2", *(cell for both in added for cell in both))
    least = [("", "8,000" if pair.agent.ours else "1,500") for pair in pairs.values()]
    table.add_row("bound of its events/s", "", *(cell for both in least for cell in both))
    CONSOLE.print(table)


def crowds(found: Mapping[str, Crowd]) -> None:
    """Many open runs of one agent process."""
    count = max(one.runs for one in found.values())
    table = blank(f"{count:,} open runs of one agent process", "", "bound", *found)
    rows: tuple[tuple[str, str, Callable[[Crowd], str]], ...] = (
        ("MB of the gateway before them", "", lambda c: f"{c.idle / 1e6:.0f}"),
        ("KB for each", "60", lambda c: f"{c.each / 1024:.1f}"),
        ("MB in all", "200", lambda c: f"{c.whole / 1e6:.0f}"),
        ("seconds until all work at the agent", "10", lambda c: f"{c.opened:.1f}"),
        ("share of a core while nothing happens", "", lambda c: f"{c.idle_cpu:.3f}"),
        ("seconds to finish them all", "", lambda c: f"{c.finished:.1f}"),
        ("CPU ms of the gateway for each, in all", "", lambda c: _hundredths(c.cpu)),
        ("not completed", "0", lambda c: str(c.failed)),
    )
    for title, bound, shown in rows:
        table.add_row(title, bound, *(shown(one) for one in found.values()))
    CONSOLE.print(table)
