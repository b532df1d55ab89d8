"""Claude Code's process as claude-agent-sdk's transport: under our guardian, with exactly the
environment it is given.

Knows no run and no option. The SDK's own transport adds this process's environment, keeps no
handle on the tree below it, and gives a busy process 5 s and more to end.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from claude_agent_sdk import CLIConnectionError, ProcessError, Transport

from gateway.core import json
from gateway.core.json import JsonObject
from wrappers.processes import figures
from wrappers.processes.process import LINE_LIMIT, Child, spawn

STDERR_LINES: Final = 20
END_S: Final = 0.8  # an idle process writes its session and goes in about 60 ms
ALONE_S: Final = 0.2  # killed commands take a moment to be collected by the CLI
LOOK_S: Final = 0.02


class CliTransport(Transport):
    """One process, started once. `stderr` holds its last lines, which say why it failed."""

    def __init__(self, argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> None:
        self.stderr: Final = deque[str](maxlen=STDERR_LINES)
        self.end_s = END_S
        self._argv = argv
        self._cwd = cwd
        self._env = env
        self._child: Child | None = None
        self._killed = False
        self._listening: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Raises: OSError when the folder is gone."""
        self._child = await spawn(self._argv, cwd=self._cwd, env=self._env, tag="claude")
        self._listening = asyncio.create_task(self._listen(self._child), name="claude stderr")
        if self._killed:
            self._child.kill()

    async def _listen(self, child: Child) -> None:
        with contextlib.suppress(ValueError):  # a line longer than any that says why
            async for line in child.stderr:
                if text := line.decode(errors="replace").strip():
                    self.stderr.append(text)

    def is_ready(self) -> bool:
        return self._child is not None and not self._child.stdin.is_closing()

    async def write(self, data: str) -> None:
        """Raises: ProcessError when the process is gone, CLIConnectionError."""
        child = self._child
        if child is None:
            raise CLIConnectionError("it was not started")
        try:
            child.stdin.write(data.encode())
            await child.stdin.drain()
        except (ConnectionError, RuntimeError) as exc:  # what asyncio says of a closed pipe
            with anyio.move_on_after(self.end_s):
                raise await self._gone(child) from exc
            raise CLIConnectionError("it takes no more input") from exc

    async def end_input(self) -> None:
        if self._child is not None:
            self._child.stdin.close()

    async def read_messages(self) -> AsyncGenerator[JsonObject]:
        """Never ends but by raising: ProcessError when the process is gone, CLIConnectionError."""
        child = self._child
        if child is None:
            raise CLIConnectionError("it was not started")
        try:
            async for line in child.stdout:
                if line.startswith(b"{"):  # some builds print notes of their own
                    yield json.decode_object(line)
        except ValueError as exc:
            limit = f"at most {LINE_LIMIT} bytes of JSON"
            raise CLIConnectionError(f"it wrote a line that is not {limit}") from exc
        raise await self._gone(child)

    async def _gone(self, child: Child) -> ProcessError:
        """An error for status 0 too: whoever waits for a reply is freed by nothing else."""
        status = await child.wait()
        await self._heard(child)
        return ProcessError("it ended", exit_code=status)

    async def _heard(self, child: Child) -> None:
        """Its last words arrive beside the end of its output."""
        if self._listening is not None:
            await asyncio.wait([self._listening])
        child.stdin.close()

    # -- the end ---------------------------------------------------------------------------------

    def kill(self) -> None:
        """End the whole tree at once; a process that is just being started dies as it starts."""
        self._killed = True
        self.end_s = 0.0
        if self._child is not None:
            self._child.kill()

    async def close(self) -> None:
        """The end of its input ends the process; what is left after `end_s` is killed."""
        child = self._child
        if child is None:
            return
        child.stdin.close()
        with anyio.move_on_after(self.end_s):
            await child.wait()
        child.kill()
        await child.wait()
        await self._heard(child)

    async def alone(self) -> bool:
        """True when nothing is left of what the CLI had started: no command, no daemon of one."""
        with anyio.move_on_after(ALONE_S):
            while self._child is not None:
                below = await anyio.to_thread.run_sync(figures.descendants, self._child.pid)
                if len(below) <= 1:
                    return True
                await asyncio.sleep(LOOK_S)
        return False
