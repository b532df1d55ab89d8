"""Lines of a text that is read in slices of bytes: where one begins, how many are in a slice.

Pure; knows no run. A line ends with its newline; the last one may lack it.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from gateway.core.store.entry import PayloadSlice

LOOK_BYTES: Final = 256 * 1024  # of one look: four chunk rows
NEWLINE: Final = b"\n"

Read = Callable[[int, int], Awaitable[PayloadSlice]]  # offset, limit


async def line_start(read: Read, line: int) -> int:
    """The offset of a line: 1 is the first, -1 the last; the end of the text when there are fewer,
    its start when there are fewer from the end."""
    return await _from_start(read, line - 1) if line > 0 else await _from_end(read, -line)


def first_lines(content: bytes, most: int | None) -> bytes:
    """The first lines of a slice; all of it when there are no more."""
    if most is None:
        return content
    end = _newline(content, most)
    return content if end is None else content[: end + 1]


def count_lines(content: bytes) -> int:
    return content.count(NEWLINE) + (not content.endswith(NEWLINE) and content != b"")


async def _from_start(read: Read, newlines: int) -> int:
    """Where the text goes on behind so many newlines."""
    offset = 0
    while newlines:
        piece = (await read(offset, LOOK_BYTES)).content
        if (end := _newline(piece, newlines)) is not None:
            return offset + end + 1
        newlines -= piece.count(NEWLINE)
        offset += len(piece)
        if not piece:
            break
    return offset


async def _from_end(read: Read, lines: int) -> int:
    """Where the last so many lines begin."""
    end = (await read(0, 1)).total_bytes
    if end and (await read(end - 1, 1)).content == NEWLINE:
        lines += 1  # the newline of the last line begins none
    while end > 0:
        start = max(0, end - LOOK_BYTES)
        # A slice begins at a character, a few bytes behind `start` if that lies within one.
        piece = await read(start, end - start)
        content = piece.content[: end - piece.offset]
        if content.count(NEWLINE) >= lines:
            at = len(content)
            for _ in range(lines):
                at = content.rindex(NEWLINE, 0, at)
            return piece.offset + at + 1
        lines -= content.count(NEWLINE)
        end = piece.offset
    return 0


def _newline(content: bytes, number: int) -> int | None:
    """Where the newline of that number is, from 1; None when there are fewer."""
    if content.count(NEWLINE) < number:
        return None
    at = -1
    for _ in range(number):
        at = content.index(NEWLINE, at + 1)
    return at
