"""Local agents that nobody needs: they end, are started again, and no run is lost in between."""

import os
import signal
from pathlib import Path

import anyio

from gateway.core.status import RunStatus
from gateway.home import Home
from gateway.local.launcher import Launcher, wrapper_command
from tests.gateway.house import PATIENCE_S, house
from tests.wrappers.launched import gone


def test_a_wrapper_is_told_when_to_end() -> None:
    assert wrapper_command("codex", 600.0)[-2:] == ["--idle-exit", "600"]
    assert "--idle-exit" not in wrapper_command("codex")


async def test_an_idle_agent_ends_and_is_started_again_on_demand(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with house(
        tmp_path / "home", environment, local=("scripted",), idle_exit_s=0.3
    ) as gateway:
        pids: set[int] = set()
        for _ in range(2):
            run = await gateway.spawn("scripted", "say hi", backend="scripted", cwd=str(tmp_path))
            assert (await gateway.ended(run)).status is RunStatus.COMPLETED
            running = await gateway.launcher.ensure("scripted")
            await gone(running.process.pid)
            pids.add(running.process.pid)
        assert len(pids) == 2
        assert gateway.home.wrappers() == []


async def test_an_agent_that_waits_for_an_answer_is_not_idle(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with house(
        tmp_path / "home", environment, local=("scripted",), idle_exit_s=0.2
    ) as gateway:
        waits = await gateway.spawn(
            "scripted", "ask Colour?", backend="scripted", cwd=str(tmp_path)
        )
        await gateway.waiting(waits)
        # Longer than the idle time, and no request meanwhile: the run's own words say so.
        other = await gateway.spawn(
            "scripted", "sleep 0.7\nsay done", backend="scripted", cwd=str(tmp_path)
        )
        await gateway.ended(other)
        [wrapper] = gateway.home.wrappers()
        running = await gateway.launcher.ensure("scripted")
        assert wrapper.process == running.process
        await gateway.tasks.cancel("local", waits.id)
        assert (await gateway.ended(waits)).status is RunStatus.CANCELLED


async def test_a_run_that_meets_an_agent_at_its_end_is_done_by_the_next_one(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    # A wrapper that had decided to end answered 503 for as long as it took to end; the gateway
    # tried three times in 0.3 s, always the same one, and the run failed.
    async with house(
        tmp_path / "home", environment, local=("scripted",), idle_exit_s=0.5
    ) as gateway:
        for n in range(6):
            run = await gateway.spawn("scripted", f"say {n}", backend="scripted", cwd=str(tmp_path))
            ended = await gateway.ended(run)
            assert ended.status is RunStatus.COMPLETED, ended.error
            with anyio.move_on_after(0.45 + n * 0.05):  # around the moment of its decision
                await gone((await gateway.launcher.ensure("scripted")).process.pid)


async def test_a_wrapper_that_is_ending_is_waited_for_before_the_next_is_started(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home = Home(tmp_path / "home")
    child = {**environment, "A2A_GATEWAY_HOME": str(home.path)}
    launcher = Launcher(home, environment=child, timeout_s=PATIENCE_S)
    first = await launcher.ensure("scripted")
    # One that keeps its note is fine: the link alone had failed.
    launcher.doubt("scripted")
    assert await launcher.ensure("scripted") == first
    home.note(first.port).unlink()
    launcher.doubt("scripted")
    found: list[int] = []

    async def ensure() -> None:
        found.append((await launcher.ensure("scripted")).process.pid)

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(ensure)
            group.start_soon(ensure)
            await anyio.lowlevel.checkpoint()
            assert found == []  # its folder is still taken
            os.kill(first.process.pid, signal.SIGTERM)
    assert found[0] == found[1] != first.process.pid
    await launcher.stop()
