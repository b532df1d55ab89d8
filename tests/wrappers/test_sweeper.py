"""Marks of process trees: who bears one, who is swept, and who stands by to do it."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from tests.wrappers.test_process import ENV, FAMILY, family_of, gone, watching
from wrappers.processes.figures import descendants
from wrappers.processes.process import TREE_VARIABLE, Child, spawn, swept_after
from wrappers.processes.sweeper import BASE, is_marked, limit_of, now, sweep, sweep_part

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="marks are looked for in /proc"),
    pytest.mark.skipif(
        os.geteuid() != 0 and resource.getrlimit(resource.RLIMIT_RTTIME)[1] != -1,
        reason="limits only go down, and these processes have one already (of an agent, perhaps)",
    ),
]

# A process without its parents; `env -i` before it throws the environment away, too.
DAEMON = "setsid sh -c 'echo daemon $$; exec sleep 600' &"
BARE = f'env -i "PATH=$PATH" {DAEMON}'


async def daemons(
    folder: Path, tag: str, *commands: str, mark: str = ""
) -> tuple[Child, list[int]]:
    """A tree whose command started these and waits; their pids in the order of their start."""
    lines = "\n".join(f"{command}\nread _" for command in commands)
    env = ENV | ({TREE_VARIABLE: mark} if mark else {})
    child = await spawn(["sh", "-c", f"{lines}\nread _"], cwd=folder, env=env, tag=tag)
    pids: list[int] = []
    with anyio.fail_after(10):
        for _ in commands:
            pids.append(int((await child.stdout.readline()).split()[1]))
            child.stdin.write(b"\n")
    return child, pids


def test_a_limit_is_far_from_anything_that_is_met() -> None:
    limits = {limit_of(f"wrapper/{n}/codex/{n}") for n in range(1000)}
    assert len(limits) == 1000
    assert all(BASE <= limit < 2 * BASE for limit in limits)


async def test_a_process_without_its_environment_is_found_by_its_limit(tmp_path: Path) -> None:
    child, [bare] = await daemons(tmp_path, "limited", BARE)
    assert TREE_VARIABLE not in environment(bare)
    for mark in ("limited", child.mark):
        assert is_marked(bare, mark)
    assert not is_marked(bare, "limit")
    with watching({"bare": bare}) as handles:
        assert sweep("limited") >= 2
        await gone(handles)
    await child.close()


async def test_an_instance_of_a_wrapper_leaves_the_next_ones_processes_alone(
    tmp_path: Path,
) -> None:
    # What stands by for a killed wrapper goes on for seconds, while the next one starts.
    old, [left] = await daemons(tmp_path, "codex", BARE, mark="wrapper/one")
    new, [right] = await daemons(tmp_path, "codex", BARE, mark="wrapper/two")
    with watching({"left": left}) as handles:
        sweep("wrapper/one")
        await gone(handles)
    assert is_marked(right, "wrapper/two")
    with watching({"right": right}) as handles:
        sweep("wrapper")
        await gone(handles)
    for child in (old, new):
        await child.close()


def of_part(part: str, command: str) -> str:
    return f'{TREE_VARIABLE}="${TREE_VARIABLE}/{part}" {command}'


async def test_a_part_of_a_tree_is_swept_with_what_lost_its_name(tmp_path: Path) -> None:
    since = now()
    child, [named, bare] = await daemons(tmp_path, "parts", of_part("a", DAEMON), BARE)
    with watching({"named": named, "bare": bare}) as handles:
        assert sweep_part(f"{child.mark}/a", since) == 2
        await gone(handles)
    assert child.returncode is None
    await child.close()


async def test_what_lost_its_name_stays_when_two_parts_may_have_it(tmp_path: Path) -> None:
    since = now()
    commands = (of_part("a", DAEMON), of_part("b", DAEMON), BARE)
    child, [named, other, bare] = await daemons(tmp_path, "shared", *commands)
    with watching({"named": named}) as handles:
        assert sweep_part(f"{child.mark}/a", since) == 1
        await gone(handles)
    assert is_marked(other, child.mark)
    assert is_marked(bare, child.mark)
    await child.close()


async def test_what_lost_its_name_before_stays(tmp_path: Path) -> None:
    # A database that an earlier run started with sudo, which clears the environment.
    child, [bare] = await daemons(tmp_path, "earlier", BARE)
    assert sweep_part(f"{child.mark}/a", now() + 1) == 0
    assert is_marked(bare, child.mark)
    await child.close()


# -- who stands by -------------------------------------------------------------------------------


async def test_a_wrapper_killed_together_with_its_guardians_leaves_nobody(tmp_path: Path) -> None:
    wrapper = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.wrappers.doomed", tmp_path, "swept"), stdout=subprocess.PIPE
    )
    assert wrapper.stdout is not None
    with watching(await family_of(wrapper.stdout)) as handles:
        sweeper = await standing_by(wrapper.pid)
        guardians = [pid for pid in descendants(wrapper.pid) if comm(pid) == "a2a-guardian"]
        wrapper.send_signal(signal.SIGSTOP)
        for pid in (*guardians, wrapper.pid):
            os.kill(pid, signal.SIGKILL)
        await wrapper.wait()
        await gone(handles)
        with watching({"sweeper": sweeper}) as itself:
            await gone(itself)
    assert len(handles) == len(FAMILY)


async def test_who_stands_by_goes_with_a_wrapper_that_ends_by_itself() -> None:
    async with swept_after("wrapper/ends"):
        sweeper = await standing_by(os.getpid())
    assert not comm(sweeper)


async def test_who_stands_by_is_replaced_when_it_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wrappers.processes.process.STAND_BY_AGAIN_S", 0.01)
    async with swept_after("wrapper/replaced"):
        first = await standing_by(os.getpid())
        os.kill(first, signal.SIGKILL)
        assert await standing_by(os.getpid(), besides=first) != first


async def standing_by(pid: int, besides: int = 0) -> int:
    """The sweeper of a process, once it is there and hears no polite signal any more."""
    with anyio.fail_after(10):
        while True:
            for below in {*descendants(pid)} - {besides}:
                if comm(below) == "a2a-sweeper":
                    return below
            await anyio.lowlevel.checkpoint()


def environment(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text(encoding="utf-8")


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
