"""When the wrappers of this process end: at a signal, out of idleness, because of a failure.

Knows no server. All wrappers of a process share one `Ending`.
"""

import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager


class Ending:
    """Begins once, with a reason; a second signal hurries it. To be made in a running loop."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.hurried = asyncio.Event()
        self.reason = ""
        self.failure: str | None = None

    def begin(self, reason: str, failure: str | None = None) -> None:
        """`failure` says why this is no good end. The first reason counts."""
        if not self.begun.is_set():
            self.reason, self.failure = reason, failure
            self.begun.set()

    @contextmanager
    def by_signals(self) -> Generator[None]:
        """SIGINT and SIGTERM begin the end; one that comes while it is under way hurries it."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._signalled, number.name)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _signalled(self, name: str) -> None:
        if self.begun.is_set():
            self.hurried.set()
        self.begin(name)
