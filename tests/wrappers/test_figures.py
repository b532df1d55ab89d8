"""What a process tree is said to take, against real processes."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.wrappers.test_process import family_of, spawn_family
from wrappers.processes import figures
from wrappers.processes.figures import Figures, tree
from wrappers.processes.process import Child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from Linux's /proc")

MB = 1024 * 1024


@asynccontextmanager
async def family(folder: Path) -> AsyncGenerator[tuple[Child, dict[str, int]]]:
    child = await spawn_family(folder, "stubborn")
    try:
        yield child, await family_of(child.stdout)
    finally:
        with anyio.fail_after(10):
            await child.close(grace_s=0.1)


async def test_a_tree_has_daemonised_descendants_too(tmp_path: Path) -> None:
    async with family(tmp_path) as (child, pids):
        assert set(pids.values()) <= set(figures.descendants(child.pid))
        found = await tree(child.pid)
        assert found.processes == len(pids)
        assert 1 * MB < found.rss_bytes < 1000 * MB
        # Pages that processes share are counted once in the one and once each in the other.
        assert found.pss_bytes is not None
        assert 0 < found.pss_bytes < found.rss_bytes


async def test_the_default_is_what_stands_below_this_process(tmp_path: Path) -> None:
    before = await tree()
    async with family(tmp_path) as (child, pids):
        now = await tree()
        assert now.processes == before.processes + len({child.pid, *pids.values()})
        assert now.rss_bytes > before.rss_bytes
    assert (await tree()).processes == before.processes


async def test_a_process_that_is_not_there_has_an_empty_tree() -> None:
    assert await tree(2**22 + 1) == Figures(processes=0, rss_bytes=0, pss_bytes=0)


async def test_a_large_tree_is_not_asked_for_its_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "PSS_MAX", 1)
    async with family(tmp_path) as (child, pids):
        found = await tree(child.pid)
    assert found.processes == len(pids)
    assert found.pss_bytes is None
