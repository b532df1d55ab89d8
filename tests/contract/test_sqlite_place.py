"""Where SQLite's commits happen: small ones on the event loop, what may wait in the thread."""

import asyncio
import math
import sqlite3
import threading
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import sqlalchemy as sa

from gateway.core.store import sqlite
from gateway.core.store.sqlite import LOGGED_MAX, PROMPT_MAX, SqliteEngine

LOOP = threading.main_thread().name
THREAD = "log-writer"


@pytest.fixture
def never_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a commit takes longer than the 10 ms after which the loop makes no more of
    them for a while: these tests then failed beside others."""
    monkeypatch.setattr(sqlite, "SLOW_S", math.inf)


def where(connection: sa.Connection) -> str:
    """The thread that carries an operation out; it writes, so the commit is a real one."""
    connection.exec_driver_sql("create table if not exists t(n integer)")
    connection.exec_driver_sql("insert into t values (1)")
    return threading.current_thread().name


async def _place(engine: SqliteEngine, weight: int | None) -> str:
    with anyio.fail_after(10):
        return await engine.submit(where, weight=None if weight is None else lambda: weight)


@pytest.mark.usefixtures("never_slow")
async def test_small_commits_happen_on_the_loop_and_others_in_the_thread(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "runs.db")
    assert await _place(engine, 1) == LOOP
    assert await _place(engine, PROMPT_MAX + 1) == THREAD
    assert await _place(engine, None) == THREAD
    assert await engine.write(where) == THREAD
    assert await _place(engine, 1) == LOOP
    await engine.close()


async def test_with_durability_full_nobody_waits_for_the_disk_on_the_loop(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "runs.db", durability="full")
    assert await _place(engine, 1) == THREAD
    await engine.close()


@pytest.mark.usefixtures("never_slow")
async def test_now_and_then_the_thread_moves_the_log_into_the_file(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "runs.db")
    places = [await _place(engine, PROMPT_MAX) for _ in range(LOGGED_MAX // PROMPT_MAX + 2)]
    assert places.count(THREAD) == 1
    assert places[-1] == LOOP
    await engine.close()


async def test_a_lock_is_waited_for_in_the_thread_while_the_loop_goes_on(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "runs.db")
    assert await _place(engine, 1) == LOOP
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("begin immediate")
    waiting = asyncio.ensure_future(_place(engine, 1))
    for _ in range(100):  # the loop has its turns; the commit has not
        await anyio.lowlevel.checkpoint()
    assert not waiting.done()
    other.execute("rollback")
    other.close()
    assert await waiting == THREAD
    assert await _place(engine, 1) == THREAD, "the loop keeps away for a while"
    await engine.close()


async def test_the_order_of_submission_is_kept_across_both_places(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path / "runs.db")
    seen: list[int] = []
    done = [
        engine.submit(
            lambda _connection, n=n: seen.append(n), weight=(lambda: 1) if n % 3 else None
        )
        for n in range(30)
    ]
    with anyio.fail_after(10):
        await asyncio.gather(*done)
    assert seen == list(range(30))
    await engine.close()
