"""Reads a client's file and replaces it whole: with a copy kept, its mode and its owner.

Knows no client. A symbolic link is written through: people keep their configuration elsewhere.
"""

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from mcp_bridge.clients.errors import ClientError

_SHARED: Final = 0o644  # what a project keeps, for the umask to narrow
_BOM: Final = "\ufeff"


class Found(NamedTuple):
    """What is there: the file itself, where links led to it, and its bytes, None where none is."""

    path: Path
    content: bytes | None

    @property
    def text(self) -> str:
        """Raises: ClientError."""
        try:
            return (self.content or b"").decode("utf-8").removeprefix(_BOM)
        except UnicodeDecodeError as exc:
            raise ClientError("it is no UTF-8") from exc

    def encoded(self, text: str) -> bytes:
        """`text` as bytes, with the mark that the file began with."""
        mark = _BOM.encode() if (self.content or b"").startswith(_BOM.encode()) else b""
        return mark + text.encode("utf-8")


def found(path: Path) -> Found:
    """Raises: ClientError for what is no file or cannot be read."""
    try:
        real = path.resolve()
        if real.exists() and not stat.S_ISREG(real.stat().st_mode):
            raise ClientError(f"{path} is no file")
        return Found(real, real.read_bytes())
    except FileNotFoundError:
        return Found(path.resolve(), None)
    except (OSError, RuntimeError) as exc:
        raise ClientError(f"{path} cannot be read: {_reason(exc)}") from exc


def replaced(before: Found, content: bytes, *, private: bool) -> Path | None:
    """Put `content` in the place of what was found, and say where the copy is that was kept.

    Raises: ClientError; ChangedError when somebody else wrote it meanwhile.
    """
    path = before.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.parent):
            if found(path).content != before.content:
                raise ChangedError
            kept = None if before.content is None else _kept(path, before.content)
            _written(path, content, path if before.content is not None else None, private=private)
            return kept
    except OSError as exc:
        raise ClientError(f"{path} cannot be written: {_reason(exc)}") from exc


class ChangedError(Exception):
    """Somebody else wrote the file meanwhile; nothing was written."""


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """One of us at a time in a folder; where it cannot be locked, without."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _kept(path: Path, content: bytes) -> Path:
    """A copy beside it, under a name that nobody has."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(100):
        copy = path.with_name(f"{path.name}.{stamp}{f'-{number}' if number else ''}.bak")
        if not copy.exists():
            _written(copy, content, path, private=True)
            return copy
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _written(path: Path, content: bytes, like: Path | None, *, private: bool) -> None:
    """The whole file in one step, with the mode and the owner of `like`."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            if like is not None:
                _owned(file.fileno(), like.stat())
            elif not private:
                os.fchmod(file.fileno(), _SHARED & ~_umask())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _owned(descriptor: int, status: os.stat_result) -> None:
    own = os.fstat(descriptor)
    if own.st_uid != status.st_uid:
        os.fchown(descriptor, status.st_uid, -1)
    if own.st_gid != status.st_gid:
        with suppress(PermissionError):  # a group that this user is not of
            os.fchown(descriptor, -1, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _reason(exc: Exception) -> str:
    return (exc.strerror or str(exc)) if isinstance(exc, OSError) else "its links lead nowhere"
