import os
import signal
from pathlib import Path

import anyio
import pytest

from gateway.core.status import RunStatus
from gateway.errors import LaunchError
from gateway.home import Home, this_process
from gateway.local import launcher as launching
from gateway.local.launcher import Launcher
from gateway.local.restarts import DELAY_MAX_S, Restarts
from tests.gateway.house import alive, house, texts
from tests.wrappers.launched import gone, launched


def two_of_one_home(tmp_path: Path, environment: dict[str, str]) -> tuple[Home, Launcher, Launcher]:
    """The launchers of two gateways, one after the other in the same home."""
    home = Home(tmp_path / "home")
    child = {**environment, "A2A_GATEWAY_HOME": str(home.path)}
    first, second = (Launcher(home, environment=child, timeout_s=30) for _ in range(2))
    return home, first, second


async def ensured(launcher: Launcher, found: list[int]) -> None:
    found.append((await launcher.ensure("scripted")).process.pid)


async def test_a_local_agent_is_started_at_its_first_use_and_stopped_with_the_gateway(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with house(tmp_path / "home", environment, local=("scripted",)) as gateway:
        assert await gateway.registry.resolve("scripted", {}, "/") == "scripted"
        assert gateway.home.wrappers() == []
        run = await gateway.spawn("scripted", "say hello", backend="scripted", cwd=str(tmp_path))
        ended = await gateway.ended(run)
        assert ended.status is RunStatus.COMPLETED, ended.error
        assert texts(await gateway.events(run)) == ["hello"]
        [wrapper] = gateway.home.wrappers()
        assert wrapper.name == "scripted"
    assert not alive(wrapper.process.pid)
    assert gateway.home.wrappers() == []


async def test_many_first_uses_start_one_wrapper(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with house(tmp_path / "home", environment, local=("scripted",)) as gateway:
        runs = [
            await gateway.spawn("scripted", f"say {n}", backend="scripted", cwd=str(tmp_path))
            for n in range(8)
        ]
        for run in runs:
            assert (await gateway.ended(run)).status is RunStatus.COMPLETED
        assert len(gateway.home.wrappers()) == 1


async def test_a_wrapper_that_died_is_started_again_and_its_run_says_interrupted(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with house(tmp_path / "home", environment, local=("scripted",)) as gateway:
        run = await gateway.spawn(
            "scripted", "say one\nhang", backend="scripted", cwd=str(tmp_path)
        )
        await gateway.seen(run, 2)
        [first] = gateway.home.wrappers()
        os.kill(first.process.pid, signal.SIGKILL)
        ended = await gateway.ended(run)
        assert ended.error is not None
        assert ended.error.reason == "interrupted"
        [second] = gateway.home.wrappers()
        assert second.process.pid != first.process.pid
        assert texts(await gateway.events(run)) == ["one"]


async def test_a_wrapper_of_a_gateway_that_was_killed_is_taken_over_and_stopped(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    _, killed, after = two_of_one_home(tmp_path, environment)
    before = await killed.ensure("scripted")
    adopted = await after.ensure("scripted")
    assert adopted.process == before.process
    assert adopted.token == before.token is not None
    assert adopted.ours
    await after.stop()
    assert before.child is not None
    with anyio.fail_after(20):
        await before.child.wait()
    assert not alive(before.process.pid)


async def test_a_wrapper_started_by_hand_is_used_and_left_running(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home = tmp_path / "home"
    by_hand = {**environment, "A2A_GATEWAY_HOME": str(home)}
    async with launched(by_hand, "scripted") as wrapper:
        async with house(home, environment, local=("scripted",)) as gateway:
            run = await gateway.spawn("scripted", "say hi", backend="scripted", cwd=str(tmp_path))
            assert (await gateway.ended(run)).status is RunStatus.COMPLETED
        assert alive(wrapper.ready["pid"])
        assert await wrapper.stop(signal.SIGTERM) == 0
    await gone(wrapper.ready["pid"])


async def test_the_token_of_a_wrapper_of_the_same_user_is_found_by_its_port(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home = tmp_path / "home"
    by_hand = {**environment, "A2A_GATEWAY_HOME": str(home)}
    async with launched(by_hand, "scripted", "--name", "mine") as wrapper:
        async with house(home, environment) as gateway:
            # The payload as the wrapper printed it: a URL and nothing else.
            config = wrapper.ready["spawn_run"]["backend_config"]
            name = await gateway.registry.resolve("remote_a2a", config, str(tmp_path))
            run = await gateway.spawn(name, "say hi", cwd=str(tmp_path))
            ended = await gateway.ended(run)
            assert ended.status is RunStatus.COMPLETED, ended.error
        await wrapper.stop(signal.SIGTERM)


async def test_a_wrapper_that_cannot_start_says_why(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home = Home(tmp_path / "home")
    launcher = Launcher(home, environment=environment, timeout_s=30)
    with pytest.raises(LaunchError, match="no-such-agent") as caught:
        await launcher.ensure("no-such-agent")
    text = str(caught.value)
    assert "it ended with exit code" in text
    assert "its log ends" in text
    assert "start-a2a-agent no-such-agent" in text
    await launcher.stop()


async def test_a_wrapper_that_takes_too_long_is_stopped_and_reported(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home = Home(tmp_path / "home")
    launcher = Launcher(home, environment=environment, timeout_s=0.05)
    with pytest.raises(LaunchError, match=r"not ready within 0\.05 s"):
        await launcher.ensure("scripted")
    assert home.wrappers() == []
    await launcher.stop()


async def test_a_local_agent_that_cannot_start_is_a_failed_run(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with house(tmp_path / "home", environment, local=("no-such-agent",)) as gateway:
        run = await gateway.spawn("no-such-agent", backend="no-such-agent")
        ended = await gateway.ended(run)
    assert ended.error is not None
    assert ended.error.reason == "launch_failed"


async def test_a_cancel_while_the_wrapper_starts_ends_the_run_at_once(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with house(tmp_path / "home", environment, local=("scripted",)) as gateway:
        run = await gateway.spawn("scripted", "say hi", backend="scripted", cwd=str(tmp_path))
        cancelled = await gateway.tasks.cancel("local", run.id)
        assert cancelled.status is RunStatus.CANCELLED
        assert cancelled.remote is None


async def test_a_wrapper_that_a_killed_gateway_had_just_started_is_waited_for(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    # The gateway after that found no note of it yet and started another, which found its folder
    # taken: the run ended as launch_failed.
    home, killed, after = two_of_one_home(tmp_path, environment)
    found: list[int] = []
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(ensured, killed, found)
            while not home.launched.exists():
                await anyio.lowlevel.checkpoint()
            assert home.wrappers() == []
            group.start_soon(ensured, after, found)
    assert found[0] == found[1]
    await after.stop()
    await killed.stop()


async def test_a_wrapper_is_known_as_ours_by_its_own_note(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    # A gateway that was killed in the milliseconds in which it forked its wrapper had not noted it:
    # the next one used the wrapper and left it running at its stop.
    home, killed, after = two_of_one_home(tmp_path, environment)
    before = await killed.ensure("scripted")
    home.launched.unlink()
    adopted = await after.ensure("scripted")
    assert adopted.ours
    await after.stop()
    assert before.child is not None
    with anyio.fail_after(20):
        await before.child.wait()


async def test_one_that_a_killed_gateway_forked_unseen_is_waited_for_by_its_name(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home, killed, after = two_of_one_home(tmp_path, environment)
    found: list[int] = []
    async with anyio.create_task_group() as group:
        group.start_soon(ensured, killed, found)
        with anyio.fail_after(20):
            while not home.launched.exists():
                await anyio.lowlevel.checkpoint()
        home.launched.unlink()  # as if the kill had come first
        group.start_soon(ensured, after, found)
    assert found[0] == found[1]
    await after.stop()
    await killed.stop()


async def test_local_agents_outlive_a_gateway_that_is_asked_to_keep_them(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home, first, second = two_of_one_home(tmp_path, environment)
    kept = await first.ensure("scripted")
    home.ask_to_keep_agents(this_process())
    await first.stop()
    assert kept.alive
    assert (await second.ensure("scripted")).process == kept.process
    await second.stop()  # asked once, kept once
    assert kept.child is not None
    with anyio.fail_after(20):
        assert await kept.child.wait() == 0


async def test_the_note_of_a_killed_wrapper_is_removed(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home = Home(tmp_path / "home")
    launcher = Launcher(
        home, environment={**environment, "A2A_GATEWAY_HOME": str(home.path)}, timeout_s=30
    )
    wrapper = await launcher.ensure("scripted")
    assert home.note(wrapper.port).exists()
    os.kill(wrapper.process.pid, signal.SIGKILL)
    assert wrapper.child is not None
    await wrapper.child.wait()
    assert home.wrappers() == []
    assert not home.note(wrapper.port).exists()
    await launcher.stop()


async def test_a_wrapper_that_ends_again_and_again_is_given_a_rest(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "PATIENCE_S", 0.1)
    launcher = Launcher(Home(tmp_path / "home"), environment=environment, timeout_s=30)
    for _ in range(3):
        with pytest.raises(LaunchError, match="it ended with exit code 2"):
            await launcher.ensure("no-such-agent")
    with pytest.raises(LaunchError, match="it ended 3 times in a row; the next try is in"):
        await launcher.ensure("no-such-agent")


def test_ends_soon_after_a_start_are_followed_by_longer_and_longer_rests() -> None:
    restarts, now, rests = Restarts(), 1000.0, list[float]()
    for _ in range(12):
        restarts.started(now)
        now += 1
        restarts.ended(now)
        rests.append(restarts.wait_s(now))
        now += rests[-1]
    assert rests[:6] == [0.0, 0.0, 0.5, 1.0, 2.0, 4.0]
    assert rests[-1] == DELAY_MAX_S
    restarts.started(now)
    restarts.ended(now + 61)  # it had run well for a while
    assert restarts.wait_s(now + 61) == 0.0
