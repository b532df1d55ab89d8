"""The end of a server, told to everybody who waits on it.

Knows neither server nor requests. Callbacks and no tasks: a thousand streams wait for it at once.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager


class Closing:
    """Begins once and stays begun."""

    def __init__(self) -> None:
        self.begun = False
        self._told: set[Callable[[], object]] = set()

    def begin(self) -> None:
        self.begun = True
        for tell in list(self._told):
            tell()

    @contextmanager
    def calling(self, tell: Callable[[], object]) -> Generator[None]:
        """Call `tell` when the end begins, at once when it has begun; until the block ends."""
        if self.begun:
            tell()
        self._told.add(tell)
        try:
            yield
        finally:
            self._told.discard(tell)
