"""How many requests to webhooks may be under way: in all, and to one host.

Knows no request. A host that hangs fills its own lanes and leaves the others theirs.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

ALL: Final = 32  # requests at once
ONE_HOST: Final = 8  # of them to one host and port


@dataclass(slots=True)
class _Lane:
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ONE_HOST))
    users: int = 0  # under way, or waiting


class Lanes:
    """Slots of one process."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(ALL)
        self._hosts: dict[tuple[str, int | None], _Lane] = {}

    @asynccontextmanager
    async def slot(self, host: str, port: int | None) -> AsyncGenerator[None]:
        """Wait for a lane to this host first, so that waiting takes nothing from others."""
        lane = self._hosts.setdefault((host, port), _Lane())
        lane.users += 1
        try:
            async with lane.free, self._free:
                yield
        finally:
            lane.users -= 1
            if not lane.users:
                del self._hosts[host, port]
