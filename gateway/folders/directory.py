"""Folders held open by their descriptors, so that no name in them leads out of them.

Knows no run. Nothing below the first folder is opened through a symbolic link, a file is regular
and has one name, and each folder and file belongs to this user or to the owner of the first folder.
"""

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a pipe under the name would hold the thread until somebody reads it.
_APPEND: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | _NO_LINK
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK


class Directory:
    """An open folder. Every method raises OSError, naming what it was about."""

    def __init__(self, descriptor: int, owners: frozenset[int]) -> None:
        self._descriptor = descriptor
        self._owners = owners

    @classmethod
    @contextmanager
    def at(cls, path: str) -> "Generator[Directory]":
        """The folder `path`, reached as the system reaches it: its own links are its owner's."""
        descriptor = os.open(path, _FOLDER)
        try:
            owner = os.fstat(descriptor).st_uid
            yield cls(descriptor, frozenset({owner, os.geteuid()}))
        finally:
            os.close(descriptor)

    @contextmanager
    def inside(self, name: str, *, new: bool = False) -> "Generator[Directory]":
        """The folder `name` in this one; made when it is missing (`new`: it probably is)."""
        if new:
            self._make(name)
        try:
            descriptor = self._open(name, _FOLDER | _NO_LINK)
        except FileNotFoundError:
            self._make(name)
            descriptor = self._open(name, _FOLDER | _NO_LINK)
        try:
            yield Directory(descriptor, self._owners)
        finally:
            os.close(descriptor)

    @contextmanager
    def appending(self, name: str) -> Generator[int]:
        """The descriptor of a regular file, made when it is missing, to read and to append to."""
        descriptor = self._open(name, _APPEND)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise _refused(name, "is no file of ours")
            yield descriptor
        finally:
            os.close(descriptor)

    def replace(self, name: str, content: bytes) -> None:
        """Put `content` in the place of the file `name` in one step; a link there is replaced."""
        temporary = f".{name}.tmp"
        try:
            descriptor = self._open(temporary, _NEW)
        except FileExistsError:  # a process that was killed left one
            os.unlink(temporary, dir_fd=self._descriptor)
            descriptor = self._open(temporary, _NEW)
        try:
            try:
                write_all(descriptor, content)
            finally:
                os.close(descriptor)
            os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self._descriptor)
            raise

    def provide(self, name: str, content: bytes) -> None:
        """Make the file `name` unless something has that name."""
        try:
            descriptor = self._open(name, _NEW)
        except FileExistsError:
            return
        try:
            write_all(descriptor, content)
        finally:
            os.close(descriptor)

    def _make(self, name: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(name, FOLDER_MODE, dir_fd=self._descriptor)

    def _open(self, name: str, flags: int) -> int:
        descriptor = os.open(name, flags, FILE_MODE, dir_fd=self._descriptor)
        if os.fstat(descriptor).st_uid not in self._owners:
            os.close(descriptor)
            raise _refused(name, "belongs to another user")
        return descriptor


def write_all(descriptor: int, content: bytes) -> None:
    """Raises: OSError when a part could not be written; the rest was."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _refused(name: str, why: str) -> OSError:
    return OSError(errno.EPERM, why, name)
