"""The lines of a client's pipe, each within a bound: a line without end must not become our memory.

Standard library only; knows JSON-RPC as far as where an id stands.
"""

import json
import re
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

LINE_MAX: Final = 32 * 1024 * 1024  # bytes; the gateway takes half of it
_PIECE: Final = 64 * 1024
_LOOK: Final = 1024  # bytes of either end, where an id stands
# Inside a string its quotes would be escaped.
_ID: Final = re.compile(rb'"id"\s*:\s*(-?\d+|"(?:[^"\\]|\\.)*")')


class Overlong(NamedTuple):
    """A line over the bound, thrown away; `id` is that of its request, as far as it can be seen."""

    id: int | str | None


def lines_of(pipe: BinaryIO) -> Iterator[bytes | Overlong]:
    """Until the client closes its end."""
    while line := pipe.readline(LINE_MAX):
        if line.endswith(b"\n") or len(line) < LINE_MAX:
            yield line
            continue
        head = tail = line[:_LOOK]
        del line
        while piece := pipe.readline(_PIECE):
            tail = (tail + piece)[-_LOOK:]
            if piece.endswith(b"\n"):
                break
        yield Overlong(_id_in(head) or _id_in(tail))


def _id_in(text: bytes) -> int | str | None:
    found = _ID.search(text)
    try:
        return None if found is None else json.loads(found[1])
    except ValueError:
        return None
