"""kill -9 of real clients at random moments: what they began is done, and done once.

Each round a client asks for a run under a key and is killed; a client of the other kind asks for the
same under the same key, and gets the outcome of the one run that there is.
"""

import random
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from gateway.core.json import JsonObject
from tests.e2e.callers import KINDS, Caller, Place, place

WAYS = ((), ("--http",))
LATEST_S = 3.0  # by then it has told its outcome
STEPS = 30


@pytest.fixture
async def here(tmp_path: Path) -> AsyncGenerator[Place]:
    async with place(tmp_path) as made:
        yield made


@pytest.mark.promise("caller.gone", "spawn.once")
async def test_what_killed_clients_began_is_done_once(here: Place, rounds: int) -> None:
    chance = random.Random(6)
    await here.gateway()
    for number in range(max(1, rounds // 3)):
        project = here.folder / f"project-{number}"
        project.mkdir()
        job: JsonObject = {
            "backend": "codex",
            "role": "worker",
            "prompt": f"@stream {STEPS} 0.02 tick\n@say done",
            "cwd": str(project),
            "session_mode": "new",
            "request_key": f"round {number}",
        }
        kinds = KINDS if number % 2 else KINDS[::-1]
        way = WAYS[number // 2 % 2]
        killed, other = (Caller(kind, here, project) for kind in kinds)
        await killed.configure(*way)
        process = await killed.start("once", job=job)
        with anyio.move_on_after(chance.uniform(0.3, LATEST_S)):
            await process.wait()
        if process.returncode is None:
            process.kill()
        await killed.finished(process)
        await other.configure(*way)
        outcome = (await other.play("once", job=job)).outcome
        assert (outcome["status"], outcome["runs"]) == ("completed", 1), (kinds, way, outcome)
