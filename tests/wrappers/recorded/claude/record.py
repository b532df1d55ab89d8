"""Plays a scene with the real Claude Code and keeps what it said, and what became of it.

A scene that is replayed must give the very steps that were seen live; otherwise nothing is kept.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

from gateway.core import json
from gateway.core.events import CommandUpdated, RunStarted, StatusChanged
from gateway.core.json import JsonObject, as_object
from tests.wrappers.claude_case import Case, claude_case
from tests.wrappers.recorded.claude import tee
from tests.wrappers.recorded.claude.replay import CLI, Replay, kept
from tests.wrappers.recorded.claude.scenes import SCENES, Scene
from tests.wrappers.recorded.logs import Recording, step_json
from tests.wrappers.recorded.stable import UUID, Stable
from wrappers.adapter import Bound, Step
from wrappers.claude.options import bundled_cli

# Members that differ from one recording to the next, whatever their value.
FIXED: dict[str, Any] = {
    "duration_ms": 1,
    "duration_api_ms": 1,
    "durationMs": 1,
    "totalDurationMs": 1,
    "ttft_ms": 1,
    "ttft_stream_ms": 1,
    "time_to_request_ms": 1,
    "retry_delay_ms": 500,
    "durationSeconds": 0.1,
    "harnessSectionHash": "hash",
    "timestamp": "2026-01-01T00:00:00.000Z",
    "start_time": 1,
    "end_time": 2,
    "elapsed_time_seconds": 30,
    "signature": "sig",
    "first_content_frame_ms": 1,
    "request_sent_wall_ms": 1,
    "messaging_socket_path": "/scene/socket",
    # Long, and nobody reads them.
    "slash_commands": [],
    "terminal_slash_commands": [],
    "skills": [],
    "capabilities": [],
    "plugins": [],
}
IDS = {
    r"(?<=/plans/)[a-z]+(?:-[a-z]+)+(?=\.md)": "plan",
    r"[0-9a-z]{9}-[0-9a-f]{8}": "run",
    UUID: "uuid",
    r"toolu_[0-9a-f]{20}": "call",
    r"msg_[0-9a-f]{20}": "message",
    r"\breq_\d+_[0-9a-f]{8}\b": "request",
    r"\bcli_req_[0-9a-zA-Z_-]+\b": "request",
    r"\b[0-9a-f]{7}-req\b": "request",
    r"\ba[0-9a-f]{16}\b": "agent",
    r"\bb[0-9a-z]{8}\b": "task",
    r"(?<=127\.0\.0\.1:)\d+": "port",
    r"(?<=duration_ms: )\d+": "ms",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z": "time",
}


def scenarios() -> Sequence[str]:
    return sorted(SCENES)


async def record(
    name: str, folder: Path, environment: dict[str, str], program: Path | None
) -> Recording:
    """One scene. Raises: AssertionError when its replay gives other steps than the run did."""
    del environment  # a scene has its own, below `folder`
    scene = SCENES[name]
    heard = folder / "heard.jsonl"
    async with claude_case(folder) as case:
        (case.cwd / "home").mkdir(exist_ok=True)
        case.env |= scene.environment
        cli = _between(folder / "cli", heard, program or bundled_cli(), scene.arguments)
        case.start_anew(cli=cli)
        steps = await play(case, scene, heard)
    stable = _stable(folder)
    log = [stable.of(entry) for entry in _read(heard)]
    told = Replay(schema=scene.schema).steps(log)
    seen = [stable.of(step_json(step)) for step in steps if _of_the_log(step)]
    _compare(name, told, seen)
    return Recording(program=_version(log), log=log, steps=told)


async def play(case: Case, scene: Scene, heard: Path) -> list[Step]:
    """The steps of a scene's last run; what came before it is not kept."""
    scene.prepare(case.cwd)
    session = await case.session()
    for prompt in scene.before:
        await case.run(prompt, session=session, **scene.request)
        await anyio.Path(heard).write_bytes(b"")
    return await case.run(
        "\n".join(scene.script),
        session=session,
        reply=scene.reply,
        on_step=scene.on_step,
        **scene.request,
    )


def _between(script: Path, heard: Path, program: Path, arguments: Sequence[str]) -> Path:
    """A program that is the CLI to everybody, and keeps what is said."""
    argv = [sys.executable, str(Path(tee.__file__)), str(heard), str(program)]
    more = shlex.join(arguments)
    script.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@" {more}\n', "utf-8")
    script.chmod(0o755)
    return script


def _stable(folder: Path) -> Stable:
    stable = Stable(IDS, FIXED)
    stable.place(str(folder), "/scene")
    stable.place(sys.executable, "/python")
    # The CLI names a project's folder by its path.
    stable.place(str(folder).replace("/", "-").replace("_", "-"), "-scene")
    return stable


def _read(heard: Path) -> list[JsonObject]:
    entries: list[JsonObject] = []
    for entry in heard.read_text("utf-8").split("\n"):
        if entry:
            who, text = json.decode(entry)
            line = json.decode_object(text)
            if kept(who, line):
                entries.append({who: line})
    return _told_first(entries)


def _told_first(entries: list[JsonObject]) -> list[JsonObject]:
    """The mode is confirmed before or after the prompt is there, as it happens."""
    at = next(at for at, entry in enumerate(entries) if CLI not in entry)
    return [entries[at], *entries[:at], *entries[at + 1 :]]


def _of_the_log(step: Step) -> bool:
    """Not those that are no word of the CLI: who began, signs of life, a repair asked for."""
    if isinstance(step, StatusChanged) and step.reason == "schema_mismatch":
        return False
    return not isinstance(step, Bound | RunStarted | CommandUpdated)


def _version(log: list[JsonObject]) -> str:
    lines: list[JsonObject] = [entry[CLI] for entry in log if CLI in entry]
    return next(
        (line["claude_code_version"] for line in lines if line.get("subtype") == "init"), ""
    )


def _by_time(step: JsonObject) -> bool:
    """Progress of a sub-agent is thinned out by time, which a log does not hold."""
    return "last_tool_name" in as_object(step.get("data"))


def _compare(name: str, told: list[JsonObject], seen: list[JsonObject]) -> None:
    """The order of what is asked and what is said can differ; nothing else may."""

    def sortable(steps: list[JsonObject]) -> list[str]:
        left = [step for step in steps if not _by_time(step)]
        return sorted(json.encode_sorted(_comparable(step)) for step in left)

    missing = [one for one in sortable(seen) if one not in sortable(told)]
    extra = [one for one in sortable(told) if one not in sortable(seen)]
    assert (missing, extra) == ([], []), f"{name}: only live {missing}; only replayed {extra}"


def _comparable(step: JsonObject) -> JsonObject:
    """Without the usage, which is a difference to what no log holds, and without the events that
    say what the session did itself."""
    data = {key: value for key, value in as_object(step.get("data")).items() if key != "usage"}
    if data.get("persisted_output_path"):
        del data["output"]  # live it is the whole
    return {**step, "data": data}
