"""Prints what the bench of the bridge measured, each figure beside its bound and its reference."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

from tests.bench.bridge import CROWD, EVENTS, MANY, Figures, Way
from tests.bench.tables import CONSOLE, blank


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}"


def _rate(value: float) -> str:
    return f"{value:,.0f}"


def _slow(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.9)]


_BOUNDS: Final[Mapping[str, str]] = {
    "relay, 2025": "80",
    "relay, 2026": "80",
    "relay, no gateway": "2,500",
    "gateway start, /healthz": "1,000",
    "gateway start, A2A": "1,000",
    "gateway start, /mcp": "2,200",
}


def starts(figures: Figures) -> None:
    shown = blank(
        "from start to answer, milliseconds",
        "",
        *("bound", "least", "median", "90th percentile"),
        caption="relay: from the start of a2a-mcp-bridge until its first request is answered "
        "(initialize, or server/discover of 2026)",
    )
    for name, taken in figures.taken.items():
        cells = (ms(min(taken)), ms(median(taken)), ms(_slow(taken)))
        shown.add_row(name, _BOUNDS.get(name, ""), *cells)
    for name, sizes in figures.sizes.items():
        shown.add_row(f"MB of the {name}", "", "", f"{median(sizes) / 1e6:.0f}", "")
    CONSOLE.print(shown)


_Line = tuple[str, str, Callable[[Way], Sequence[float]], Callable[[float], str]]
_WAYS: Final[tuple[_Line, ...]] = (
    ("spawn_run answered, ms", "10", lambda w: w.spawned, ms),
    ("terminal seen, ms", "20", lambda w: w.terminal, ms),
    ("poll of an ended run, ms", "5", lambda w: w.polled, ms),
    ("first event at a waiting poll, ms after its time", "10", lambda w: w.first, ms),
    ("runs/s, one caller", ">= 60", lambda w: w.per_s, _rate),
    (f"runs/s, {MANY} callers", ">= 100", lambda w: w.many_per_s, _rate),
    ("CPU ms a run, gateway", "", lambda w: w.cpu, ms),
    ("CPU ms a run, relay", "", lambda w: w.relay_cpu, ms),
)


def runs(figures: Figures, rounds: int) -> None:
    names = list(figures.ways)
    shown = blank(
        f"runs of {EVENTS} events by the scripted agent behind its wrapper",
        "median",
        "bound",
        *names,
        caption=f"{rounds} rounds in turn, {CROWD} runs of {MANY} callers (over stdio as many "
        "relays); A2A: a blocking SendMessage through the gateway",
    )
    for title, bound, read, text in _WAYS:
        values = [read(way) for way in figures.ways.values()]
        shown.add_row(title, bound, *(text(median(v)) if v else "-" for v in values))
    slow = (_slow(way.terminal) for way in figures.ways.values())
    shown.add_row("terminal seen, 90th percentile ms", "", *map(ms, slow))
    shown.add_row("failed", "0", *(str(way.failed) for way in figures.ways.values()))
    counts = (" ".join(map(str, sorted(way.events))) or "-" for way in figures.ways.values())
    shown.add_row("events read of each", str(EVENTS), *counts)
    CONSOLE.print(shown)
    _calls(figures)


def _calls(figures: Figures) -> None:
    names = [name for name in figures.ways if f"poll, {name}" in figures.taken]
    shown = blank("a call of poll_events that has nothing to tell, milliseconds", "", *names)
    rows: tuple[tuple[str, str, Callable[[Sequence[float]], float]], ...] = (
        ("median", "poll", median),
        ("90th percentile", "poll", _slow),
        ("CPU, gateway", "poll CPU", median),
        ("CPU, relay", "poll relay CPU", median),
    )
    for title, key, of in rows:
        values = [figures.taken.get(f"{key}, {name}") for name in names]
        shown.add_row(title, *(f"{of(v) * 1000:.2f}" if v else "-" for v in values))
    CONSOLE.print(shown)


def listed(found: Mapping[str, float], stored: int) -> None:
    shown = blank(f"list_runs over stdio with {stored:,} runs stored", "", "bound", "median ms")
    for name, taken in found.items():
        bound = "" if name.startswith("get_run") else "10"
        shown.add_row(name, bound, f"{taken * 1000:.1f}")
    CONSOLE.print(shown)
