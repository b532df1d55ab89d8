"""Starts vendor CLIs under the guardian and ends them: no child outlives its wrapper.

Knows no vendor and no run: commands in, a `Child` with streams out.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import uuid
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio

from wrappers.processes.sweeper import VARIABLE as TREE_VARIABLE
from wrappers.processes.sweeper import limit_of, sweep

GUARDIAN: Final = Path(__file__).with_name("guardian.py")
SWEEPER: Final = Path(__file__).with_name("sweeper.py")
LINE_LIMIT: Final = 64 * 1024 * 1024  # bytes of one line; CLIs print whole file contents as one
DONE: Final = b"."  # the guardian's last word, see there
GRACE_S: Final = 1.0  # from SIGTERM to SIGKILL: a cancel has to be over within 2 s
DEAF_S: Final = 1.0  # for one that was told to kill or to go; it takes some milliseconds
STAND_BY_AGAIN_S: Final = 1.0

log = logging.getLogger(__name__)

T = TypeVar("T")


class Child:
    """A command and its tree. `pid` is the guardian's, whose exit status is the command's."""

    def __init__(
        self, process: asyncio.subprocess.Process, control: socket.socket, mark: str
    ) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("a child is spawned with three pipes")
        self.stdin: Final = process.stdin
        self.stdout: Final = process.stdout
        self.stderr: Final = process.stderr
        self.pid: Final = process.pid
        self._process = process
        self._control = control
        self._mark = mark
        self._deaf: asyncio.TimerHandle | None = None
        # Ends with the guardian, so it needs no owner beyond this object.
        self._guarded = asyncio.ensure_future(self._guard())

    @property
    def mark(self) -> str:
        """What marks the tree; a mark below it, `{mark}/x`, marks a part that can be swept alone."""
        return self._mark

    @property
    def returncode(self) -> int | None:
        """The command's exit status (128 + n for signal n), None while anything of it runs."""
        return self._process.returncode

    def interrupt(self) -> None:
        """SIGINT to the command's process group, as Ctrl+C would."""
        self._order(b"I")

    def terminate(self) -> None:
        """SIGTERM to every process of the tree."""
        self._order(b"T")

    def kill(self) -> None:
        """SIGKILL to every process of the tree, until none is left."""
        self._order(b"K")
        if self._deaf is None and not self._guarded.done():
            self._signal(signal.SIGCONT)  # a frozen guardian hears nothing
            loop = asyncio.get_running_loop()
            self._deaf = loop.call_later(DEAF_S, self._signal, signal.SIGKILL)  # then we sweep

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def wait(self) -> int:
        """The exit status, when the whole tree is gone."""
        await asyncio.shield(self._guarded)
        return await self._process.wait()

    async def _guard(self) -> None:
        """Sweep when the guardian was killed: asyncio would wait for pipes that the tree holds."""
        loop = asyncio.get_running_loop()
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while news := await loop.sock_recv(self._control, 16):
                heard = news
        self._control.close()
        if self._deaf is not None:
            self._deaf.cancel()
        if heard != DONE:
            await asyncio.to_thread(sweep, self._mark)

    async def close(self, grace_s: float = GRACE_S) -> int:
        """End the tree and wait for it, even while being cancelled: at most about `grace_s`."""
        return await to_the_end(self._close(grace_s))

    async def _close(self, grace_s: float) -> int:
        self.stdin.close()
        self.terminate()
        with anyio.move_on_after(grace_s):
            return await self.wait()
        self.kill()
        return await self.wait()

    def _order(self, order: bytes) -> None:
        with contextlib.suppress(OSError):  # the guardian has gone: there is nobody to signal
            self._control.send(order)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, which must be bounded, to its end; a cancellation meanwhile is raised then.

    anyio's shield does not hold back `asyncio.Task.cancel`; a task of its own does.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        task.exception()  # the cancellation goes first; nobody else will look at it
        raise cancelled
    return task.result()


async def spawn(
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    tag: str,
    grace_s: float = GRACE_S,
) -> Child:
    """Start `argv` with exactly `env` (and a mark made of `tag`) in a process tree of its own.

    A command that cannot be executed exits with 127 and says why on stderr.
    Raises: OSError when `cwd` is no folder.
    """
    mark = _new_mark(env, tag)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    command = [GUARDIAN, theirs.fileno(), int(grace_s * 1000), limit_of(mark), *argv]
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", *map(str, command)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=cwd,
            env={**env, TREE_VARIABLE: mark},
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            limit=LINE_LIMIT,
        )
    except BaseException:
        ours.close()  # a guardian that started all the same sees the end of its control stream
        raise
    finally:
        theirs.close()
    return Child(process, ours, mark)


def _new_mark(env: Mapping[str, str], tag: str) -> str:
    """A mark of its own below the one in `env`: whoever set that can sweep all of them."""
    above = env.get(TREE_VARIABLE)
    return "/".join(([above] if above else []) + [tag, uuid.uuid4().hex])


def instance_of(mark: str) -> str:
    """A mark below a wrapper's for this one life of it: what a killed one left standing by must
    not take the next one's processes for its own."""
    return f"{mark}/{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def swept_after(mark: str) -> AsyncGenerator[None]:
    """Meanwhile a process of its own stands by to kill what is left of `mark`, should this one be
    killed together with guardians."""
    standing_by = asyncio.create_task(_stand_by(mark), name="sweeper")
    try:
        yield
    finally:
        standing_by.cancel()
        await asyncio.wait([standing_by])


async def _stand_by(mark: str) -> None:
    after_ms = str(int((GRACE_S + 0.5) * 1000))  # guardians go first
    while True:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(SWEEPER), mark, after_ms),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
                start_new_session=True,
            )
        except OSError as exc:
            log.warning("nobody would sweep up after this process: %s", exc.strerror)
        else:
            await _standing_by(process)
            log.warning("the process that sweeps up after this one ended; it is started again")
        await asyncio.sleep(STAND_BY_AGAIN_S)


async def _standing_by(process: asyncio.subprocess.Process) -> None:
    try:
        await process.wait()
    except asyncio.CancelledError:
        await to_the_end(_dismiss(process))
        raise


async def _dismiss(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.write(DONE)
        process.stdin.close()
    with anyio.move_on_after(DEAF_S):
        await process.wait()
        return
    with contextlib.suppress(ProcessLookupError):
        process.kill()
