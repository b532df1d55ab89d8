"""The runs the bench times, through the stdio MCP entry, and the bare programs beside them.

Measures; prints nothing, asserts nothing but that each run completed.
"""

import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import anyio
import claude_agent_sdk
from mcp import Client, StdioServerParameters

from tests.demo.stage import BIN, Stage

# One short answer, no tool: what is left is the way there and back.
PROMPTS: Final = {
    "scripted": ("remote_a2a", "say hello"),
    "codex": ("codex", "@say hello"),
    "claude": ("claude_code", "@say hello"),
}


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from the call of spawn_run."""

    spawned: float
    first_event: float
    terminal: float


@dataclass(frozen=True, slots=True)
class Row:
    """One agent: its first run (which starts everything), then the median of the others."""

    agent: str
    cold: Times
    warm: Times
    worst: float
    runs: int


class NotCompletedError(Exception):
    """A run of the bench did not complete, so its time says nothing."""


async def one_run(stage: Stage, agent: str) -> Times:
    """Spawn, poll until terminal."""
    backend, prompt = PROMPTS[agent]
    asked: dict[str, Any] = {
        "backend": backend,
        "role": "worker",
        "prompt": prompt,
        "cwd": str(stage.project),
        "session_mode": "new",
    }
    if backend == "remote_a2a":
        asked["backend_config"] = {"agent_url": stage.agent_url}
    began = time.perf_counter()
    run_id = (await stage.call("spawn_run", asked))["run_id"]
    spawned = time.perf_counter() - began
    first, after = 0.0, 0
    while True:
        page = await stage.call("poll_events", {"run_id": run_id, "after_seq": after})
        now = time.perf_counter() - began
        first = first or (now if page["events"] else 0.0)
        after = page["next_after_seq"]
        if page["status"] == "completed":
            return Times(spawned, first, now)
        if page["status"] in ("failed", "cancelled", "rejected", "input_required"):
            raise NotCompletedError(f"{agent}: run {run_id} is {page['status']}")


async def timed(stage: Stage, agent: str, count: int) -> Row:
    """A first run, then `count` more, one after another, each in a session of its own."""
    with anyio.fail_after(60 + 10 * count):
        cold = await one_run(stage, agent)
        warm = [await one_run(stage, agent) for _ in range(count)]
    middle = Times(
        median(times.spawned for times in warm),
        median(times.first_event for times in warm),
        median(times.terminal for times in warm),
    )
    return Row(agent, cold, middle, max(times.terminal for times in warm), count)


async def entry_times(stage: Stage, count: int) -> float:
    """Median of: a new stdio entry, until it has answered `initialize`; the gateway runs."""
    bridge = StdioServerParameters(
        command=str(BIN / "a2a-mcp-bridge"), env=stage.environment, cwd=str(stage.project)
    )
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        async with Client(bridge):
            taken.append(time.perf_counter() - began)
    return median(taken)


# -- the same without us -----------------------------------------------------------------------


def bare(stage: Stage, count: int) -> dict[str, float]:
    """Median seconds of what would be there anyway: an interpreter, the CLIs run by hand."""
    claude = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    codex = importlib.import_module("codex_cli_bin").bundled_codex_path()  # ships no types
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "codex exec": [str(codex), "exec", "--skip-git-repo-check", "@say hello"],
        "claude -p": [str(claude), "-p", "@say hello"],
    }
    return {
        name: median(_seconds(lambda words=words: _run(words, stage)) for _ in range(count))
        for name, words in commands.items()
    }


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _run(words: list[str], stage: Stage) -> None:
    subprocess.run(
        words,
        env=stage.environment,
        cwd=stage.project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
