"""Plays a scenario with the real Codex and keeps what its fold was told.

Its process, session and wire are the product's own; the model is scripted.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
import pytest

from gateway.core.json import JsonObject, as_object
from tests.models import codex_program, mcp_desk
from tests.wrappers.codex_bench import PATIENCE_S, Bench, codex_bench, turn_of
from tests.wrappers.recorded.codex.folds import RecordingFold, Tape, replay
from tests.wrappers.recorded.codex.scenarios import SCENARIOS, Scenario
from tests.wrappers.recorded.logs import Recording
from tests.wrappers.recorded.stable import UUID, Stable
from wrappers.adapter import Ask
from wrappers.codex import live

ROLLOUT: Final = r"sessions/\d{4}/\d\d/\d\d/rollout-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-"
IDS: Final = {
    ROLLOUT: "rollout",
    UUID: "id",
    r"\b(?:call|msg|rs|ws|fc|ctc|resp)_[0-9a-f]{16}\b": "item",
}
# Members that tell of this time and this machine.
FIXED: Final[JsonObject] = {
    "cliVersion": "0",
    "completedAt": 0,
    "completedAtMs": 0,
    "createdAt": 0,
    "durationMs": 0,
    "duration_ms": 0,
    "emittedAtMs": 0,
    "processId": "1",
    "recencyAt": 0,
    "startedAt": 0,
    "startedAtMs": 0,
    "updatedAt": 0,
}
TAIL: Final = 12  # characters of a turn's id that a request's begins with


def scenarios() -> Sequence[str]:
    return tuple(SCENARIOS)


async def record(
    name: str, folder: Path, environment: dict[str, str], program: Path | None
) -> Recording:
    """Raises: ValueError when the log does not become again what Codex's messages became."""
    scenario, tape = SCENARIOS[name], Tape()
    recording = type("OnTape", (RecordingFold,), {"tape": tape})
    with pytest.MonkeyPatch.context() as patch, codex_program.using(program):
        patch.setattr(live, "TurnFold", recording)
        async with codex_bench(folder, environment, extra=_desk(scenario)) as bench:
            bench.settings(scenario.settings, scenario.features)
            await _play(scenario, bench, tape)
        asked = [codex_program.codex_program(), "--version"]
        version = (await anyio.run_process(asked, env=environment)).stdout.decode().strip()
    stable = _stable(tape, folder)
    made = Recording(program=version, log=stable.of(tape.log), steps=stable.of(tape.steps))
    if (again := replay(made.log)) != made.steps:
        raise ValueError(f"{name}: the log makes {again}, where the run made {made.steps}")
    return made


async def _play(scenario: Scenario, bench: Bench, tape: Tape) -> None:
    session, at = await bench.open(), scenario.at
    with anyio.fail_after(PATIENCE_S):
        for number, said in enumerate(scenario.says):
            turn = turn_of(said, run_id=f"r-{number}", **scenario.request)
            async for step in session.run(turn):
                tape.yielded(step)
                if at is not None and isinstance(step, at):
                    await scenario.act(session)
                    at = None
                if isinstance(step, Ask) and scenario.reply is not None:
                    await session.answer(scenario.reply(step.request))


def _desk(scenario: Scenario) -> str:
    if not scenario.desk:
        return ""
    args = f'command = "{sys.executable}"\nargs = ["{mcp_desk.__file__}"]'
    # Without `required` a turn that starts at once does not have its tools yet.
    return f"[mcp_servers.desk]\n{args}\nrequired = true\n"


def _stable(tape: Tape, folder: Path) -> Stable:
    stable = Stable(IDS, FIXED)
    stable.place(str(folder), "/folder")
    stable.place(folder.name, "folder")  # a diff's paths begin somewhere else
    for line in tape.log:
        params = as_object(line.get("params"))
        for thread in (line.get("fold"), line.get("thread")):
            if thread:
                stable.learn(thread, "thread")
        for turn in (
            line.get("begin"),
            params.get("turnId"),
            as_object(params.get("turn")).get("id"),
        ):
            if isinstance(turn, str) and re.fullmatch(UUID, turn):
                stable.alias(turn[-TAIL:], stable.learn(turn, "turn"))
    return stable
