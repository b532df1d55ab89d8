"""Starts and stops local wrappers, by command, and finds those that already run in this home.

Knows no A2A and imports no wrapper: it runs `wrappers.launch` as a program and reads its ready
line. A wrapper outlives a gateway that was killed, and the next gateway takes it over.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio

from gateway.core import json
from gateway.core.face.tokens import TokenError, read_token
from gateway.core.json import JsonObject, as_object
from gateway.errors import LaunchError
from gateway.home import Home, Process, Published, read_private, start_time, write_private

STOP_S: Final = 10.0  # a wrapper stops its agents' trees first; then it is killed
LOG_BYTES: Final = 5 * 1024 * 1024  # of a wrapper's stderr; a longer file is begun anew at start
TAIL_BYTES: Final = 2000
_POLL_S: Final = 0.05  # how often the end of an adopted process (no child of ours) is looked for

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A wrapper that answers. `ours`: a gateway of this home started it, so it ends with us."""

    base_url: str
    token: str | None
    process: Process
    ours: bool
    child: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        return urlsplit(self.base_url).port or 0

    @property
    def alive(self) -> bool:
        return self.process.alive if self.child is None else self.child.returncode is None


@dataclass(slots=True)
class _Slot:
    """One agent's wrapper; the lock lets one start happen at a time."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: Running | None = None
    doubted: bool = False


def wrapper_command(agent: str, idle_exit_s: float | None = None) -> list[str]:
    """The command line of an agent's wrapper. `-P`: the folder it starts in offers no modules."""
    program = [sys.executable, "-P", "-m", "wrappers.launch", agent]
    idle = [] if idle_exit_s is None else ["--idle-exit", f"{idle_exit_s:g}"]
    return [*program, "--json", "--port", "0", "--name", agent, *idle]


class Launcher:
    """The local wrappers of one gateway."""

    def __init__(
        self,
        home: Home,
        *,
        environment: Mapping[str, str],
        timeout_s: float,
        idle_exit_s: float | None = None,
    ) -> None:
        """`idle_exit_s`: what a wrapper waits without work before it ends; None: for ever."""
        self._idle_exit_s = idle_exit_s
        self._home = home
        self._environment = dict(environment)
        self._timeout_s = timeout_s
        self._slots: dict[str, _Slot] = {}

    async def ensure(self, agent: str) -> Running:
        """The agent's wrapper: the running one, one found in the home, or a new one.

        Raises: LaunchError.
        """
        slot = self._slots.setdefault(agent, _Slot())
        if slot.running is not None and slot.running.alive and not slot.doubted:
            return slot.running
        async with slot.lock:
            if slot.running is not None and slot.doubted:
                await self._settle(slot.running)
                slot.doubted = False
            if slot.running is None or not slot.running.alive:
                slot.running = await self._awaited(agent) or await self._start(agent)
            return slot.running

    def doubt(self, agent: str) -> None:
        """A link to the agent's wrapper failed: it may be about to end."""
        if (slot := self._slots.get(agent)) is not None:
            slot.doubted = True

    async def _settle(self, wrapper: Running) -> None:
        """Wait for the end of one that has taken its note back: it takes nothing up any more."""
        if wrapper.alive and not self._home.note(wrapper.port).exists():
            logger.info("wrapper %d is ending; waiting for it", wrapper.process.pid)
            if not await _ended(wrapper) and wrapper.ours:
                await _stop(wrapper)

    async def stop(self) -> None:
        """Stop every wrapper that a gateway of this home started, side by side.

        Those of a gateway that was killed too, although nobody asked this one for them.
        """
        running = [slot.running for slot in self._slots.values() if slot.running is not None]
        used = {wrapper.process for wrapper in running}
        found = [self._adopted(published) for published in self._home.wrappers()]
        running += [wrapper for wrapper in found if wrapper.process not in used]
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                for wrapper in running:
                    if wrapper.ours and wrapper.alive:
                        group.start_soon(_stop, wrapper)
            self._home.launched.unlink(missing_ok=True)

    # -- one that runs ---------------------------------------------------------------------------

    async def _awaited(self, agent: str) -> Running | None:
        """The one that runs, or that a killed gateway had just started; the end of one that is
        ending is waited for, because its successor needs its folder."""
        process: Process | None = None
        match as_object((read_private(self._home.launched) or {}).get(agent)):
            case {"pid": int(pid), "start_time": int(ticks)}:
                process = Process(pid=pid, start_time=ticks)
            case _:
                pass
        with anyio.move_on_after(self._timeout_s):
            while (found := self._found(agent)) is None and process and process.alive:  # noqa: ASYNC110
                await anyio.sleep(_POLL_S)  # no child of ours: nobody tells us
            return found
        return None

    def _found(self, agent: str) -> Running | None:
        for published in self._home.wrappers():
            if published.name == agent:
                logger.info("agent %s runs already, pid %d", agent, published.process.pid)
                return self._adopted(published)
        return None

    def _adopted(self, published: Published) -> Running:
        launched = (read_private(self._home.launched) or {}).values()
        process = published.process
        return Running(
            base_url=published.url,
            token=_token(published.token_file),
            process=process,
            ours=any(as_object(one) == _identity(process) for one in launched),
        )

    # -- a new one -------------------------------------------------------------------------------

    async def _start(self, agent: str) -> Running:
        log = self._home.logs / f"{agent}.log"
        child = await self._spawn(agent, log)
        process = Process(pid=child.pid, start_time=start_time(child.pid))
        self._remember(agent, process)  # before it is ready: we may be killed meanwhile
        try:
            with anyio.fail_after(self._timeout_s):
                ready = await _ready_line(agent, child)
        except TimeoutError as exc:
            await _end(child)
            why = f"it was not ready within {self._timeout_s:g} s{_tail(log)}"
            raise LaunchError(agent, why) from exc
        except ValueError as exc:
            await _end(child)
            raise LaunchError(agent, f"{exc}{_tail(log)}") from exc
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _end(child)
            raise
        logger.info("agent %s started, pid %d, %s", agent, child.pid, ready["base_url"])
        token_file = ready.get("token_file")
        return Running(
            base_url=str(ready["base_url"]).rstrip("/"),
            token=_token(Path(token_file)) if isinstance(token_file, str) else None,
            process=process,
            ours=True,
            child=child,
        )

    async def _spawn(self, agent: str, log: Path) -> asyncio.subprocess.Process:
        descriptor = _open_log(log)
        try:
            return await asyncio.create_subprocess_exec(
                *self._command(agent),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=descriptor,
                env=self._environment,
                cwd=self._home.path,
                # Ctrl+C at our terminal is ours to hand on, in order.
                start_new_session=True,
            )
        except OSError as exc:
            raise LaunchError(agent, f"its program cannot be run ({exc.strerror})") from exc
        finally:
            os.close(descriptor)

    def _command(self, agent: str) -> Sequence[str]:
        return wrapper_command(agent, self._idle_exit_s)

    def _remember(self, agent: str, process: Process) -> None:
        launched = read_private(self._home.launched) or {}
        write_private(self._home.launched, {**launched, agent: _identity(process)})


def _identity(process: Process) -> JsonObject:
    return {"pid": process.pid, "start_time": process.start_time}


async def _ready_line(agent: str, child: asyncio.subprocess.Process) -> JsonObject:
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


def _token(path: Path) -> str | None:
    try:
        return read_token(path)
    except TokenError:
        return None  # started with --no-auth; if not, it answers 401 and the run says so


async def _stop(wrapper: Running) -> None:
    if wrapper.child is not None:
        await _end(wrapper.child)
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        if wrapper.alive:
            with suppress(ProcessLookupError):
                os.kill(wrapper.process.pid, number)
        if await _ended(wrapper):
            return


async def _ended(wrapper: Running) -> bool:
    """Whether it ended within STOP_S."""
    with anyio.move_on_after(STOP_S):
        while wrapper.alive:  # noqa: ASYNC110  # it may be no child of ours: nobody tells us
            await anyio.sleep(_POLL_S)
        return True
    return False


async def _end(child: asyncio.subprocess.Process) -> None:
    """Terminate a child, kill it when it does not end, and reap it."""
    with suppress(ProcessLookupError):
        child.terminate()
    with anyio.move_on_after(STOP_S):
        await child.wait()
        return
    with suppress(ProcessLookupError):
        child.kill()
    await child.wait()
