"""The log on a real SQLite file: locks, fences, permissions, and what survives."""

import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from sqlalchemy.exc import IntegrityError

from gateway.core.errors import FencedError, PayloadNotFoundError
from gateway.core.events import AgentMessage, RunStarted
from gateway.core.extension import CodingRequest
from gateway.core.messages import user_text
from gateway.core.record import Remote, Run, Session, apply
from gateway.core.redact import Limits
from gateway.core.status import RunStatus
from gateway.core.store.entry import Entry, Recorded
from gateway.core.store.log import RunLog
from gateway.core.store.sqlite import DatabaseLockedError, SqliteEngine
from gateway.core.writer import RunWriter

RUN = Run(
    id="r",
    context_id="c",
    principal="p",
    agent="a",
    backend="a",
    status=RunStatus.QUEUED,
    message=user_text("m", "go"),
    request=CodingRequest(cwd="/w", role="worker"),
    created_at=1,
    updated_at=1,
    metadata={"k": [1, None]},
)
SESSION = Session(
    id="c", principal="p", agent="a", backend="a", cwd="/w", created_at=1, updated_at=1
)


@asynccontextmanager
async def _log(folder: Path) -> AsyncGenerator[RunLog]:
    log = await RunLog.open(SqliteEngine(folder / "deep" / "runs.db"))
    try:
        yield log
    finally:
        await log.close()


def _writer(log: RunLog, run: Run) -> RunWriter:
    return RunWriter(log, run, clock=lambda: 7, limits=Limits())


async def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    async with _log(tmp_path) as log:
        await log.create(RUN, SESSION, None)
        writer = _writer(log, RUN)
        remote = Remote(agent="a", task_id="t", context_id="x", src_seq=4)
        await writer.emit(RunStarted(), remote=remote, backend_session_id="thread-1")
        await writer.flush()
        log_id = log.log_id
    async with _log(tmp_path) as log:
        assert (await log.get("r"), log.log_id) == (writer.run, log_id)
        session = await log.session("c")
        assert session is not None
        assert (session.backend_session_id, session.remote) == ("thread-1", remote)


async def test_only_the_owner_sees_the_files(tmp_path: Path) -> None:
    async with _log(tmp_path):
        folder = tmp_path / "deep"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


async def test_a_database_serves_one_process_at_a_time(tmp_path: Path) -> None:
    async with _log(tmp_path):
        with pytest.raises(DatabaseLockedError, match="another home"):
            SqliteEngine(tmp_path / "deep" / "runs.db")
    async with _log(tmp_path):
        pass


async def test_an_owner_that_lost_its_run_is_fenced_and_changes_nothing(tmp_path: Path) -> None:
    async with _log(tmp_path) as log:
        await log.create(RUN, SESSION, None)
        zombie = _writer(log, RUN)
        [claimed] = await log.claim_active("me")
        assert claimed.epoch == 1
        await zombie.emit(RunStarted())
        with pytest.raises(FencedError):
            await zombie.flush()
        with pytest.raises(FencedError):
            await zombie.emit(AgentMessage(text="again"))
        assert await log.read("r", 0, 9) == []


async def test_one_failing_append_does_not_take_its_neighbours_along(tmp_path: Path) -> None:
    async with _log(tmp_path) as log:
        for name in ("r", "s", "t"):
            session = replace(SESSION, id=name)
            await log.create(replace(RUN, id=name, context_id=name), session, None)
        good = [_writer(log, replace(RUN, id=name, context_id=name)) for name in ("r", "t")]
        broken = replace(RUN, id="s", context_id="s")
        entry = Entry(recorded=Recorded(seq=1, ts=1, type="x", status=RunStatus.QUEUED, data="{}"))
        failures: list[Exception] = []

        async def twice() -> None:
            try:
                after = apply(broken, RunStarted(), at=2)
                await log.append(broken, after, [entry, entry])
            except IntegrityError as exc:
                failures.append(exc)

        async with anyio.create_task_group() as group:
            group.start_soon(good[0].emit, RunStarted())
            group.start_soon(twice)
            group.start_soon(good[1].emit, RunStarted())
        for writer in good:
            await writer.flush()
        assert len(failures) == 1
        assert [len(await log.read(name, 0, 9)) for name in ("r", "s", "t")] == [1, 0, 1]


async def test_a_copied_event_is_stored_once(tmp_path: Path) -> None:
    async with _log(tmp_path) as log:
        await log.create(RUN, SESSION, None)
        writer = _writer(log, RUN)
        remote = Remote(agent="a", src_seq=1)
        await writer.emit(RunStarted(), remote=remote)
        await writer.emit(AgentMessage(text="again"), remote=remote)
        with pytest.raises(IntegrityError):
            await writer.flush()


async def test_the_tail_in_memory_and_the_table_tell_the_same(tmp_path: Path) -> None:
    async with _log(tmp_path) as log:
        await log.create(RUN, SESSION, None)
        writer = _writer(log, RUN)
        await writer.emit(RunStarted())
        for n in range(500):
            await writer.emit(AgentMessage(text=str(n)))
        await writer.flush()
        live = {after: await log.read("r", after, 100) for after in (0, 430, 437, 480, 501)}
    async with _log(tmp_path) as log:
        assert {after: await log.read("r", after, 100) for after in live} == live
        assert [e.seq for e in await log.read("r", 0, 3, types=["agent_message"])] == [2, 3, 4]


async def test_an_unknown_payload_names_those_there_are(tmp_path: Path) -> None:
    async with _log(tmp_path) as log:
        await log.create(RUN, SESSION, None)
        writer = _writer(log, RUN)
        await writer.emit(RunStarted(), AgentMessage(text="x" * 5000))
        await writer.flush()
        with pytest.raises(PayloadNotFoundError, match="it has: /text"):
            await log.payload("r", 2, "/stdout", 0, 10)
        with pytest.raises(PayloadNotFoundError, match="it has: none"):
            await log.payload("r", 9, "/text", 0, 10)
