"""The folder of one wrapper: its lock, its files, and the note by which a gateway finds it.

Knows no agent and no server. Everything is 0700 or 0600: whoever reads it can run code as us.
"""

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from gateway.core import json
from gateway.core.json import JsonObject


class NameTakenError(Exception):
    """Another process serves this wrapper's folder."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a wrapper named {name!r} runs already; choose another --name")


class WrapperHome:
    """`<home>/wrappers/<name>`, made on first use."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self.shared = home.expanduser().absolute()
        self.path = self.shared / "wrappers" / name
        for folder in (self.shared, self.shared / "agents", self.path):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def database(self) -> Path:
        return self.path / "runs.db"

    @property
    def contexts(self) -> Path:
        return self.path / "contexts.db"

    @property
    def token(self) -> Path:
        return self.path / "token"

    @property
    def passes(self) -> Path:
        return self.path / "passes.json"

    @property
    def register_token(self) -> Path:
        """The register token of a gateway of this home."""
        return self.shared / "register-token"

    @contextmanager
    def locked(self) -> Generator[None]:
        """Be the only process of this folder. Raises: NameTakenError."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(descriptor)
            raise NameTakenError(self.name) from exc
        try:
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def announced(self, port: int, note: JsonObject) -> Generator[Callable[[], None]]:
        """Tell gateways of this user that we serve `port`, until the end, or until what is yielded
        is called: from then on nobody should come any more."""
        path = self.shared / "agents" / f"{port}.json"
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.encode(note))
        draft.replace(path)
        try:
            yield lambda: path.unlink(missing_ok=True)
        finally:
            path.unlink(missing_ok=True)


def start_time(pid: int) -> int | None:
    """When a process started, in the kernel's ticks: with its pid it names one process for good.

    None where /proc does not say.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])  # field 22; the name may hold anything
