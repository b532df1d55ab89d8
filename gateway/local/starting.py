"""Starts one local wrapper by its command and waits for its ready line.

Knows the command line of `wrappers.launch` and imports no wrapper; nothing of who wants it.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio

from gateway.core import json
from gateway.core.face.tokens import TokenError, read_token
from gateway.core.json import JsonObject
from gateway.errors import LaunchError
from gateway.home import Process, start_time
from gateway.local.running import Running, end

LOG_BYTES: Final = 5 * 1024 * 1024  # of a wrapper's stderr; a longer file is begun anew at start
TAIL_BYTES: Final = 2000
NAME_TAKEN: Final = 3  # a wrapper's exit status: another one of its name runs


class NameTakenError(Exception):
    """A wrapper of this name runs already, or is about to."""


def wrapper_command(agent: str, idle_exit_s: float | None = None) -> list[str]:
    """The command line of an agent's wrapper. `-P`: the folder it starts in offers no modules."""
    program = [sys.executable, "-P", "-m", "wrappers.launch", agent]
    idle = [] if idle_exit_s is None else ["--idle-exit", f"{idle_exit_s:g}"]
    return [*program, "--json", "--port", "0", "--name", agent, "--launched", *idle]


async def start(
    agent: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    timeout_s: float,
    on_spawned: Callable[[Process], None],
) -> Running:
    """A wrapper that answers. `on_spawned` has its process before it is ready.

    Raises: LaunchError; NameTakenError.
    """
    child = await _spawn(agent, command, environment, folder, log)
    process = Process(pid=child.pid, start_time=start_time(child.pid))
    on_spawned(process)
    try:
        with anyio.fail_after(timeout_s):
            ready = await _ready_line(child)
    except TimeoutError as exc:
        await end(child)
        why = f"it was not ready within {timeout_s:g} s{_tail(log)}"
        raise LaunchError(agent, why) from exc
    except ValueError as exc:
        await end(child)
        if child.returncode == NAME_TAKEN:
            raise NameTakenError(agent) from exc
        raise LaunchError(agent, f"{exc}{_tail(log)}") from exc
    except BaseException:
        with anyio.CancelScope(shield=True):
            await end(child)
        raise
    token_file = ready.get("token_file")
    return Running(
        base_url=str(ready["base_url"]).rstrip("/"),
        token=token_in(Path(token_file)) if isinstance(token_file, str) else None,
        process=process,
        ours=True,
        child=child,
    )


async def _spawn(
    agent: str, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
) -> asyncio.subprocess.Process:
    descriptor = _open_log(log)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=descriptor,
            env=dict(environment),
            cwd=folder,
            # Ctrl+C at our terminal is ours to hand on, in order.
            start_new_session=True,
        )
    except OSError as exc:
        raise LaunchError(agent, f"its program cannot be run ({exc.strerror})") from exc
    finally:
        os.close(descriptor)


async def _ready_line(child: asyncio.subprocess.Process) -> JsonObject:
    """The wrapper's ready line. Raises: ValueError when it ended, or said something else."""
    assert child.stdout is not None
    line = await child.stdout.readline()
    if not line:
        raise ValueError(f"it ended with exit code {await child.wait()}")
    try:
        ready = json.decode_object(line)
    except ValueError as exc:
        raise ValueError("its first line of output is not its ready line") from exc
    if not isinstance(ready.get("base_url"), str):
        raise ValueError("its ready line names no base_url")  # noqa: TRY004
    return ready


def _open_log(log: Path) -> int:
    """stderr goes to a file: a pipe would break under a wrapper that outlives this process."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    if log.exists() and log.stat().st_size > LOG_BYTES:
        flags |= os.O_TRUNC
    return os.open(log, flags, 0o600)


def _tail(log: Path) -> str:
    """The last line the wrapper wrote to its log, for the error's text."""
    with suppress(OSError):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
        if lines:
            return f"; its log ends: {lines[-1].strip()[:300]}"
    return ""


def token_in(path: Path) -> str | None:
    """A wrapper's token; None where it was started with --no-auth. If it was not, it answers 401
    and the run says so."""
    try:
        return read_token(path)
    except TokenError:
        return None
