"""Who owns a run, where several processes serve one database: both engines, the same statements."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from gateway.core.errors import FencedError
from gateway.core.events import AgentMessage, RunStarted
from gateway.core.record import Run
from gateway.core.secrets import Mask
from gateway.core.store.log import RunLog
from gateway.core.store.open import bring_up
from gateway.core.store.ownership import claim, heartbeat, release
from gateway.core.store.postgres import PostgresEngine
from gateway.core.store.schema import metadata
from gateway.core.store.sqlite import SqliteEngine
from tests.contract.engines import KINDS, Database, Kind, empty_database
from tests.contract.runs import DONE, a_run, a_session, a_writer

LONG_S = 60.0
OVER_S = -1.0  # expired when it is said


@dataclass(frozen=True)
class Shared:
    database: Database
    engine: SqliteEngine | PostgresEngine
    log: RunLog

    async def beat(self, replica: str, ttl_s: float = LONG_S) -> None:
        await self.engine.write(lambda c: heartbeat(c, replica, ttl_s))

    async def claim(self, replica: str, limit: int = 100) -> list[Run]:
        return await self.engine.write(lambda c: claim(c, replica, limit))


@pytest.fixture(params=KINDS)
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shared]:
    kind: Kind = request.param
    database = empty_database(kind, tmp_path, request)
    engine = database.engine()
    log = RunLog(engine, await engine.set_up(bring_up), Mask())
    yield Shared(database, engine, log)
    await log.close()


async def stored(shared: Shared, count: int) -> list[str]:
    ids = [f"run-{n:03}" for n in range(count)]
    await asyncio.gather(*(shared.log.create(a_run(id_), a_session(id_), None) for id_ in ids))
    return ids


def test_a_claim_looks_at_active_runs_alone() -> None:
    """However many have ended: they stand in an index of their own, and few are in it."""
    asked: list[tuple[str, Any]] = []

    def see(_c: object, _cursor: object, said: str, values: Any, _x: object, _many: bool) -> None:
        asked.append((said, values))

    with sa.create_engine("sqlite://").connect() as connection:
        metadata.create_all(connection)
        event.listen(connection, "before_cursor_execute", see)
        claim(connection, "one", 5, besides=set())
        statement, values = next(one for one in asked if one[0].startswith("SELECT runs.id"))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    assert plan[0][3] == "SCAN runs USING INDEX ix_runs_active"


async def test_runs_of_nobody_are_claimed_oldest_first_under_a_new_epoch(shared: Shared) -> None:
    ids = await stored(shared, 5)
    await shared.beat("one")
    claimed = await shared.claim("one", limit=3)
    assert [(run.id, run.epoch) for run in claimed] == [(id_, 1) for id_ in ids[:3]]
    assert [run.id for run in await shared.claim("one")] == ids[3:]
    assert await shared.claim("one") == []


async def test_competing_claimers_get_different_runs(shared: Shared) -> None:
    ids = await stored(shared, 200)
    engines = [shared.engine]
    if shared.database.kind == "postgres":
        engines = [shared.database.engine() for _ in range(4)]
    got: dict[str, list[str]] = {}

    async def take(n: int) -> None:
        engine, name = engines[n % len(engines)], f"replica-{n}"
        await engine.write(lambda c: heartbeat(c, name, LONG_S))
        got[name] = []
        while some := await engine.write(lambda c: claim(c, name, 7)):
            got[name] += [run.id for run in some]

    await asyncio.gather(*(take(n) for n in range(4)))
    claimed = [id_ for some in got.values() for id_ in some]
    # One that skipped what another was taking may stop early; what is left is free for the next.
    await shared.beat("last")
    claimed += [run.id for run in await shared.claim("last", limit=200)]
    assert sorted(claimed) == ids
    for engine in engines:
        if engine is not shared.engine:
            await engine.close()


async def test_what_an_expired_replica_owned_is_claimed_and_a_live_ones_is_not(
    shared: Shared,
) -> None:
    ids = await stored(shared, 2)
    await shared.beat("dying")
    await shared.beat("living")
    assert [run.id for run in await shared.claim("dying", limit=1)] == ids[:1]
    assert [run.id for run in await shared.claim("living", limit=1)] == ids[1:]
    await shared.beat("heir")
    assert await shared.claim("heir") == []
    await shared.beat("dying", OVER_S)
    assert [(run.id, run.epoch) for run in await shared.claim("heir")] == [(ids[0], 2)]


async def test_a_replica_that_says_goodbye_leaves_its_runs_at_once(shared: Shared) -> None:
    ids = await stored(shared, 2)
    await shared.beat("leaving")
    await shared.claim("leaving")
    await shared.engine.write(lambda c: release(c, "leaving"))
    await shared.beat("heir")
    assert [run.id for run in await shared.claim("heir")] == ids


async def test_appends_of_the_old_epoch_are_fenced_and_those_of_the_new_go_on(
    shared: Shared,
) -> None:
    await stored(shared, 1)
    await shared.beat("one")
    [before] = await shared.claim("one")
    zombie = a_writer(shared.log, before)
    await zombie.emit(RunStarted())
    await zombie.flush()
    await shared.beat("one", OVER_S)
    await shared.beat("two")
    [after] = await shared.claim("two")
    assert (after.last_seq, after.epoch) == (1, 2)
    await zombie.emit(AgentMessage(text="I am still here"))
    with pytest.raises(FencedError):
        await zombie.flush()
    heir = a_writer(shared.log, after)
    await heir.emit(AgentMessage(text="mine"))
    await heir.flush()
    assert [event.seq for event in await shared.log.read(after.id, 0, 9)] == [1, 2]


async def test_ended_runs_are_nobodys(shared: Shared) -> None:
    await stored(shared, 1)
    [run] = await shared.claim("one")
    writer = a_writer(shared.log, run)
    await writer.emit(RunStarted(), DONE)
    await writer.flush()
    assert await shared.claim("two") == []


async def test_a_replica_started_anew_takes_up_what_it_had(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for kind in KINDS:
        database = empty_database(kind, tmp_path, request)
        first = await database.log()
        assert await first.claim_active("home-1") == []
        await first.create(a_run("r"), a_session("r"), None)
        if kind == "postgres":  # still alive, as far as anybody knows
            other = await database.log()
            assert await other.claim_active("home-2") == []
            await other.close()
            second = await database.log()
            assert [run.id for run in await second.claim_active("home-1")] == ["r"]
            await second.close()
            await first.close()
        else:
            await first.close()
            second = await database.log()
            assert [run.id for run in await second.claim_active("another")] == ["r"]
            await second.close()
