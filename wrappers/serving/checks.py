"""What `doctor` looks at beside the agents: Python, the home, tokens, processes, ports, folders.

Each check is a function that finds one thing or several and raises nothing. Knows no agent.
"""

import os
import platform
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import anyio
import httpx

from gateway.core import json
from gateway.core.face.guard import HEALTH_PATH
from gateway.core.face.serving import Listener, PortTakenError
from gateway.core.face.tokens import TokenError, read_token
from gateway.core.json import JsonObject
from wrappers.adapter import Finding
from wrappers.processes.figures import descendants
from wrappers.processes.process import TREE_VARIABLE, spawn, sweep
from wrappers.serving.capacity import cores, default_capacity, memory
from wrappers.serving.exposure import ExposureError, check_exposure
from wrappers.serving.home import start_time
from wrappers.settings import WrapperSettings

TREE_S: Final = 5.0  # to start a small process tree and to end it
HEALTH_S: Final = 2.0
# A child in the group, one in a session of its own: the second outlives a killed group.
TREE: Final = "sleep 600 & setsid sleep 600 & echo ready; wait"


def _ok(name: str, text: str) -> Finding:
    return Finding(name=name, verdict="ok", text=text)


def _warned(name: str, text: str) -> Finding:
    return Finding(name=name, verdict="warned", text=text)


def _failed(name: str, text: str) -> Finding:
    return Finding(name=name, verdict="failed", text=text)


async def machine(
    names: Sequence[str], settings: WrapperSettings, folder: Path, mark: str
) -> list[Finding]:
    """Everything; `folder` is empty and ours, `mark` is on the processes that are started."""
    return [
        python(),
        home(settings.home),
        *tokens(names, settings),
        await processes(folder, mark),
        address(settings),
        *roots(settings.roots),
        capacity(settings),
        *await gateway(settings),
        *await wrappers(settings.home),
    ]


def python() -> Finding:
    text = f"{platform.python_version()} at {sys.executable}"
    if sys.platform != "linux":
        more = "a killed wrapper's processes are found by Linux alone"
        return _warned("python", f"{text} on {sys.platform}: {more}")
    return _ok("python", text)


def home(path: Path) -> Finding:
    path = path.expanduser().absolute()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if there != path:
        if os.access(there, os.W_OK | os.X_OK):
            return _ok("home", f"{path} will be made")
        return _failed("home", f"{path} cannot be made: no permission; set A2A_GATEWAY_HOME")
    if not path.is_dir():
        return _failed("home", f"{path} is no folder; set A2A_GATEWAY_HOME")
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return _failed("home", f"{path} cannot be written by you; set A2A_GATEWAY_HOME")
    if mode & 0o022:
        return _failed("home", f"{path} can be written by others ({mode:04o}); chmod 700 it")
    if found.st_uid != os.getuid():
        return _warned("home", f"{path} belongs to another user; set A2A_GATEWAY_HOME")
    if mode & 0o055:
        return _warned("home", f"{path} can be read by others ({mode:04o}); chmod 700 it")
    return _ok("home", f"{path} ({mode:04o})")


def tokens(names: Sequence[str], settings: WrapperSettings) -> Iterator[Finding]:
    """The token file of each wrapper to come, and the one to register with."""
    if settings.no_auth:
        yield _warned("token", "none is asked for (--no-auth): whoever reaches the port is served")
    else:
        own = [settings.home / "wrappers" / (settings.name or name) / "token" for name in names]
        for path in [settings.token_file] if settings.token_file else own:
            yield _token("token", path, missing_is_fine=True)
    if settings.register_at is not None:
        path = settings.register_token_file or settings.home / "register-token"
        yield _token("register", path, missing_is_fine=False)


def _token(name: str, path: Path, *, missing_is_fine: bool) -> Finding:
    if missing_is_fine and not path.exists():
        return _ok(name, f"{path} will be made")
    try:
        read_token(path)
    except TokenError as exc:
        return _failed(name, str(exc))
    except OSError as exc:
        return _failed(name, f"{path}: {exc.strerror}")
    return _ok(name, f"{path} (0600)")


async def processes(folder: Path, mark: str) -> Finding:
    """A small tree is started as an agent's commands are, and ended: nothing may be left."""
    environment = {"PATH": os.defpath, TREE_VARIABLE: mark}
    began = time.monotonic()
    try:
        with anyio.fail_after(TREE_S):
            child = await spawn(["sh", "-c", TREE], cwd=folder, env=environment, tag="tree")
            try:
                said = await child.stdout.readline()
            finally:
                below = len(descendants(child.pid))
                await child.close()
    except (OSError, TimeoutError) as exc:
        sweep(mark)
        return _failed("processes", f"a process tree could not be tried ({type(exc).__name__})")
    if said != b"ready\n":
        return _failed("processes", "a command that was started said nothing")
    if left := sweep(mark):
        return _failed("processes", f"{left} of a tree that was ended were left (killed now)")
    took_ms = round((time.monotonic() - began) * 1000)
    return _ok("processes", f"a tree of {below} was started and ended in {took_ms} ms, none left")


def address(settings: WrapperSettings) -> Finding:
    try:
        check_exposure(settings)
        listener = Listener(settings.host, settings.port)
    except (ExposureError, PortTakenError) as exc:
        return _failed("address", str(exc))
    listener.close()
    port = f"port {settings.port}" if settings.port else "any port"
    return _ok("address", f"{settings.host}, {port}")


def roots(folders: Sequence[Path]) -> Iterator[Finding]:
    if not folders:
        yield _ok("roots", "runs may work in any folder; --root narrows that")
    for folder in folders:
        if not folder.is_dir():
            yield _failed("roots", f"{folder} is no folder; make it or take it out")
        elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            yield _warned("roots", f"{folder} cannot be written by you")
        else:
            yield _ok("roots", str(folder))


def capacity(settings: WrapperSettings) -> Finding:
    here = f"{cores()} cores and {memory() / 2**30:.1f} GB carry {default_capacity()} runs at once"
    if settings.max_runs is None:
        return _ok("capacity", here)
    verdict: Literal["ok", "warned"] = "warned" if settings.max_runs > default_capacity() else "ok"
    text = f"{settings.max_runs} runs at once are set; {here}"
    return Finding(name="capacity", verdict=verdict, text=text)


async def gateway(settings: WrapperSettings) -> list[Finding]:
    """Whether the one to register at answers."""
    if settings.register_at is None:
        return []
    if await _answers(settings.register_at):
        return [_ok("gateway", f"{settings.register_at} answers")]
    text = f"{settings.register_at} does not answer; a wrapper keeps trying until it does"
    return [_warned("gateway", text)]


async def wrappers(home: Path) -> list[Finding]:
    """Those that run with this home."""
    found: list[Finding] = []
    for path in _notes(home):
        note = _note(path)
        name, url, pid = note.get("name"), str(note.get("url")), note.get("pid")
        if not isinstance(pid, int) or start_time(pid) != note.get("start_time"):
            found.append(_warned("wrappers", f"{path} was left by one that was killed; delete it"))
        elif await _answers(url):
            found.append(_ok("wrappers", f"{name} answers at {url} (pid {pid})"))
        else:
            text = f"{name} (pid {pid}) does not answer at {url}; end it and start it again"
            found.append(_failed("wrappers", text))
    return found or [_ok("wrappers", "none runs with this home")]


def _notes(home: Path) -> list[Path]:
    return sorted((home.expanduser() / "agents").glob("*.json"))


def _note(path: Path) -> JsonObject:
    try:
        return json.decode_object(path.read_bytes())
    except (OSError, ValueError):
        return {}


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=HEALTH_S, trust_env=False) as http:
            return (await http.get(url + HEALTH_PATH)).is_success
    except httpx.HTTPError:
        return False
