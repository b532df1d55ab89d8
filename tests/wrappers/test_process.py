"""Real process trees: whatever dies first, nothing of a tree is left."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from tests.wrappers import doomed
from wrappers.processes import figures
from wrappers.processes.process import TREE_VARIABLE, Child, spawn, sweep, to_the_end

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux lets a process answer for daemonised descendants"
)

FAMILY = ("cli", "command", "session", "daemon")
ENV = {"PATH": os.environ["PATH"]}


@contextmanager
def watching(pids: Mapping[str, int]) -> Generator[dict[str, int]]:
    """File descriptors that become readable when the process of that name is gone."""
    handles = {name: os.pidfd_open(pid) for name, pid in pids.items()}
    try:
        yield handles
    finally:
        for handle in handles.values():
            os.close(handle)


def is_stopped(pid: int) -> bool:
    return "\nState:\tT" in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")


async def stopped(pids: Iterable[int]) -> None:
    for pid in pids:
        while not is_stopped(pid):
            await anyio.lowlevel.checkpoint()


async def gone(handles: Mapping[str, int]) -> None:
    with anyio.fail_after(10):
        for handle in handles.values():
            await anyio.wait_readable(handle)


async def family_of(lines: asyncio.StreamReader, names: tuple[str, ...] = FAMILY) -> dict[str, int]:
    """The pids that a family's members print."""
    found: dict[str, int] = {}
    with anyio.fail_after(10):
        while len(found) < len(names):
            name, _, pid = (await lines.readline()).decode().partition(" ")
            found[name] = int(pid)
    assert set(found) == set(names)
    return found


async def spawn_family(folder: Path, then: str, grace_s: float = 0.2) -> Child:
    argv = [sys.executable, doomed.FAMILY, then]
    return await spawn(argv, cwd=folder, env=ENV, tag="family", grace_s=grace_s)


async def test_killing_the_wrapper_leaves_no_process_of_its_agent(tmp_path: Path) -> None:
    wrapper = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.wrappers.doomed", tmp_path, stdout=subprocess.PIPE
    )
    assert wrapper.stdout is not None
    with watching(await family_of(wrapper.stdout)) as handles:
        wrapper.kill()
        await wrapper.communicate()
        await gone(handles)


async def test_sigterm_to_a_guardian_ends_the_whole_tree(tmp_path: Path) -> None:
    child = await spawn_family(tmp_path, "stubborn")
    with watching(await family_of(child.stdout)) as handles:
        os.kill(child.pid, signal.SIGTERM)
        await gone(handles)
    await child.close()


async def test_what_is_stopped_ends_politely_too(tmp_path: Path) -> None:
    # A frozen process keeps SIGTERM pending: it once took the whole grace to end one.
    script = "trap 'exit 9' TERM; echo ready; kill -STOP $$; exit 1"
    child = await spawn(["sh", "-c", script], cwd=tmp_path, env=ENV, tag="stopped")
    with anyio.fail_after(10):
        await child.stdout.readline()
        await stopped(figures.descendants(child.pid))
        assert await child.close(grace_s=60) == 9


async def test_killing_goes_on_although_the_guardian_is_frozen(tmp_path: Path) -> None:
    child = await spawn_family(tmp_path, "stubborn")
    with watching(await family_of(child.stdout)) as handles:
        os.kill(child.pid, signal.SIGSTOP)
        with anyio.fail_after(10):
            await child.close(grace_s=0.1)
        await gone(handles)


async def test_closing_a_child_ends_what_ignores_every_polite_signal(tmp_path: Path) -> None:
    child = await spawn_family(tmp_path, "stubborn")
    with watching(await family_of(child.stdout)) as handles:
        with anyio.fail_after(10):
            assert await child.close(grace_s=0.2) == 128 + signal.SIGKILL
        await gone(handles)


async def test_what_the_command_left_behind_ends_with_its_normal_exit(tmp_path: Path) -> None:
    child = await spawn_family(tmp_path, "exit")
    with watching(await family_of(child.stdout)) as handles:
        child.stdin.write(b"\n")
        with anyio.fail_after(10):
            assert await child.wait() == 3
        await gone(handles)
    await child.close()


async def test_closing_goes_to_its_end_although_it_is_cancelled(tmp_path: Path) -> None:
    child = await spawn_family(tmp_path, "stubborn")
    with watching(await family_of(child.stdout)) as handles:
        closing = asyncio.ensure_future(child.close(grace_s=0.1))
        await asyncio.wait([closing], timeout=0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert child.returncode is not None
        await gone(handles)


async def test_a_spawn_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    spawning = asyncio.ensure_future(
        spawn(["sleep", "600"], cwd=tmp_path, env=ENV, tag="half-born")
    )
    await asyncio.wait([spawning], timeout=0)
    spawning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await spawning
    with anyio.fail_after(10):
        while marked_processes("half-born"):
            await anyio.lowlevel.checkpoint()


async def test_a_killed_guardian_is_swept_up_after(tmp_path: Path) -> None:
    child = await spawn_family(tmp_path, "stubborn")
    with watching(await family_of(child.stdout)) as handles:
        os.kill(child.pid, signal.SIGKILL)
        with anyio.fail_after(10):
            assert await child.wait() == -signal.SIGKILL
        await gone(handles)
    await child.close()


async def test_sweeping_a_tag_leaves_other_tags_alone(tmp_path: Path) -> None:
    one = await spawn(["sleep", "600"], cwd=tmp_path, env=ENV, tag="one")
    other = await spawn(["sleep", "600"], cwd=tmp_path, env=ENV, tag="one-more")
    assert sweep("one") >= 1
    with anyio.fail_after(10):
        await one.wait()
    assert other.returncode is None
    await one.close()
    await other.close()


async def test_an_interrupt_reaches_the_command_and_its_status_comes_back(tmp_path: Path) -> None:
    script = "trap 'exit 9' INT; echo ready; while :; do sleep 1; done"
    child = await spawn(["sh", "-c", script], cwd=tmp_path, env=ENV, tag="interrupted")
    with anyio.fail_after(10):
        await child.stdout.readline()
        child.interrupt()
        assert await child.wait() == 9
    await child.close()


async def test_a_signal_that_ends_the_command_shows_in_its_status(tmp_path: Path) -> None:
    child = await spawn(["sh", "-c", "kill -9 $$"], cwd=tmp_path, env=ENV, tag="signalled")
    with anyio.fail_after(10):
        assert await child.wait() == 128 + signal.SIGKILL
    await child.close()


async def test_a_command_that_cannot_start_says_why(tmp_path: Path) -> None:
    child = await spawn(["no-such-program"], cwd=tmp_path, env=ENV, tag="missing")
    with anyio.fail_after(10):
        assert b"cannot start no-such-program" in await child.stderr.read()
        assert await child.wait() == 127
    await child.close()


async def test_the_streams_carry_long_lines_both_ways(tmp_path: Path) -> None:
    child = await spawn(["cat"], cwd=tmp_path, env=ENV, tag="cat")
    line = b"x" * 3_000_000 + b"\n"
    with anyio.fail_after(20):
        child.stdin.write(line)
        assert await child.stdout.readline() == line
        child.stdin.close()
        assert await child.wait() == 0
    await child.close()


async def test_a_child_gets_exactly_its_environment_and_its_mark(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "ODD": "a=b c"}
    child = await spawn(["env", "-0"], cwd=tmp_path, env=env, tag="exact")
    with anyio.fail_after(10):
        seen = (await child.stdout.read()).decode()
    await child.close()
    assert read_environment(seen).pop(TREE_VARIABLE).startswith("exact/")
    assert {**read_environment(seen), TREE_VARIABLE: ""} == {**env, TREE_VARIABLE: ""}


async def test_work_that_must_end_ends_before_a_cancellation_is_raised() -> None:
    started, finish, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        await finish.wait()
        done.set()

    task = asyncio.ensure_future(to_the_end(work()))
    await started.wait()
    task.cancel()
    await asyncio.wait([task], timeout=0)
    assert not task.done()
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


def read_environment(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.split("\0") if line)
    return {name: value for name, _, value in pairs}


def marked_processes(tag: str) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"{TREE_VARIABLE}={tag}/".encode() in environment:
            found.append(int(entry.name))
    return found
