"""A database that is full, gone, read-only or damaged: said in one line, and over when it is over.

Real ones: servers that are killed and started again, file systems that have no room left.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa

from gateway.core.errors import StorageError
from gateway.core.events import AgentMessage, RunStarted
from gateway.core.store.engine import Engine
from gateway.core.store.many import insert_many
from gateway.core.store.open import open_log
from gateway.core.store.postgres import PostgresEngine
from gateway.core.store.sqlite import SqliteEngine
from tests.contract.engines import TABLE, make_table, put, words
from tests.contract.runs import DONE, RUN, SESSION, a_writer
from tests.postgres import Server, server

BALLAST = 8192  # bytes of a word that fills a disk


@pytest.fixture
def own_server() -> Generator[Server]:
    """A server that one may kill."""
    with server() as made:
        yield made


@contextmanager
def small_disk(folder: Path, size: str) -> Generator[Path]:
    """A file system of its own, where we may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def fill(engine: Engine, code: str) -> int:
    """Write until the database refuses, in one line of plain words; returns how much it took."""
    taken = 0

    async def write_on() -> None:
        nonlocal taken
        while taken < 10_000:
            await engine.write(put(taken, "x" * BALLAST))
            taken += 1

    with pytest.raises(StorageError, match=r"\A[^\n]+\Z") as refusal:
        await write_on()
    assert refusal.value.code == code
    assert "insert" not in str(refusal.value).lower()
    return taken


# -- SQLite --------------------------------------------------------------------------------------


async def test_a_full_disk_is_said_and_over_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(400_000))
        engine = SqliteEngine(disk / "runs.db")
        await engine.write(make_table)
        taken = await fill(engine, "storage_full")
        assert len(await engine.read(words)) == taken
        both = await asyncio.gather(
            engine.submit(put(9001, "x" * 400_000)),
            engine.submit(put(9002, "x" * 400_000)),
            return_exceptions=True,
        )
        assert [getattr(error, "code", None) for error in both] == ["storage_full"] * 2
        ballast.unlink()
        await engine.write(put(taken, "at last"))
        assert len(await engine.read(words)) == taken + 1
        await engine.close()


async def test_a_file_that_may_grow_no_more_is_a_full_disk(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "runs.db")
    await engine.write(make_table)
    await engine.write(lambda c: c.exec_driver_sql("pragma max_page_count=40").close())
    taken = await fill(engine, "storage_full")
    await engine.write(put(taken))  # on a connection of its own, which has no such bound
    await engine.close()


async def test_a_file_that_cannot_be_written_says_so_and_is_tried_again(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "runs.db")
    await engine.write(make_table)
    await engine.write(lambda c: c.exec_driver_sql("pragma query_only=on").close())
    with pytest.raises(StorageError, match="read-only") as refusal:
        await engine.write(put(1))
    assert (refusal.value.code, str(tmp_path) in str(refusal.value)) == (
        "storage_unavailable",
        False,
    )
    await engine.write(put(1))
    await engine.close()


async def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    engine = SqliteEngine(path)
    await engine.write(make_table)
    for n in range(50):
        await engine.write(put(n, "x" * BALLAST))
    await engine.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(200_000))
    engine = SqliteEngine(path)
    with pytest.raises(StorageError, match="damaged"):
        await engine.read(words)
    await engine.close()


# -- PostgreSQL ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_server_that_is_gone_is_said_and_found_again(
    own_server: Server, how: int, caplog: pytest.LogCaptureFixture
) -> None:
    url = sa.make_url(own_server.create()).set(password="sesame-street")
    engine = PostgresEngine(url)
    await engine.write(make_table)
    for n in range(20):
        await engine.write(put(n))
    own_server.stop(how)
    for attempt in (engine.write(put(20)), engine.read(words)):
        with pytest.raises(StorageError, match="does not answer") as refusal:
            await attempt
        assert refusal.value.code == "storage_unavailable"
        assert "sesame" not in str(refusal.value)
    own_server.start()
    await engine.write(put(20))
    assert len(await engine.read(words)) == 21
    assert "sesame" not in caplog.text
    await engine.close()


async def test_connections_that_broke_while_idle_are_not_noticed(
    postgres_url: str, postgres_server: Server
) -> None:
    engine = PostgresEngine(sa.make_url(postgres_url))
    await engine.write(make_table)
    assert await engine.read(words) == {}
    cut_all(postgres_server, postgres_url)
    assert await engine.write(put(1)) == 1
    cut_all(postgres_server, postgres_url)
    assert await engine.read(words) == {1: ""}
    await engine.close()


async def test_a_connection_that_broke_in_the_middle_is_left_and_the_operation_done_again(
    postgres_url: str, postgres_server: Server
) -> None:
    # asyncpg had not noticed yet and said "cannot switch to state 13": that was taken for a fault
    # of the statement, so a run failed for ever because its database had been killed.
    engine = PostgresEngine(sa.make_url(postgres_url))
    await engine.write(make_table)
    tries = 0

    def insert_twice(connection: sa.Connection) -> int:
        nonlocal tries
        tries += 1
        some = insert_many(TABLE)
        some.execute(connection, [{"id": 1, "word": ""}])
        if tries == 1:
            cut_all(postgres_server, postgres_url)
        some.execute(connection, [{"id": 2, "word": ""}])
        return tries

    assert await engine.write(insert_twice) == 2
    assert await engine.read(words) == {1: "", 2: ""}
    await engine.close()


def cut_all(on: Server, url: str) -> None:
    database = url.rpartition("/")[2]
    on.sql(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        f" where datname = '{database}' and pid <> pg_backend_pid()"
    )


async def test_a_read_only_database_is_said_and_over_when_it_is_over(
    postgres_url: str, postgres_server: Server
) -> None:
    engine = PostgresEngine(sa.make_url(postgres_url))
    await engine.write(make_table)
    database = postgres_url.rpartition("/")[2]
    postgres_server.sql(f"alter database {database} set default_transaction_read_only = on")
    cut_all(postgres_server, postgres_url)
    with pytest.raises(StorageError, match="read-only"):
        await engine.write(put(1))
    assert await engine.read(words) == {}
    postgres_server.sql(f"alter database {database} set default_transaction_read_only = off")
    cut_all(postgres_server, postgres_url)
    await engine.write(put(1))
    await engine.close()


async def test_a_full_disk_of_the_server_is_said_and_over_when_there_is_room(
    own_server: Server,
) -> None:
    with small_disk(own_server.folder / "disk", "20m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(8_000_000))
        space = own_server.make_folder(disk / "space")
        own_server.sql(f"create tablespace small location '{space}'")
        engine = PostgresEngine(sa.make_url(own_server.create("tablespace small")))
        await engine.write(make_table)
        # Words that cannot be compressed: PostgreSQL would store them in no space at all.
        await engine.write(
            lambda c: c.execute(
                sa.text("alter table words alter word set storage external")
            ).close()
        )
        taken = await fill(engine, "storage_full")
        ballast.unlink()
        await engine.write(put(taken))
        assert len(await engine.read(words)) == taken + 1
        await engine.close()
        own_server.stop()


async def test_what_a_run_says_meanwhile_is_stored_when_the_database_is_back(
    own_server: Server,
) -> None:
    log = await open_log(own_server.create())
    await log.create(RUN, SESSION, None)
    writer = a_writer(log, RUN)
    await writer.emit(RunStarted())
    await writer.flush()
    own_server.stop(signal.SIGQUIT)
    for n in range(100):
        await writer.emit(AgentMessage(text=str(n)))
    own_server.start()
    await writer.emit(DONE)
    with anyio.fail_after(60):
        await writer.flush()
    assert [event.seq for event in await log.read("r", 0, 200)] == list(range(1, 103))
    await log.close()


# -- hints ---------------------------------------------------------------------------------------


async def test_others_hear_every_run_and_nobody_hears_himself(
    postgres_url: str, postgres_server: Server
) -> None:
    one, two = (PostgresEngine(sa.make_url(postgres_url)) for _ in range(2))
    heard: list[list[str]] = [[], []]
    all_heard = asyncio.Event()
    ids = {f"{n:036}" for n in range(1000)}  # 37 KB: five notices

    def hear(run_id: str) -> None:
        heard[1].append(run_id)
        if set(heard[1]) >= ids:
            all_heard.set()

    one.on_hint(heard[0].append)
    two.on_hint(hear)
    with anyio.fail_after(30):
        await listeners(one, 2)
        one.announce(ids)
        await all_heard.wait()
        assert (len(heard[1]), heard[0]) == (1000, [])
        all_heard.clear()
        heard[1].clear()
        cut_all(postgres_server, postgres_url)
        await listeners(one, 2)
        one.announce(ids)
        await all_heard.wait()
    await one.close()
    await two.close()


async def listeners(engine: PostgresEngine, count: int) -> None:
    statement = sa.text(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and query like 'LISTEN%'"
    )
    while await engine.read(lambda c: c.scalar(statement)) != count:
        await anyio.lowlevel.checkpoint()
