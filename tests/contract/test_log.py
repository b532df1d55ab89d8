"""The run log on a real database: one suite, both engines. What was appended is what is read."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from gateway.core import json
from gateway.core.errors import (
    FencedError,
    InvalidInputError,
    PayloadNotFoundError,
    RequestConflictError,
)
from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    CommandFinished,
    RunCompleted,
    RunStarted,
)
from gateway.core.record import AfterTerminalError, Remote, apply
from gateway.core.secrets import Mask
from gateway.core.status import TERMINAL, RunStatus
from gateway.core.store import live as live_module
from gateway.core.store import log as log_module
from gateway.core.store.batch import Append
from gateway.core.store.engine import Operation
from gateway.core.store.entry import Entry, Recorded, RequestKey
from gateway.core.store.log import RunLog
from gateway.core.store.open import bring_up
from gateway.core.store.postgres import PostgresEngine
from gateway.core.store.schema import events, runs
from gateway.core.store.sqlite import SqliteEngine
from tests.contract.engines import KINDS, Database, Kind, empty_database
from tests.contract.runs import DONE, RUN, SESSION, a_run, a_session, a_writer


@dataclass
class Store:
    """A log, and a look past it at its database."""

    database: Database
    engine: SqliteEngine | PostgresEngine
    log: RunLog

    async def reopen(self) -> RunLog:
        """The log as a process that starts now finds it: nothing in memory."""
        await self.log.close()
        self.engine = self.database.engine()
        self.log = RunLog(self.engine, await self.engine.set_up(bring_up), Mask())
        return self.log


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    kind: Kind = request.param
    database = empty_database(kind, tmp_path, request)
    engine = database.engine()
    made = Store(database, engine, RunLog(engine, await engine.set_up(bring_up), Mask()))
    yield made
    await made.log.close()


@pytest.fixture
def log(store: Store) -> RunLog:
    return store.log


# -- what is stored ------------------------------------------------------------------------------


async def test_a_record_is_read_back_as_it_was_written(store: Store) -> None:
    await store.log.create(RUN, SESSION, None)
    writer = a_writer(store.log, RUN)
    remote = Remote(agent="a", task_id="t", context_id="x", src_seq=4)
    await writer.emit(RunStarted(), remote=remote, backend_session_id="thread-1")
    await writer.flush()
    log_id = store.log.log_id
    log = await store.reopen()
    assert (await log.get("r"), log.log_id) == (writer.run, log_id)
    session = await log.session("c")
    assert session is not None
    assert (session.backend_session_id, session.remote) == ("thread-1", remote)


async def test_many_runs_at_once_each_get_their_events_without_a_gap(store: Store) -> None:
    ids = [f"r{n}" for n in range(60)]
    await asyncio.gather(*(store.log.create(a_run(id_), a_session(id_), None) for id_ in ids))

    async def work(id_: str) -> None:
        writer = a_writer(store.log, a_run(id_))
        await writer.emit(RunStarted())
        for n in range(20):
            await writer.emit(AgentMessage(text=f"{id_} {n}"))
            if n % 7 == 0:
                await writer.flush()
        await writer.emit(DONE)
        await writer.flush()

    await asyncio.gather(*(work(id_) for id_ in ids))
    log = await store.reopen()
    for id_ in ids:
        read = await log.read(id_, 0, 100)
        assert [event.seq for event in read] == list(range(1, 23))
        texts = [json.decode_object(e.data)["text"] for e in read if e.type == "agent_message"]
        assert texts == [f"{id_} {n}" for n in range(20)]
        run = await log.get(id_)
        assert run is not None
        assert (run.status, run.last_seq) == (RunStatus.COMPLETED, 22)


async def test_status_result_and_terminal_event_appear_together(store: Store) -> None:
    def look(connection: sa.Connection) -> tuple[str, bool, str | None]:
        row = connection.execute(sa.select(runs.c.status, runs.c.result)).one()
        last = sa.select(events.c.type).order_by(events.c.seq.desc()).limit(1)
        return row.status, row.result is not None, connection.scalar(last)

    seen: set[tuple[str, bool, str | None]] = set()
    await store.log.create(RUN, SESSION, None)
    writer = a_writer(store.log, RUN)

    async def watch() -> None:
        while True:
            seen.add(await store.engine.read(look))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        for event in (RunStarted(), *(AgentMessage(text="x") for _ in range(20)), DONE):
            await writer.emit(event)
            await writer.flush()
        seen.add(await store.engine.read(look))
        group.cancel_scope.cancel()
    ended = {view for view in seen if view[0] in TERMINAL or view[1] or view[2] == DONE.type}
    assert ended == {("completed", True, "run_completed")}


async def test_nothing_is_appended_after_the_end(log: RunLog) -> None:
    await log.create(RUN, SESSION, None)
    writer = a_writer(log, RUN)
    await writer.emit(RunStarted(), DONE)
    await writer.flush()
    with pytest.raises(AfterTerminalError):
        await writer.emit(AgentMessage(text="more"))
    late = apply(RUN, RunStarted(), at=2)
    with pytest.raises(FencedError):
        await log.append(RUN, late, [an_entry(1)])
    assert len(await log.read("r", 0, 9)) == 2


async def test_an_owner_that_lost_its_run_is_fenced_and_changes_nothing(log: RunLog) -> None:
    await log.create(RUN, SESSION, None)
    zombie = a_writer(log, RUN)
    [claimed] = await log.claim_active("me")
    assert claimed.epoch == 1
    await zombie.emit(RunStarted())
    with pytest.raises(FencedError):
        await zombie.flush()
    with pytest.raises(FencedError):
        await zombie.emit(AgentMessage(text="again"))
    assert await log.read("r", 0, 9) == []


async def test_one_failing_append_does_not_take_its_neighbours_along(log: RunLog) -> None:
    for name in ("r", "s", "t"):
        await log.create(a_run(name), a_session(name), None)
    good = [a_writer(log, a_run(name)) for name in ("r", "t")]
    broken = a_run("s")
    failures: list[Exception] = []

    async def twice() -> None:
        try:
            after = apply(broken, RunStarted(), at=2)
            await log.append(broken, after, [an_entry(1), an_entry(1)])
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


async def test_a_copied_event_is_stored_once(log: RunLog) -> None:
    await log.create(RUN, SESSION, None)
    writer = a_writer(log, RUN)
    remote = Remote(agent="a", src_seq=1)
    await writer.emit(RunStarted(), remote=remote)
    await writer.emit(AgentMessage(text="again"), remote=remote)
    with pytest.raises(IntegrityError):
        await writer.flush()


def an_entry(seq: int) -> Entry:
    recorded = Recorded(seq=seq, ts=1, type="x", status=RunStatus.QUEUED, data="{}")
    return Entry(recorded=recorded)


# -- reading and waiting -------------------------------------------------------------------------


async def test_the_tail_in_memory_and_the_table_tell_the_same(store: Store) -> None:
    await store.log.create(RUN, SESSION, None)
    writer = a_writer(store.log, RUN)
    await writer.emit(RunStarted())
    for n in range(500):
        await writer.emit(AgentMessage(text=str(n)))
    await writer.flush()
    live = {after: await store.log.read("r", after, 100) for after in (0, 430, 437, 480, 501)}
    log = await store.reopen()
    assert {after: await log.read("r", after, 100) for after in live} == live
    assert [e.seq for e in await log.read("r", 0, 3, types=["agent_message"])] == [2, 3, 4]
    assert [e.seq for e in await log.read("r", 0, 9, types=["run_started", "no_such"])] == [1]
    assert [e.seq for e in await log.read("r", 499, 9)] == [500, 501]


async def test_who_waits_for_a_run_of_this_process_asks_the_database_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    read = store.engine.read

    async def counted(operation: Operation[object]) -> object:
        asked.append(operation)
        return await read(operation)

    await store.log.create(RUN, SESSION, None)
    writer = a_writer(store.log, RUN)
    await writer.emit(RunStarted())
    await writer.flush()
    monkeypatch.setattr(store.engine, "read", counted)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(store.log.changed, "r", 1)
            await anyio.wait_all_tasks_blocked()
            await writer.emit(AgentMessage(text="now"))
    assert not await store.log.changed("r", 2, 0.01)
    assert asked == []


async def test_who_waits_for_a_run_of_another_process_hears_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.database.kind == "sqlite":
        pytest.skip("a SQLite file serves one process")
    monkeypatch.setattr(log_module, "SAFETY_POLL_S", 3600)
    other = await store.database.log()
    await store.log.create(RUN, SESSION, None)
    writer = a_writer(store.log, RUN)
    with anyio.fail_after(30):
        while not await listening(store):
            await anyio.lowlevel.checkpoint()
        async with anyio.create_task_group() as group:
            group.start_soon(other.changed, "r", 0)
            await anyio.wait_all_tasks_blocked()
            await writer.emit(RunStarted())
    assert [event.type for event in await other.read("r", 0, 9)] == ["run_started"]
    await other.close()


# What came behind the end counted the run's words once more, and its last events were forgotten.
# When nothing was kept for all that was counted, no reader was woken any more.
async def test_what_comes_behind_the_end_of_a_run_changes_nothing_for_its_readers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.database.kind != "sqlite":
        pytest.skip("it is about memory")
    monkeypatch.setattr(live_module, "ENDED_CHARS", 10_000)
    await store.log.create(RUN, SESSION, None)
    writer = a_writer(store.log, RUN)
    await writer.emit(RunStarted(), RunCompleted(final_response="x" * 4000))
    for number in range(9):
        await writer.emit(remote=Remote(agent="a", src_seq=number))
        await writer.flush()
    assert store.log.known("r") is not None
    live = store.log._live.find("r")  # pyright: ignore[reportPrivateUsage]
    assert live is not None
    assert [event.seq for event in live.tail] == [1, 2]


async def listening(store: Store) -> bool:
    """Whether both logs hear what is announced on this database."""
    statement = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and query like 'LISTEN%'"
    )
    return await store.engine.read(lambda c: c.scalar(sa.text(statement))) == 2


# -- payloads ------------------------------------------------------------------------------------


async def test_a_payload_is_read_by_ranges_that_cut_no_character(store: Store) -> None:
    text = "aé\u20ac\U0001f600" * 20_000  # 1, 2, 3 and 4 bytes each; 200 KB, several chunks
    await store.log.create(RUN, SESSION, None)
    writer = a_writer(store.log, RUN)
    await writer.emit(RunStarted(), AgentMessage(text=text))
    await writer.flush()
    log = await store.reopen()
    for limit in (1, 5, 65_536, 65_537, 100_003):
        offset, parts = 0, list[str]()
        while (part := await log.payload("r", 2, "/text", offset, limit)).content:
            parts.append(part.content.decode())
            offset = part.offset + len(part.content)
            assert part.total_bytes == len(text.encode())
            if limit == 5 and len(parts) == 50:
                break
            if limit == 1 and len(parts) == 10:
                break
        read = "".join(parts)
        assert text.startswith(read)
        assert limit <= 5 or read == text
    middle = await log.payload("r", 2, "/text", 65_536, 10)
    assert middle.content.decode() in text
    assert middle.offset in range(65_533, 65_540)


async def test_four_megabytes_come_back_whole(store: Store) -> None:
    output = "0123456789abcdef" * 262_144
    await store.log.create(RUN, SESSION, None)
    writer = a_writer(store.log, RUN)
    await writer.emit(RunStarted(), CommandFinished(command="make", output=output, exit_code=0))
    await writer.flush()
    log = await store.reopen()
    [_, event] = await log.read("r", 0, 9)
    assert len(event.data) < 5000
    [payload] = await log.payloads("r", 2)
    assert payload.content.decode() == output


async def test_a_text_behind_a_long_name_is_taken_with_what_holds_it(store: Store) -> None:
    # The pointer to it is longer than its column: PostgreSQL refused the event and ended the run.
    parts = [{"data": {"k" * 700: "x" * 5000}}]
    await store.log.create(RUN, SESSION, None)
    writer = a_writer(store.log, RUN)
    await writer.emit(RunStarted(), ArtifactAdded(artifact_id="a", parts=parts))
    await writer.flush()
    log = await store.reopen()
    [payload] = await log.payloads("r", 2)
    assert (payload.pointer, json.decode(payload.content)) == ("/parts", parts)


async def test_an_unknown_payload_names_those_there_are(log: RunLog) -> None:
    await log.create(RUN, SESSION, None)
    writer = a_writer(log, RUN)
    await writer.emit(RunStarted(), AgentMessage(text="x" * 5000))
    await writer.flush()
    with pytest.raises(PayloadNotFoundError, match="it has: /text"):
        await log.payload("r", 2, "/stdout", 0, 10)
    with pytest.raises(PayloadNotFoundError, match="it has: none"):
        await log.payload("r", 9, "/text", 0, 10)


# -- keys and names ------------------------------------------------------------------------------


async def test_requests_that_race_with_one_key_make_one_run(store: Store) -> None:
    key = RequestKey(scope="p\na", key="k", digest="d")
    logs = [store.log]
    if store.database.kind == "postgres":
        logs += [await store.database.log() for _ in range(3)]
    made = await asyncio.gather(
        *(
            log.create(a_run(f"r{n}-{m}"), a_session(f"r{n}-{m}"), key)
            for m, log in enumerate(logs)
            for n in range(20)
        )
    )
    assert len({run.id for run in made}) == 1
    assert await store.engine.read(lambda c: c.scalar(sa.select(sa.func.count(runs.c.id)))) == 1
    with pytest.raises(RequestConflictError):
        await store.log.create(RUN, SESSION, replace(key, digest="other"))
    for log in logs[1:]:
        await log.close()


async def test_agents_of_one_folder_get_names_of_their_own(store: Store) -> None:
    logs = [store.log]
    if store.database.kind == "postgres":
        logs.append(await store.database.log())
    await store.log.create(a_run("named"), a_session("named", nickname="agent3"), None)
    made = await asyncio.gather(
        *(
            log.create(a_run(f"r{n}-{m}"), a_session(f"r{n}-{m}"), None, name=True)
            for m, log in enumerate(logs)
            for n in range(20)
        )
    )
    names = sorted(int((run.nickname or "agent0")[5:]) for run in made)
    assert names == [n for n in range(1, 20 * len(logs) + 2) if n != 3]
    with pytest.raises(InvalidInputError, match="'agent3' is in use in /w"):
        await store.log.create(a_run("x"), a_session("x", nickname="agent3"), None)
    for log in logs[1:]:
        await log.close()


# -- texts ---------------------------------------------------------------------------------------

ODD = "a\0b \ud83d c\udc00 \u2028 \U0001f600"
STORED = ODD.replace("\ud83d", "\ufffd").replace("\udc00", "\ufffd")


async def test_what_an_agent_says_is_stored_whatever_characters_it_has(store: Store) -> None:
    # A NUL in an agent's message stood in the run's summary, which PostgreSQL refused; half a
    # surrogate pair (Python's JSON reader lets it through) ended the run on either engine.
    await store.log.create(RUN, SESSION, None)
    writer = a_writer(store.log, RUN)
    await writer.emit(RunStarted(), AgentMessage(text=ODD), AgentMessage(text=ODD * 500))
    await writer.flush()
    log = await store.reopen()
    [_, short, _] = await log.read("r", 0, 9)
    assert json.decode_object(short.data)["text"] == STORED
    [payload] = await log.payloads("r", 3)
    assert payload.content.decode() == STORED * 500
    run = await log.get("r")
    assert run is not None
    assert "\ud83d" not in run.summary


async def test_a_session_is_found_by_a_name_that_takes_all_the_room(store: Store) -> None:
    name = "\U0001f600" * 128
    await store.log.create(replace(RUN, context_id=name), a_session(name), None)
    log = await store.reopen()
    session = await log.session(name)
    assert session is not None
    assert session.id == name
    assert await log.session("a\0b") is None


# -- who follows it --------------------------------------------------------------------------


async def test_who_follows_the_appends_gets_each_when_it_can_be_read(log: RunLog) -> None:
    heard: list[tuple[str, list[int], int]] = []

    def note(append: Append) -> None:
        known = log.known(append.after.id)
        assert known is not None
        seqs = [entry.recorded.seq for entry in append.entries]
        heard.append((append.after.id, seqs, known.last_seq))

    log.on_append(note)
    await log.create(RUN, SESSION, None)
    writer = a_writer(log, RUN)
    await writer.emit(RunStarted(), AgentMessage(text="x"))
    await writer.flush()
    await writer.emit(DONE)
    await writer.flush()
    assert heard == [("r", [1, 2], 2), ("r", [3], 3)]
    assert log.active() == []


async def test_runs_that_ended_are_read_in_the_order_of_their_end_page_by_page(
    store: Store,
) -> None:
    ids = [f"r{n}" for n in range(5)]
    for id_ in ids:
        await store.log.create(a_run(id_), a_session(id_), None)
        writer = a_writer(store.log, a_run(id_))
        await writer.emit(RunStarted(), *([] if id_ == "r4" else [DONE]))
        await writer.flush()
    assert [run.id for run in store.log.active()] == ["r4"]
    log = await store.reopen()
    # All of them ended at 7, so their ids say who comes next.
    first = await log.ended(7, "", 3)
    rest = await log.ended(first[-1].completed_at or 0, first[-1].id, 3)
    assert [run.id for run in (*first, *rest)] == ["r0", "r1", "r2", "r3"]
    assert first[0] == await log.get("r0")
    assert await log.ended(8, "", 3) == []
    assert [run.id for run in await log.ended(6, "r9", 3)] == ["r0", "r1", "r2"]
    assert {session.id for session in await log.sessions({"r1", "r4", "none"})} == {"r1", "r4"}
