"""Starts vendor CLIs under the guardian and ends them: no child outlives its wrapper.

Knows no vendor and no run: commands in, a `Child` with streams out.
"""

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import sys
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio

GUARDIAN: Final = Path(__file__).with_name("guardian.py")
TREE_VARIABLE: Final = "A2A_PROCESS_TREE"  # marks every process of a tree, for `sweep`
LINE_LIMIT: Final = 64 * 1024 * 1024  # bytes of one line; CLIs print whole file contents as one
DONE: Final = b"."  # the guardian's last word, see there
GRACE_S: Final = 2.0  # below the 5 s after which claude-agent-sdk kills the guardian itself


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
        # Ends with the guardian, so it needs no owner beyond this object.
        self._guarded = asyncio.ensure_future(self._guard())

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
        if heard != DONE:
            sweep(self._mark)

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
    try:
        process = await asyncio.create_subprocess_exec(
            *_guardian_command("control", str(theirs.fileno()), grace_s, "-"),
            *map(str, argv),
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


def _guardian_command(mode: str, handle: str, grace_s: float, env_file: str) -> list[str]:
    grace_ms = str(int(grace_s * 1000))
    return [sys.executable, "-I", "-S", str(GUARDIAN), mode, handle, grace_ms, env_file]


def guardian_launcher(
    path: Path,
    binary: Path,
    *,
    env: Mapping[str, str] | None = None,
    tag: str = "launcher",
    grace_s: float = GRACE_S,
) -> Path:
    """Write a script (0700) that runs `binary` under a guardian bound to this process.

    For SDKs that start a CLI by its path alone and hand it this process's whole environment: with
    `env` (kept beside the script, 0600) the CLI gets exactly that, whatever the SDK adds.
    """
    env_file = "-"
    if env is not None:
        env_file = f"{path}.env"
        marked = {**env, TREE_VARIABLE: _new_mark(env, tag)}
        lines = "".join(f"{name}={value}\0" for name, value in marked.items())
        _write_private(Path(env_file), lines, 0o600)
    command = _guardian_command("parent", str(os.getpid()), grace_s, env_file)
    line = shlex.join([*command, str(binary)])
    _write_private(path, f'#!/bin/sh\nexec {line} "$@"\n', 0o700)
    return path


def _new_mark(env: Mapping[str, str], tag: str) -> str:
    """A mark of its own below the one in `env`: whoever set that can sweep all of them."""
    above = env.get(TREE_VARIABLE)
    return "/".join(([above] if above else []) + [tag, uuid.uuid4().hex])


def _write_private(path: Path, text: str, mode: int) -> None:
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def sweep(tag: str) -> int:
    """Kill what a dead guardian left of trees marked `tag` (all of it, or one tree). How many.

    Linux only; elsewhere nothing is found.
    """
    killed = 0
    proc = Path("/proc")
    entries = [entry for entry in proc.iterdir() if entry.name.isdigit()] if proc.is_dir() else []
    for entry in entries:
        pid = int(entry.name)
        if pid == os.getpid() or not _is_marked(entry, tag):
            continue
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            if _is_marked(entry, tag):  # still the process that was looked at
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                killed += 1
        except OSError:
            continue
        finally:
            os.close(handle)
    return killed


def _is_marked(entry: Path, tag: str) -> bool:
    try:
        environment = (entry / "environ").read_bytes()
    except OSError:
        return False
    mark = f"{TREE_VARIABLE}={tag}".encode()
    return any(
        variable == mark or variable.startswith(mark + b"/")
        for variable in environment.split(b"\0")
    )
