"""Nothing that an agent started outlives its wrapper, its guardian, its program or its run.

Each round takes a real wrapper with a real agent whose command leaves behind whatever a command can
(see `brood`), and ends it in one of these ways at a random moment.
"""

import os
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.orphans import GONE_S, KILLS, SUBJECTS, Pen, Subject
from wrappers.codex.adapter import find_codex

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux lets a process answer for daemonised descendants"
)

CANCEL = "CancelTask"
FROZEN = "CancelTask when frozen"
NEXT = "all, and the next start"
# What a wrapper lives through, and what it does not.
FIRST = (CANCEL, FROZEN, "its program", "its guardian")
LAST = ("the wrapper", "wrapper and guardians", "SIGTERM", NEXT)
SAFE_S = 20.0  # far above what a cancel takes on a busy machine


@dataclass
class Tally:
    """What one way of ending did: who was alive, who survived, and how long it took."""

    alive: list[int] = field(default_factory=list[int])
    left: list[int] = field(default_factory=list[int])
    gone_s: list[float] = field(default_factory=list[float])
    answered_s: list[float] = field(default_factory=list[float])
    who: list[str] = field(default_factory=list[str])

    def row(self, subject: str, way: str) -> str:
        answered = f", cancelled {_spread(self.answered_s)}" if self.answered_s else ""
        return (
            f"{subject:20}{way:25}{len(self.left):4} times {sum(self.alive):5} alive"
            f"{sum(self.left):4} left after {GONE_S:.0f} s, gone {_spread(self.gone_s)}{answered}\n"
        )


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s (max {max(seconds):.2f})"


@dataclass(frozen=True, slots=True)
class Case:
    subject: Subject
    folder: Path
    environment: dict[str, str]
    chance: random.Random

    async def round(self, last: str, tallies: dict[str, Tally]) -> None:
        async with self.subject.serving(self.folder, self.environment) as pen:
            for way in (*FIRST, last):
                await self._end(pen, way, tallies[way])

    async def _end(self, pen: Pen, way: str, tally: Tally) -> None:
        task_id = await pen.hatch()
        tally.alive.append(await pen.some_time(self.chance))
        if way in (CANCEL, FROZEN):
            if way == FROZEN:
                pen.freeze_programs()
            await _cancel(pen, task_id, tally)
        else:
            KILLS[way](pen)
        if way in LAST:
            await pen.wrapper.process.wait()
        if way == NEXT:
            async with self.subject.serving(self.folder, self.environment):
                left, seconds = await pen.survivors()
        else:
            left, seconds = await pen.survivors()
        if left:
            alive = tally.alive[-1]
            tally.who.append(f"{way}, {alive} alive: {pen.described()}")
        pen.clear()
        tally.left.append(left)
        tally.gone_s.append(seconds)


async def _cancel(pen: Pen, task_id: str, tally: Tally) -> None:
    began = time.monotonic()
    ended = await pen.wrapper.rpc("CancelTask", {"id": task_id})
    tally.answered_s.append(time.monotonic() - began)
    assert ended["status"]["state"] == "TASK_STATE_CANCELED", ended


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
async def test_nothing_outlives_its_end(
    subject: Subject, rounds: int, environment: dict[str, str], tmp_path: Path
) -> None:
    if subject.agent == "codex" and find_codex(None, os.defpath) is None:
        pytest.skip("no codex program; the extra `codex` brings one")
    seed = random.randrange(2**32)
    case = Case(subject, tmp_path, environment, random.Random(seed))
    tallies = {way: Tally() for way in (*FIRST, *LAST)}
    start = SUBJECTS.index(subject)  # one round of each agent does everything once
    rounds = max(1, rounds // 3)  # of 20 s each
    try:
        for number in range(start, start + rounds):
            await case.round(LAST[number % len(LAST)], tallies)
    except BaseException as exc:
        exc.add_note(f"seed {seed}")
        raise
    rows = [tally.row(subject.name, way) for way, tally in tallies.items() if tally.left]
    sys.stdout.write("\n" + "".join(rows))
    left = [who for tally in tallies.values() for who in tally.who]
    assert not left, f"seed {seed}"
    assert max(tallies[CANCEL].answered_s + tallies[FROZEN].answered_s) < SAFE_S, f"seed {seed}"
