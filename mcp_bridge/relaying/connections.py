"""Connections to the gateway that stay open for the next call; connecting takes half of a short one.

Standard library only; knows no message. Which of them are still good is looked at before each use,
so a gateway that was restarted is met with a new one.
"""

import select
import threading
import time
from http.client import HTTPConnection
from typing import Final

from mcp_bridge.relaying.endpoint import Address

KEPT_S: Final = 2.0  # the gateway closes an idle one after 5: no call may meet its closing
KEPT_MOST: Final = 8


class Connections:
    """Those that are idle, of any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[Address, float, HTTPConnection]] = []

    def take(self, address: Address) -> HTTPConnection | None:
        """An open connection to `address`, which is the caller's now."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                of, since, connection = self._idle.pop()
            if of == address and time.monotonic() - since < KEPT_S and _silent(connection):
                return connection
            connection.close()

    def keep(self, address: Address, connection: HTTPConnection) -> None:
        """Take a connection whose answer has been read to its end."""
        with self._lock:
            self._idle.append((address, time.monotonic(), connection))
            old = self._idle.pop(0)[2] if len(self._idle) > KEPT_MOST else None
        if old is not None:
            old.close()

    def close(self) -> None:
        """Let all go."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, _, connection in idle:
            connection.close()


def _silent(connection: HTTPConnection) -> bool:
    """Whether nothing came since the last answer: what comes unasked is the end."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)
