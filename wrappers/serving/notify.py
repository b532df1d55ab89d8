"""Tells systemd how this process is (sd_notify): one datagram, where NOTIFY_SOCKET names a socket.

Knows nothing of what is told. Without the variable, and for whoever does not listen, nothing happens.
"""

import contextlib
import socket
from collections.abc import Mapping
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def notify(environment: Mapping[str, str], state: str) -> None:
    """Send `state` (systemd's sd_notify(3): an address with `@` in front is an abstract one)."""
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told,
    ):
        told.sendto(state.encode(), address)
