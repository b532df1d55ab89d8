"""The database is gone, full or slow: callers are told so, nothing is lost, and the same process
goes on when it is back."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import anyio
import pytest

from gateway.core.json import JsonObject
from tests import postgres
from tests.faults import ledger
from tests.faults.served import RefusedError, Served, serving, spoken
from tests.wrappers.launched import event_of

PATIENCE_S = 60.0  # writers try again every 5 s at most
DISK_MB = 6


async def _begun(
    on: Served, text: str, key: str, enough: int
) -> tuple[str, AsyncGenerator[JsonObject]]:
    """A run whose first events have come, and the stream they came over."""
    items = on.stream("SendStreamingMessage", spoken(text, key))
    task = (await anext(items))["result"]["task"]
    async for item in items:
        if event_of(item)["seq"] >= enough:
            break
    return task["id"], items


async def _ticks(on: Served, run_id: str) -> list[str]:
    """What a run said, from its first event to its end; its numbers checked."""
    events = [event async for event in on.events(run_id)]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "run_completed"
    return [event["data"]["text"] for event in events if event["type"] == "agent_message"]


async def _refused(on: Served, mark: str) -> tuple[RefusedError, str]:
    """The first refusal of one send after another, and the request_key it was refused under."""
    for n in count():
        key = f"{mark}-{n}"
        try:
            await on.send(spoken("say 1", key))
        except RefusedError as refused:
            return refused, key
    raise AssertionError


async def _taken(on: Served, key: str) -> JsonObject:
    """The task of a request that is repeated until it is taken."""
    while True:
        try:
            return await on.send(spoken("say 1", key), wait=True)
        except RefusedError as refused:
            if refused.code not in ("storage_full", "storage_unavailable"):
                raise


def _tells_nothing(refused: RefusedError) -> bool:
    words = ("/", "insert", "select", "sqlite", "asyncpg", "traceback", "127.0.0.1")
    return not any(word in refused.text.lower() for word in words)


# -- full ----------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path) -> Generator[Path]:
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs"]
    done = subprocess.run(["mount", *options, folder], check=False, capture_output=True)
    if done.returncode != 0:
        pytest.skip("a small disk takes the right to mount one (root, outside a container)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True, timeout=10)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return


async def test_a_full_disk_is_told_and_work_goes_on_once_there_is_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "runs.db"
        async with serving(path) as on:
            with anyio.fail_after(PATIENCE_S):
                run_id, items = await _begun(on, "say 300", "going on", 5)
                _fill(disk / "ballast")
                refused, key = await _refused(on, "full")
                assert refused.code == "storage_full", refused
                assert _tells_nothing(refused), refused.text
                assert (await on.task(run_id))["status"]["state"] == "TASK_STATE_WORKING"
                (disk / "ballast").unlink()
                taken = await _taken(on, key)
                assert taken["status"]["state"] == "TASK_STATE_COMPLETED"
                await items.aclose()
                assert await _ticks(on, run_id) == [f"tick {n}" for n in range(1, 301)]
            ask = ledger.of_file(path)
            ledger.check(ask, int(ask(ledger.RUNS)))
            assert on.process.returncode is None


# -- slow ----------------------------------------------------------------------------------------


async def test_a_database_that_takes_no_writes_for_a_while_keeps_nobody_from_reading(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.db"
    async with serving(path) as on, anyio.create_task_group() as group:
        with anyio.fail_after(PATIENCE_S):
            run_id, items = await _begun(on, "say 100", "going on", 5)
            sent = anyio.Event()

            async def send() -> None:
                await on.send(spoken("say 1", "meanwhile"), wait=True)
                sent.set()

            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("begin immediate")  # a backup, or a disk that hangs
                group.start_soon(send)
                for _ in range(20):
                    assert (await on.http.get("/healthz")).status_code == 200
                    assert (await on.task(run_id))["status"]["state"] == "TASK_STATE_WORKING"
                assert not sent.is_set()
                other.execute("rollback")
            await sent.wait()
            await items.aclose()
            assert len(await _ticks(on, run_id)) == 100


# -- gone ----------------------------------------------------------------------------------------


async def test_a_database_that_is_killed_is_told_and_work_goes_on_once_it_is_back() -> None:
    with postgres.server() as server:
        url = server.create()
        async with serving(url) as on:
            with anyio.fail_after(PATIENCE_S):
                run_id, items = await _begun(on, "say 300", "going on", 5)
                server.stop(signal.SIGKILL)
                refused, key = await _refused(on, "gone")
                assert refused.code == "storage_unavailable", refused
                assert _tells_nothing(refused), refused.text
                assert (await on.http.get("/healthz")).status_code == 200
                server.start()
                taken = await _taken(on, key)
                assert taken["status"]["state"] == "TASK_STATE_COMPLETED"
                await items.aclose()
                assert await _ticks(on, run_id) == [f"tick {n}" for n in range(1, 301)]
            ask = ledger.of_server(server, url)
            ledger.check(ask, int(ask(ledger.RUNS)))
            assert on.process.returncode is None


async def test_a_database_that_hangs_delays_and_loses_nothing() -> None:
    with postgres.server() as server:
        async with serving(server.create()) as on:
            with anyio.fail_after(PATIENCE_S):
                run_id, items = await _begun(on, "say 100", "going on", 5)
                with _stopped(server.pid):
                    for _ in range(20):
                        assert (await on.http.get("/healthz")).status_code == 200
                await items.aclose()
                assert len(await _ticks(on, run_id)) == 100


@contextmanager
def _stopped(parent: int) -> Generator[None]:
    """A process and its children, standing still."""
    family = [parent, *_children(parent)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)


def _children(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text("utf-8")
    return [int(pid) for pid in listed.split()]
