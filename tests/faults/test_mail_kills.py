"""kill -9 while agents write to one another: what was acknowledged is there, once, in its place."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from gateway.core.store.log import RunLog
from gateway.core.store.mail import KEPT_MAX, Letter
from tests.contract.engines import KINDS, Database, Kind, empty_database
from tests.faults.postman import ME, NAMES

START_S = 60.0


async def _write(database: Database, kill_after_s: float) -> list[tuple[int, str, str]]:
    """What was acknowledged until the kill: (seq, recipient, key)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.postman", str(database.place), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    lines: list[bytes] = []
    try:
        with anyio.fail_after(START_S):
            assert await process.stdout.readline() == b"ready\n"
        with anyio.move_on_after(kill_after_s):
            while line := await process.stdout.readline():
                lines.append(line)
    finally:
        process.kill()
        rest, _ = await process.communicate()
    told = b"".join(lines) + rest
    whole = told[: told.rfind(b"\n") + 1].decode().splitlines()
    return [(int(seq), name, key) for seq, name, key in (line.split() for line in whole)]


async def _letters(log: RunLog, name: str) -> list[Letter]:
    [session] = await log.agents.find(ME, name)
    return (await log.mail.fetch(session.id, 0, KEPT_MAX)).letters


@pytest.mark.promise("mail.kept")
@pytest.mark.parametrize("kind", KINDS)
async def test_no_message_that_was_acknowledged_is_lost_or_doubled_by_a_kill(
    kind: Kind, rounds: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database = empty_database(kind, tmp_path, request)
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    acknowledged: dict[str, dict[str, int]] = {name: {} for name in NAMES}
    for _ in range(rounds):
        for seq, name, key in await _write(database, chance.uniform(0, 0.3)):
            acknowledged[name][key] = seq
        log = await database.log()
        for name in NAMES:
            kept = {
                letter.seq: letter.body["parts"][0]["text"] for letter in await _letters(log, name)
            }
            first, last = min(kept, default=1), max(kept, default=0)
            assert sorted(kept) == list(range(first, last + 1)), seed
            assert len(set(kept.values())) == len(kept), seed
            assert max(acknowledged[name].values(), default=0) <= last, seed
            known = {seq: key for key, seq in acknowledged[name].items() if seq >= first}
            assert known == {seq: kept[seq] for seq in known}, seed
        await log.close()
    said = sum(len(keys) for keys in acknowledged.values())
    sys.stdout.write(f"\n{rounds} kills, {kind}: {said} messages acknowledged, none lost\n")
