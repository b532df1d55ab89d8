"""The home folder: what one gateway keeps on disk beside its database, and who may use it.

Knows no agent and no server. Every file is 0600 in a 0700 folder and replaced whole, so a reader
never sees half of one; a file whose process is gone is taken for stale.
"""

import fcntl
import os
import tempfile
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.core import json
from gateway.core.json import JsonObject
from gateway.errors import ExposureError, HomeInUseError

_PRIVATE: Final = 0o077  # permission bits nobody but the owner may have
_WRITABLE: Final = 0o022


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of this machine. `start_time` tells it from a later one with the same pid
    (clock ticks since boot where the system says; None where it does not)."""

    pid: int
    start_time: int | None

    @property
    def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        now = start_time(self.pid)
        if now is None:
            return not Path("/proc/self/stat").exists()
        return self.start_time in (None, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a running server of this home wrote down: a gateway, or a wrapper's ready file."""

    url: str
    process: Process
    token_file: Path
    name: str | None = None
    launched: bool = False  # a wrapper that a gateway of this home started

    def to_json(self) -> JsonObject:
        return json.merge_null(
            {
                "url": self.url,
                "pid": self.process.pid,
                "start_time": self.process.start_time,
                "token_file": str(self.token_file),
                "name": self.name,
                "launched": self.launched or None,
            }
        )


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat; None where there is no /proc or no such process (a zombie
    counts as none: it will never answer)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name in front may hold blanks
    return None if fields[0] in ("Z", "X") else int(fields[19])


def this_process() -> Process:
    return Process(pid=os.getpid(), start_time=start_time(os.getpid()))


def write_private(path: Path, value: JsonObject) -> None:
    """Replace a file of the home in one step, readable by its owner only."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.encode(value))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_private(path: Path) -> JsonObject | None:
    """The JSON object of a file that only this user can have written, else None."""
    try:
        status = path.stat()
        if status.st_uid != os.getuid() or status.st_mode & _PRIVATE:
            return None
        return json.decode_object(path.read_bytes())
    except (OSError, ValueError):
        return None


def read_published(path: Path) -> Published | None:
    """What a server wrote about itself, when its process still lives."""
    found = read_private(path) or {}
    match found:
        case {"url": str(url), "pid": int(pid), "token_file": str(token_file)}:
            ticks, name = found.get("start_time"), found.get("name")
            published = Published(
                url=url.rstrip("/"),
                process=Process(pid=pid, start_time=ticks if isinstance(ticks, int) else None),
                token_file=Path(token_file),
                name=name if isinstance(name, str) else None,
                launched=found.get("launched") is True,
            )
            return published if published.process.alive else None
        case _:
            return None


class Home:
    """The folder of one gateway; made on first use. Raises: ExposureError, when others write it."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A folder that was there is not ours to change: it may be /tmp.
        if self.path.stat().st_mode & _WRITABLE:
            raise ExposureError(
                f"folder {self.path} can be written by other users",
                "chmod 700 it, or choose another --home",
            )
        self.logs.mkdir(exist_ok=True, mode=0o700)

    @property
    def database(self) -> Path:
        return self.path / "gateway.db"

    @property
    def replica(self) -> str:
        """The name of this home's gateway where several share a database; born with the home."""
        path = self.path / "replica.json"
        name = (read_private(path) or {}).get("name")
        if not isinstance(name, str):
            name = uuid.uuid4().hex
            write_private(path, {"name": name})
        return name

    @property
    def token_file(self) -> Path:
        return self.path / "token"

    @property
    def register_token_file(self) -> Path:
        """Of the token that lets wrappers register, and nothing else."""
        return self.path / "register-token"

    @property
    def registry(self) -> Path:
        return self.path / "registry.json"

    @property
    def agents_file(self) -> Path:
        """Of the fixed agents, written by their owner."""
        return self.path / "agents.toml"

    @property
    def launched(self) -> Path:
        return self.path / "launched.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @contextmanager
    def lock(self) -> Generator[None, None, None]:
        """Hold the home for this gateway. The lock goes with its process, however that ends.

        Raises: HomeInUseError.
        """
        # Close-on-exec (the default): a wrapper that outlives us must not hold the lock.
        lock = os.open(self.path / "home.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take(lock)
            yield
        finally:
            os.close(lock)

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            running = self.gateway()
            raise HomeInUseError(str(self.path), running and running.url) from exc

    def gateway(self) -> Published | None:
        """The running gateway of this home."""
        return read_published(self.path / "gateway.json")

    @contextmanager
    def published(self, url: str) -> Generator[None, None, None]:
        """Tell where this gateway is, for as long as the block runs."""
        path = self.path / "gateway.json"
        own = Published(url=url, process=this_process(), token_file=self.token_file)
        write_private(path, own.to_json())
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def note(self, port: int) -> Path:
        """What a wrapper of this home writes down about itself while it serves `port`."""
        return self.path / "agents" / f"{port}.json"

    def wrappers(self) -> list[Published]:
        """The wrappers of this user that run now, started by us or by hand; the notes of those
        that were killed are removed."""
        running: list[Published] = []
        for path in sorted(self.path.glob("agents/*.json")):
            if (published := read_published(path)) is not None:
                running.append(published)
            elif (left := read_private(path)) is not None and left == read_private(path):
                path.unlink(missing_ok=True)
        return running

    def ask_to_keep_agents(self, gateway: Process) -> None:
        """Let this gateway leave its local agents running when it ends."""
        write_private(self._keep_agents, {"pid": gateway.pid})

    def keeps_agents(self) -> bool:
        """Whether this process was asked to; the answer is for one end."""
        asked = read_private(self._keep_agents) or {}
        self._keep_agents.unlink(missing_ok=True)
        return asked.get("pid") == os.getpid()

    @property
    def _keep_agents(self) -> Path:
        return self.path / "keep-agents.json"
