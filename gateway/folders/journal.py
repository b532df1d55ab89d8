"""`events.jsonl`: what it holds is found in the file itself, and only whole lines count.

Knows lines with a `seq`, not what happened. A line that a kill or a full disk left torn is cut off;
a file whose last line is none of ours is begun anew.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from gateway.core import json
from gateway.folders.directory import Directory, write_all

NAME: Final = "events.jsonl"
_BLOCK: Final = 64 * 1024
_LINE_MAX: Final = 16 * 1024 * 1024  # bytes; an event's inline data has about 4 KB


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a file ended when it was closed: while that is so, `seq` is its last event."""

    inode: int
    size: int
    seq: int


class Journal:
    """The open file of one run, locked against other processes. Raises OSError."""

    def __init__(self, descriptor: int, run_id: str, known: Position | None) -> None:
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        if known is not None and (known.inode, known.size) == (status.st_ino, status.st_size):
            self.seq = known.seq
        else:
            self.seq = self._recover(run_id, status.st_size)

    @classmethod
    @contextmanager
    def of(cls, folder: Directory, run_id: str, known: Position | None) -> "Generator[Journal]":
        """`seq` is the last event in the file; 0 when there is none.

        Raises: BlockingIOError while another process writes it.
        """
        with folder.appending(NAME) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield cls(descriptor, run_id, known)

    def append(self, lines: bytes, seq: int) -> None:
        """Whole lines, up to event `seq`."""
        write_all(self._descriptor, lines)
        self.seq = seq

    def begin_anew(self) -> None:
        """Drop what is in it: it is not of this run's log."""
        os.ftruncate(self._descriptor, 0)
        self.seq = 0

    @property
    def position(self) -> Position:
        status = os.fstat(self._descriptor)
        return Position(inode=status.st_ino, size=status.st_size, seq=self.seq)

    def _recover(self, run_id: str, size: int) -> int:
        line, end = self._last_line(size)
        seq = _seq_of(line, run_id)
        if seq is None:
            end = seq = 0
        if end != size:
            os.ftruncate(self._descriptor, end)
        return seq

    def _last_line(self, size: int) -> tuple[bytes, int]:
        """The last whole line, and where it ends."""
        tail, start = b"", size
        while True:
            end = tail.rfind(b"\n") + 1
            begin = tail.rfind(b"\n", 0, end - 1) + 1 if end else 0
            if begin or not start:
                return tail[begin:end], start + end
            if len(tail) > _LINE_MAX:
                return b"no line", 0
            length = min(_BLOCK, start)
            start -= length
            tail = os.pread(self._descriptor, length, start) + tail


def _seq_of(line: bytes, run_id: str) -> int | None:
    if not line:
        return 0
    try:
        event = json.decode_object(line)
    except ValueError:
        return None
    seq = event.get("seq")
    return seq if isinstance(seq, int) and seq > 0 and event.get("run_id") == run_id else None
