"""A wrapper that root starts for another user: nothing of it is root's."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from gateway.core.json import JsonObject
from tests.conftest import built_environment
from tests.models import anthropic_messages, openai_responses
from tests.wrappers.held import holding
from tests.wrappers.launched import Launched, launched, refused
from wrappers.codex.adapter import find_codex
from wrappers.processes.figures import descendants

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root becomes another user"
)

USER = "nobody"


def may_run_this() -> bool:
    command = [sys.executable, "-c", "import wrappers.launch, claude_agent_sdk"]
    try:
        done = subprocess.run(command, user=USER, extra_groups=[], capture_output=True, check=False)
    except PermissionError:
        return False
    return done.returncode == 0


@pytest.fixture
def readable() -> None:
    if not may_run_this():
        pytest.skip(f"user {USER!r} may not read this Python environment")


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder that belongs to the user: those of pytest are closed to everybody else."""
    path = Path(tempfile.mkdtemp(prefix="run-as-"))
    try:
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path)


@asynccontextmanager
async def serving(agent: str, folder: Path) -> AsyncGenerator[Launched]:
    (folder / "work").mkdir()
    environment = built_environment(folder / "home")
    models = {"codex": _codex, "claude_code": _claude, "scripted": _none}
    async with models[agent](folder) as variables:
        own(folder)
        env = {**environment, **variables, "PATH": environment["PATH"]}
        async with launched(env, agent, "--run-as", USER) as wrapper:
            yield wrapper


@asynccontextmanager
async def _codex(folder: Path) -> AsyncGenerator[dict[str, str]]:
    async with openai_responses.running() as model:
        yield openai_responses.codex_home(folder / "codex", model.url)


@asynccontextmanager
async def _claude(folder: Path) -> AsyncGenerator[dict[str, str]]:
    async with anthropic_messages.running() as model:
        yield anthropic_messages.claude_home(folder / "claude", model.url)


@asynccontextmanager
async def _none(_folder: Path) -> AsyncGenerator[dict[str, str]]:
    yield {}


def own(folder: Path) -> None:
    entry = pwd.getpwnam(USER)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def identity(pid: int) -> set[str]:
    """All user, group and supplementary group ids of a process, as `Uid 0` and the like."""
    found: set[str] = set()
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, numbers = line.partition(":")
        if name in ("Uid", "Gid", "Groups"):
            found |= {f"{name} {number}" for number in numbers.split()}
    return found


@pytest.mark.usefixtures("readable")
@pytest.mark.parametrize(
    ("agent", "verb", "asked"),
    [
        ("scripted", "run", {}),
        ("claude_code", "@sh", {"permission_mode": "auto"}),
        ("codex", "@sh", {"sandbox": "danger-full-access"}),
    ],
)
async def test_everything_below_a_wrapper_is_of_the_user_that_it_runs_as(
    agent: str, verb: str, asked: JsonObject, folder: Path
) -> None:
    if agent == "codex" and find_codex(None, os.defpath) is None:
        pytest.skip("no codex program; the extra `codex` brings one")
    entry = pwd.getpwnam(USER)
    theirs = {f"Uid {entry.pw_uid}", f"Gid {entry.pw_gid}"}
    theirs |= {f"Groups {group}" for group in os.getgrouplist(USER, entry.pw_gid)}
    with anyio.fail_after(60):
        async with serving(agent, folder) as wrapper:
            with holding(folder / "work") as held:
                (folder / "work" / "held").chmod(0o666)
                script = f"{verb} id -un > who; {held.command}"
                task = await wrapper.send(script, folder / "work", wait=False, **asked)
                await held.taken()
                pid = wrapper.process.pid
                for process in (pid, *descendants(pid)):
                    assert identity(process) == theirs
                await wrapper.rpc("CancelTask", {"id": task["id"]})
                await held.released()
    assert (folder / "work" / "who").read_text(encoding="utf-8").strip() == USER
    state = [path for path in (folder / "home").rglob("*") if path.is_file()]
    assert {path.stat().st_uid for path in state} == {entry.pw_uid}
    assert {"runs.db", "token"} <= {path.name for path in state}


@pytest.mark.usefixtures("readable")
async def test_a_user_without_a_home_needs_a_folder_for_the_state(folder: Path) -> None:
    environment = built_environment(folder / "home")
    del environment["A2A_GATEWAY_HOME"]
    own(folder)
    code, errors = await refused(environment, "scripted", "--run-as", USER)
    assert (code, "has no home to work in" in errors) == (1, True), errors
    assert "A2A_GATEWAY_HOME" in errors


@pytest.mark.usefixtures("readable")
async def test_a_folder_of_somebody_else_is_no_home(folder: Path) -> None:
    code, errors = await refused(built_environment(folder / "home"), "scripted", "--run-as", USER)
    assert (code, "has no home to work in" in errors) == (1, True), errors


async def test_a_program_that_the_user_may_not_read_says_so(environment: dict[str, str]) -> None:
    # Python goes on after it became another user, until it imports something: the error once was
    # a module that is not there.
    if may_run_this():
        pytest.skip(f"user {USER!r} may read this Python environment")
    code, errors = await refused(environment, "scripted", "--run-as", USER)
    assert (code, "install it for all users" in errors) == (1, True), errors
