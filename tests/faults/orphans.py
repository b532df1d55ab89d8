"""Real wrappers with real agents whose commands leave everything behind: who is alive, who is killed.

Knows no verdict; it counts.
"""

import os
import random
import signal
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from gateway.core.extension import URI
from gateway.core.json import JsonObject
from tests.faults.brood import MEMBERS
from tests.models import anthropic_messages, openai_responses
from tests.wrappers.launched import Launched, launched
from wrappers.processes.figures import descendants

BROOD: Final = Path(__file__).with_name("brood.py")
GONE_S: Final = 5.0  # what is alive so long after a kill is a survivor
UP_S: Final = 60.0  # two shared cores
LOOK_S: Final = 0.01
SURE_S: Final = 0.2  # a look can miss one that forks and exits; so many in a row do not


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An agent behind a real wrapper; `request` is what its runs ask for, `verb` runs a command."""

    name: str
    agent: str
    verb: str
    request: JsonObject
    flags: tuple[str, ...] = ()

    @asynccontextmanager
    async def serving(self, folder: Path, base: Mapping[str, str]) -> AsyncGenerator["Pen"]:
        """A wrapper of it, on a scripted model where it needs one; nobody is left in the end."""
        async with self._model(folder) as variables:
            env = {**base, **variables, "PATH": base["PATH"]}
            async with launched(env, self.agent, *self.flags) as wrapper:
                pen = Pen(self, wrapper, folder)
                try:
                    yield pen
                finally:
                    pen.clear()

    @asynccontextmanager
    async def _model(self, folder: Path) -> AsyncGenerator[dict[str, str]]:
        match self.agent:
            case "codex":
                async with openai_responses.running() as model:
                    yield openai_responses.codex_home(folder / "codex", model.url)
            case "claude_code":
                async with anthropic_messages.running() as model:
                    yield anthropic_messages.claude_home(folder / "claude", model.url)
            case _:
                yield {}


SUBJECTS: Final = (
    Subject(name="scripted", agent="scripted", verb="run", request={}),
    Subject(
        name="codex, sandboxed", agent="codex", verb="@sh", request={"sandbox": "workspace-write"}
    ),
    Subject(
        name="codex, full access",
        agent="codex",
        verb="@sh",
        request={"sandbox": "danger-full-access"},
    ),
    Subject(
        name="claude_code",
        agent="claude_code",
        verb="@sh",
        request={},
        flags=("--allow-root",),
    ),
)


class Pen:
    """A wrapper, and the broods that its agent's commands start in it."""

    def __init__(self, subject: Subject, wrapper: Launched, folder: Path) -> None:
        self.subject = subject
        self.wrapper = wrapper
        self.folder = folder
        self.canary = ""

    @property
    def pid(self) -> int:
        return self.wrapper.process.pid

    async def hatch(self, **request: str) -> str:
        """Start a run whose command is a brood of a new canary; the task's id."""
        self.canary = f"canary-{uuid.uuid4().hex}"
        command = f"{sys.executable} -I -S {BROOD} {self.canary}"
        message: JsonObject = {
            "messageId": self.canary,
            "role": "ROLE_USER",
            "parts": [{"text": f"{self.subject.verb} {command}"}],
            "metadata": {URI: {"cwd": str(self.folder), **self.subject.request, **request}},
        }
        params: JsonObject = {"message": message, "configuration": {"returnImmediately": True}}
        return (await self.wrapper.rpc("SendMessage", params))["task"]["id"]

    def brood(self) -> set[int]:
        """Who is alive of the last brood, in whatever namespace, under whatever parent."""
        found: set[int] = set()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if self.canary.encode() in words:
                    found.add(int(folder.name))
        return found

    async def some_time(self, chance: random.Random) -> int:
        """Until the brood is whole, or, in one round of three, any moment before. How many live."""
        longest = chance.uniform(0, 1.5) if chance.random() < 0.33 else UP_S
        with anyio.move_on_after(longest):
            await self.whole()
        while not self.programs():  # noqa: ASYNC110 (a kill of nobody proves nothing)
            await anyio.sleep(LOOK_S)
        return len(self.brood())

    async def whole(self) -> None:
        """Until everybody of the brood is there."""
        while len(self.brood()) < MEMBERS:  # noqa: ASYNC110 (the kernel has no event for it)
            await anyio.sleep(LOOK_S)

    async def survivors(self) -> tuple[int, float]:
        """How many live on after `GONE_S`, and the seconds until nobody did."""
        began = time.monotonic()
        gone_at = began
        with anyio.move_on_after(GONE_S):
            while time.monotonic() - gone_at < SURE_S:
                if self.brood():
                    gone_at = time.monotonic()
                await anyio.sleep(LOOK_S)
            return 0, gone_at - began
        return max(1, len(self.brood())), GONE_S

    def described(self) -> list[str]:
        """Of each that is alive: its parent, its age in seconds and its mark."""
        found: list[str] = []
        for pid in self.brood():
            with suppress(OSError):
                text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
                fields = text.rpartition(")")[2].split()
                age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / 100
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                marks = [one.decode() for one in variables if one.startswith(b"A2A_PROCESS")]
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2].decode()
                found.append(f"{words} below {fields[1]} for {age:.2f} s, {marks}")
        return found

    def clear(self) -> None:
        for pid in self.brood() if self.canary else ():
            kill(pid)

    # -- who can be killed -----------------------------------------------------------------------

    def guardians(self) -> list[int]:
        return _named("a2a-guardian", descendants(self.pid))

    def programs(self) -> list[int]:
        """The agent's programs: what stands directly below a guardian."""
        guardians = {*self.guardians()}
        return [pid for pid in descendants(self.pid) if _parent(pid) in guardians]

    def kill_wrapper(self) -> None:
        kill(self.pid)

    def kill_guardians(self) -> None:
        for pid in self.guardians():
            kill(pid)

    def kill_both(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)  # all at once: nobody sees another one die
        for pid in (*self.guardians(), self.pid):
            kill(pid)

    def kill_all(self) -> None:
        """What stands by to sweep up, too: only another start is left to do it."""
        os.kill(self.pid, signal.SIGSTOP)
        for pid in (*_named("a2a-sweeper", descendants(self.pid)), *self.guardians(), self.pid):
            kill(pid)

    def kill_programs(self) -> None:
        for pid in self.programs():
            kill(pid)

    def freeze_programs(self) -> None:
        for pid in self.programs():
            kill(pid, signal.SIGSTOP)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


KILLS: Final[Mapping[str, Callable[[Pen], None]]] = {
    "its program": Pen.kill_programs,
    "its guardian": Pen.kill_guardians,
    "the wrapper": Pen.kill_wrapper,
    "wrapper and guardians": Pen.kill_both,
    "SIGTERM": Pen.terminate,
    "all, and the next start": Pen.kill_all,
}


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _named(name: str, pids: Iterable[int]) -> list[int]:
    found: list[int] = []
    for pid in pids:
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == name:
                found.append(pid)
    return found


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
