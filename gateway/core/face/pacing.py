"""How much work a request does on the event loop before others have their turn.

Knows no request: whoever reads, joins or prints something large says how large.
"""

import asyncio
from typing import Final

TURN: Final = 256 * 1024  # characters: decoded and printed again in about 1 ms
_STEP: Final = 512  # what a small item costs beside its characters, in characters


async def turn(size: int) -> None:
    """Let others run between two steps of work on something of this size, when it is large."""
    if size > TURN:
        await asyncio.sleep(0)


class Pace:
    """The work of one request since others ran."""

    __slots__ = ("_done",)

    def __init__(self) -> None:
        self._done = 0

    def over(self, characters: int) -> bool:
        """So much was worked on; True when it is others' turn: then call `rest`."""
        self._done += characters + _STEP
        return self._done > TURN

    async def rest(self) -> None:
        """Let others run."""
        self._done = 0
        await asyncio.sleep(0)
