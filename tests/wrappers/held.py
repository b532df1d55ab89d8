"""A pipe that a command holds open: how a test sees that it runs, and that nothing of it is left.

Knows no process ids, so a command may run in whatever namespace its agent's sandbox makes.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio

PATIENCE_S = 60.0  # other tests run on the same two cores


class Held:
    """A pipe that a command holds open: its data says that the command runs, its end that
    nothing of it is left (in whatever namespace its processes are)."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "held"
        os.mkfifo(self._path)
        self.descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        self.command = f"exec 3>{self._path}; echo up >&3; sleep 600"

    async def taken(self) -> None:
        with anyio.fail_after(PATIENCE_S):
            await anyio.wait_readable(self.descriptor)
        assert os.read(self.descriptor, 64) == b"up\n"

    async def released(self) -> None:
        """Nobody holds it any more, or ever did."""
        with anyio.fail_after(PATIENCE_S):
            while True:
                try:
                    if not os.read(self.descriptor, 64):
                        return
                except BlockingIOError:
                    await anyio.wait_readable(self.descriptor)


@contextmanager
def holding(folder: Path) -> Generator[Held]:
    held = Held(folder)
    try:
        yield held
    finally:
        os.close(held.descriptor)
