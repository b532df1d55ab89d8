"""What is let go of, and what is not: on both engines, by a clock that the test holds."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import anyio
import pytest
import sqlalchemy as sa

from gateway.core.errors import PayloadNotFoundError, ReplayError
from gateway.core.events import AgentMessage, ArtifactAdded, RunCompleted, RunStarted
from gateway.core.extension import CodingRequest
from gateway.core.keep import Keep
from gateway.core.life.keeping import Keeping
from gateway.core.life.writer import RunWriter
from gateway.core.messages import user_text
from gateway.core.record import Run, Session
from gateway.core.redact import Limits
from gateway.core.status import RunStatus
from gateway.core.store.entry import RequestKey
from gateway.core.store.listing import RunQuery
from gateway.core.store.log import RunLog
from gateway.core.store.retention import (
    CHUNKS_BATCH,
    EVENTS_BATCH,
    RUNS_BATCH,
    Swept,
    sweep_older,
    sweep_oldest,
)
from gateway.core.store.schema import metadata, runs, sessions
from tests.bench.bigstore import BETWEEN, PRINCIPAL, START, fill
from tests.contract.engines import KINDS, Database, Kind, empty_database

DAY: Final = 24 * 3600 * 1_000_000
RUN: Final = Run(
    id="r",
    context_id="c",
    principal=PRINCIPAL,
    agent="a",
    backend="a",
    status=RunStatus.QUEUED,
    message=user_text("m", "go"),
    request=CodingRequest(cwd="/w", labels={"k": "v"}),
    created_at=1,
    updated_at=1,
    status_at=1,
)
SESSION: Final = Session(
    id="c", principal=PRINCIPAL, agent="a", backend="a", cwd="/w", created_at=1, updated_at=1
)
DONE: Final = RunCompleted(final_response="done")


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    kind: Kind = request.param
    return empty_database(kind, tmp_path, request)


@asynccontextmanager
async def _opened(database: Database) -> AsyncGenerator[RunLog]:
    log = await database.log()
    try:
        yield log
    finally:
        await log.close()


async def _begin(log: RunLog, name: str, *, session: str | None = None) -> RunWriter:
    run = replace(RUN, id=name, context_id=session or name)
    key = RequestKey(scope="s", key=name, digest="d")
    stored = await log.create(run, replace(SESSION, id=run.context_id), key)
    return RunWriter(log, stored, clock=lambda: 1000, limits=Limits())


async def _end(log: RunLog, name: str, *, at: int, session: str | None = None) -> None:
    """A run of three events that ended at `at`; its message is large enough to be split."""
    writer = await _begin(log, name, session=session)
    timed = RunWriter(log, writer.run, clock=lambda: at, limits=Limits())
    await timed.emit(RunStarted(), AgentMessage(text="x" * 5000), DONE)
    await timed.flush()


def _keeping(log: RunLog, now: int, finished: timedelta | None, most: int | None = None) -> Keeping:
    return Keeping(log, Keep(finished=finished, bytes_=most), clock=lambda: now)


async def _all_of_it(log: RunLog, before: int) -> list[Swept]:
    batches: list[Swept] = []

    def operation(connection: sa.Connection) -> Swept:
        return sweep_older(connection, before)

    while (swept := await log.let_go(operation)).anything:
        batches.append(swept)
    return batches


# -- past their time -----------------------------------------------------------------------------


async def test_runs_past_their_time_go_with_all_that_is_theirs_and_no_other(
    database: Database,
) -> None:
    await fill(database.place, runs=300, events=2000, active=6)
    half = START + 150 * BETWEEN
    async with _opened(database) as log:
        before = (await log.list_runs(PRINCIPAL, RunQuery(limit=200))).runs
        await _keeping(log, half + 7 * DAY, timedelta(days=7)).sweep()
        after = (await log.list_runs(PRINCIPAL, RunQuery(limit=200))).runs
        kept = {run.id for run in after}
        assert {run.id for run in before} - kept == {
            run.id for run in before if run.completed_at is not None and run.completed_at < half
        }
        assert all((run.completed_at or half) >= half for run in after)
        assert len([run for run in after if not run.terminal]) == 6
        assert [event.seq for event in await log.read(after[-1].id, 0, 9)][:2] == [1, 2]
    async with database.opened() as engine:
        for table in metadata.tables.values():
            if "run_id" in table.c:
                owners = await engine.read(
                    lambda connection, table=table: set(
                        connection.scalars(sa.select(table.c.run_id).distinct())
                    )
                )
                assert owners <= kept, table.name
        contexts = await engine.read(
            lambda connection: (
                set(connection.scalars(sa.select(sessions.c.id))),
                set(connection.scalars(sa.select(runs.c.context_id))),
            )
        )
        assert contexts[0] == contexts[1]


async def test_a_run_that_is_gone_is_unknown_and_its_key_is_free(database: Database) -> None:
    async with _opened(database) as log:
        await _end(log, "old", at=10)
        assert await log.get("old") is not None
        await _keeping(log, DAY, timedelta(hours=1)).sweep()
        assert await log.get("old") is None
        assert await log.session("old") is None
        assert await log.read("old", 0, 9) == []
        with pytest.raises(PayloadNotFoundError):
            await log.payload("old", 2, "/text", 0, 10)
        other = replace(RUN, id="new", context_id="new")
        again = RequestKey(scope="s", key="old", digest="other")
        made = await log.create(other, replace(SESSION, id="new"), again)
        assert made.id == "new"


async def test_a_session_stays_while_it_has_a_run(database: Database) -> None:
    async with _opened(database) as log:
        await _end(log, "old", at=10, session="shared")
        young = await _begin(log, "young", session="shared")
        await _all_of_it(log, DAY)
        assert (await log.get("old"), await log.session("shared") is None) == (None, False)
        await young.emit(RunStarted(), DONE)
        await young.flush()
        await _all_of_it(log, DAY)
        assert (await log.get("young"), await log.session("shared")) == (None, None)


async def test_what_has_not_ended_is_kept_however_old_and_large(database: Database) -> None:
    async with _opened(database) as log:
        writer = await _begin(log, "going")
        await writer.emit(RunStarted(), *(AgentMessage(text="x" * 5000) for _ in range(9)))
        await writer.flush()
        await _keeping(log, 10**18, timedelta(microseconds=1), 1).sweep()
        assert len(await log.read("going", 0, 99)) == 10
        await writer.emit(DONE)
        await writer.flush()
        assert len(await log.read("going", 10, 99)) == 1


# -- batches -------------------------------------------------------------------------------------


async def test_many_runs_go_in_small_batches_oldest_first(database: Database) -> None:
    await fill(database.place, runs=100, events=1000, active=0)
    async with _opened(database) as log:
        counts = {
            run.id: run.last_seq
            for run in (await log.list_runs(PRINCIPAL, RunQuery(limit=200))).runs
        }
        batches = await _all_of_it(log, 10**18)
        assert sorted(run_id for swept in batches for run_id in swept.deleted) == sorted(counts)
        for swept in batches:
            assert len(swept.deleted) <= RUNS_BATCH
            assert sum(counts[run_id] for run_id in swept.deleted) <= EVENTS_BATCH


async def test_a_long_run_goes_piece_by_piece_and_an_older_cursor_is_told(
    database: Database,
) -> None:
    many = 2 * EVENTS_BATCH + 10
    async with _opened(database) as log:
        writer = await _begin(log, "long")
        await writer.emit(RunStarted())
        for n in range(many - 2):
            await writer.emit(AgentMessage(text=str(n)))
        await writer.emit(DONE)
        await writer.flush()
        first = await log.let_go(lambda connection: sweep_older(connection, DAY))
        assert (first.emptied, first.deleted) == (("long",), ())
        run = await log.get("long")
        assert run is not None
        assert run.first_seq == EVENTS_BATCH + 1
        with pytest.raises(ReplayError, match="read on after") as told:
            await log.read("long", 0, 10)
        assert (told.value.code, told.value.first_seq) == ("replay_expired", run.first_seq)
        with pytest.raises(ReplayError):
            await log.read("long", run.first_seq - 2, 10, types=["agent_message"])
        rest = await log.read("long", run.first_seq - 1, many)
        assert [event.seq for event in rest] == list(range(run.first_seq, many + 1))
        assert await log.read("long", many, 9) == []
        later = await _all_of_it(log, DAY)
        assert [swept.deleted for swept in later] == [(), ("long",)]


async def test_large_payloads_are_few_to_a_batch(database: Database) -> None:
    # 60 payloads of two rows each; an event loses all of its payload or none.
    async with _opened(database) as log:
        writer = await _begin(log, "large")
        await writer.emit(RunStarted(), *(AgentMessage(text="x" * 100_000) for _ in range(60)))
        await writer.emit(DONE)
        await writer.flush()
        batches = await _all_of_it(log, DAY)
        assert len(batches) >= 2 * 60 // CHUNKS_BATCH
        assert batches[-1].deleted == ("large",)
        assert sum(swept.freed for swept in batches) >= 60 * 100_000


# -- where room is short -------------------------------------------------------------------------


async def test_where_room_is_short_events_go_first_and_records_keep_their_results(
    database: Database,
) -> None:
    async with _opened(database) as log:
        for n in range(3):
            await _end(log, f"r{n}", at=10 + n)
        swept = await log.let_go(sweep_oldest)
        assert (swept.emptied, swept.deleted) == (("r0", "r1", "r2"), ())
        assert swept.freed >= 3 * 5000
        run = await log.get("r0")
        assert run is not None
        assert run.result is not None
        assert (run.result.final_response, run.first_seq, run.last_seq) == ("done", 4, 3)
        with pytest.raises(ReplayError, match="before 4; read on after 3"):
            await log.read("r0", 0, 9)
        assert await log.read("r0", 3, 9) == []
        await _end(log, "r3", at=13)
        assert (await log.let_go(sweep_oldest)).emptied == ("r3",)
        assert (await log.let_go(sweep_oldest)).deleted == ("r0", "r1", "r2", "r3")
        assert not (await log.let_go(sweep_oldest)).anything


async def test_room_is_made_up_to_the_bound_and_no_further(database: Database) -> None:
    async with _opened(database) as log:
        for n in range(3 * RUNS_BATCH):
            await _end(log, f"r{n:03}", at=10 + n)
        size = await log.stored_bytes()
        await _keeping(log, DAY, None, size - 1).sweep()
        kept = (await log.list_runs(PRINCIPAL, RunQuery(limit=200))).runs
        assert len(kept) == 3 * RUNS_BATCH
        whole = [run for run in kept if run.first_seq == 1]
        assert 0 < len(whole) < len(kept)
        ended = [run.completed_at for run in kept if run.first_seq > 1]
        assert max(at or 0 for at in ended) < min(run.completed_at or 0 for run in whole)
        assert await log.stored_bytes() < size


async def test_a_run_without_events_is_shown_without_its_artifacts(database: Database) -> None:
    async with _opened(database) as log:
        writer = await _begin(log, "r")
        await writer.emit(
            RunStarted(), ArtifactAdded(artifact_id="x", name="x", parts=[{"text": "x"}]), DONE
        )
        await writer.flush()
        await log.let_go(sweep_oldest)
        run = await log.get("r")
        assert run is not None
        assert run.result is not None
        assert (run.result.final_response, run.result.artifacts) == ("done", ())


async def test_freed_pages_are_used_again(tmp_path: Path) -> None:
    # The file of a database does not shrink; what matters is that it does not grow either.
    place = tmp_path / "runs.db"
    await fill(place, runs=1000, events=6000, active=0, seed=1)
    log = await Database("sqlite", place).log()
    size, used = place.stat().st_size, await log.stored_bytes()
    await _all_of_it(log, 10**18)
    assert await log.stored_bytes() < used / 4
    await log.close()
    await fill(place, runs=1000, events=6000, active=0, seed=2)
    assert place.stat().st_size < size * 1.1


# -- the task ------------------------------------------------------------------------------------


async def test_the_task_sweeps_at_its_start_and_ends_with_its_block(database: Database) -> None:
    async with _opened(database) as log:
        await _end(log, "old", at=10)
        async with _keeping(log, DAY, timedelta(hours=1)).running():
            with anyio.fail_after(10):
                while await log.get("old") is not None:
                    await anyio.lowlevel.checkpoint()
        await _end(log, "kept", at=10)
        async with _keeping(log, DAY, None).running():
            pass
        assert await log.get("kept") is not None


async def test_a_failing_sweep_is_told_and_ends_nothing(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> int:
        raise RuntimeError("no clock")

    async with _opened(database) as log:
        keeping = Keeping(log, Keep(finished=timedelta(days=1)), clock=broken)
        with caplog.at_level(logging.ERROR):
            async with keeping.running():
                with anyio.fail_after(10):
                    while "it is tried again" not in caplog.text:
                        await anyio.lowlevel.checkpoint()
