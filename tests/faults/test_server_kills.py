"""kill -9 of a task server at random moments under load, on each engine.

Nothing that a caller was told is lost, nothing happens twice, no state is false. Rounds share one
database: what a kill left behind meets the next.
"""

import random
import sys
from collections import Counter
from pathlib import Path

import anyio

from tests.faults import ledger
from tests.faults.crowd import Crowd, Promise, kept
from tests.faults.ledger import Ask
from tests.faults.served import serving
from tests.postgres import Server

LOAD_S = 0.6  # of work at most, then the kill


async def _loaded(database: object, chance: random.Random) -> list[Promise]:
    """Promises of a server that was killed while it kept them."""
    crowd = Crowd(chance)
    async with serving(database) as on, anyio.create_task_group() as group:
        group.start_soon(crowd.work, on)
        with anyio.move_on_after(chance.uniform(0.01, LOAD_S)):
            await anyio.Event().wait()  # for nothing: the moment is the point of this test
        await on.kill()
    return crowd.promises


async def _killed_over_and_over(database: object, ask: Ask, rounds: int) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    total: Counter[str] = Counter()
    events = 0
    try:
        for _ in range(rounds):
            promises = await _loaded(database, chance)
            events += sum(len(promise.seen) for promise in promises)
            async with serving(database) as on:
                total += await kept(on, promises)
            ledger.check(ask, total.total())
    except BaseException as exc:
        exc.add_note(f"seed {seed}")
        raise
    ends = ", ".join(f"{number} {end}" for end, number in sorted(total.items()))
    sys.stdout.write(f"\n{rounds} kills, {events} streamed events: {ends}\n")


async def test_a_killed_server_keeps_what_it_promised_on_sqlite(
    rounds: int, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"
    await _killed_over_and_over(path, ledger.of_file(path), rounds)


async def test_a_killed_server_keeps_what_it_promised_on_postgres(
    rounds: int, postgres_server: Server, postgres_url: str
) -> None:
    ask = ledger.of_server(postgres_server, postgres_url)
    await _killed_over_and_over(postgres_url, ask, rounds)
