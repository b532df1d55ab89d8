"""People and scripts at the command line: commands with a pipe, and commands in a terminal."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from gateway.core import json
from gateway.core.json import JsonObject
from tests.conftest import built_environment
from tests.gateway.process import COMMAND, START_S, started

# The signals of Ctrl+C go to whom the terminal belongs.
# As a login shell starts it: whoever runs the tests in the background ignores SIGINT, and whatever
# a process ignores its children do.
AT_A_TERMINAL = (
    "import fcntl, os, signal, sys, termios\n"
    "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
CTRL_C = "\x03"
DOWN = "\x1b[B"
ENTER = "\r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> JsonObject:
        return json.decode_object(self.out)

    @property
    def lines(self) -> list[JsonObject]:
        return [json.decode_object(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Somebody's shell: an environment, and a folder to work in."""

    environment: Mapping[str, str]
    folder: Path

    async def do(self, *arguments: str, stdin: str = "") -> Done:
        """A command in a script."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(self.environment),
            cwd=self.folder,
        )
        with anyio.fail_after(START_S):
            out, err = await process.communicate(stdin.encode())
        done = Done(code=process.returncode or 0, out=out.decode(), err=err.decode())
        assert "Traceback" not in done.err, done.err
        return done

    async def spawn(self, script: str, *options: str) -> str:
        """The id of a run that is left to itself."""
        done = await self.do("run", "--detach", *options, "scripted", "--", script)
        assert done.code == 0, done.err
        return done.out.strip()

    async def asks(self, script: str) -> str:
        """The id of a run that waits for an answer."""
        done = await self.do("run", "--quiet", "--json", "scripted", "--", script)
        assert done.code == 7, done
        return done.lines[0]["run_id"]

    @asynccontextmanager
    async def terminal(
        self, *arguments: str, stdout: int | None = None
    ) -> AsyncGenerator["Terminal"]:
        """A command in a terminal; `stdout` may go elsewhere, as in x=$(…)."""
        ours, process = self._at_a_terminal(arguments, stdout)
        terminal = Terminal(ours, process)
        try:
            yield terminal
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    def _at_a_terminal(
        self, arguments: tuple[str, ...], stdout: int | None
    ) -> tuple[int, "subprocess.Popen[bytes]"]:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", AT_A_TERMINAL, *COMMAND, *arguments],
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            env={**self.environment, "TERM": "xterm", "COLUMNS": "200"},
            cwd=self.folder,
            start_new_session=True,
        )
        os.close(theirs)
        return ours, process


class Terminal:
    """A person at a terminal, who also says where the cursor is when asked."""

    def __init__(self, ours: int, process: "subprocess.Popen[bytes]") -> None:
        self._ours = ours
        self._process = process
        self.seen = ""  # and not waited for yet
        self.everything = ""

    async def until(self, text: str) -> None:
        """Read on until `text` came, after what was waited for before."""
        with anyio.fail_after(START_S):
            while text not in self.seen:
                await self._read()
        self.seen = self.seen.partition(text)[2]

    async def _read(self) -> None:
        await anyio.wait_readable(self._ours)
        news = os.read(self._ours, 65536).decode(errors="replace")
        self.seen += news
        self.everything += news
        if "\x1b[6n" in news:
            self.type("\x1b[1;1R")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code; what it still says is read."""
        with anyio.fail_after(START_S):
            try:
                while True:
                    await self._read()
            except OSError:  # EIO: the other side is closed
                pass
            return await anyio.to_thread.run_sync(self._process.wait)


@asynccontextmanager
async def desk(folder: Path) -> AsyncGenerator[Desk]:
    """A shell beside a gateway whose one local agent is the scripted one."""
    environment = built_environment(folder / "home")
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    work = folder / "work"
    work.mkdir()
    async with started(environment) as gateway:
        yield Desk(environment=environment, folder=work)
        assert await gateway.stop() == 0
