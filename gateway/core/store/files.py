"""The files of a SQLite database: private to their owner, and one process's at a time.

Knows paths and modes, no SQL.
"""

import fcntl
import os
from pathlib import Path

from gateway.core.errors import DatabaseUnusableError


class DatabaseLockedError(DatabaseUnusableError):
    """Another process has this database open; a file serves one server."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is in use by another process; stop it, or use another home")


def take(path: Path) -> int:
    """Make the database's file where there is none, and lock it; returns the lock to close.

    The file and what SQLite keeps beside it are 0600, folders made for it 0700, whatever the umask.
    Raises: DatabaseLockedError, DatabaseUnusableError (no such file can be made or opened).
    """
    try:
        _make_folder(path.parent)
        lock = _lock(path)
        _make_private(path)
    except OSError as exc:
        raise DatabaseUnusableError(
            f"{path} cannot be made or opened ({exc.strerror}); check its folder's permissions"
        ) from exc
    return lock


def _make_folder(folder: Path) -> None:
    """Make it and what lies above it, closed to others; one that was there keeps its mode."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)  # the umask may have taken more away


def _make_private(path: Path) -> None:
    """The database, empty if new. SQLite gives its -wal and -shm the mode of the file."""
    path.touch(mode=0o600)
    for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        if file.exists():
            file.chmod(0o600)


def _lock(path: Path) -> int:
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(lock, 0o600)
    except OSError as exc:
        os.close(lock)
        raise DatabaseLockedError(path) if isinstance(exc, BlockingIOError) else exc from exc
    return lock
