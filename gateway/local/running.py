"""A local wrapper's process: whether it lives, and how it is ended.

Knows processes and signals; nothing of how a wrapper is found or started.
"""

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import anyio

from gateway.home import Process

STOP_S: Final = 10.0  # a wrapper stops its agents' trees first; then it is killed
POLL_S: Final = 0.05  # how often the end of an adopted process (no child of ours) is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A wrapper that answers. `ours`: a gateway of this home started it, so it ends with us."""

    base_url: str
    token: str | None
    process: Process
    ours: bool
    child: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        return urlsplit(self.base_url).port or 0

    @property
    def alive(self) -> bool:
        return self.process.alive if self.child is None else self.child.returncode is None

    @property
    def failed(self) -> bool:
        """It ended by a signal or with an error, as far as we can know: not by idleness."""
        return self.child is not None and self.child.returncode not in (None, 0)

    async def stop(self) -> None:
        """Terminate it; kill it when it does not end within STOP_S."""
        if self.child is not None:
            await end(self.child)
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.alive:
                with suppress(ProcessLookupError):
                    os.kill(self.process.pid, number)
            if await self.ended():
                return

    async def ended(self) -> bool:
        """Whether it ended within STOP_S."""
        with anyio.move_on_after(STOP_S):
            while self.alive:  # noqa: ASYNC110  # it may be no child of ours: nobody tells us
                await anyio.sleep(POLL_S)
            return True
        return False


async def end(child: asyncio.subprocess.Process) -> None:
    """Terminate a child, kill it when it does not end, and reap it."""
    with suppress(ProcessLookupError):
        child.terminate()
    with anyio.move_on_after(STOP_S):
        await child.wait()
        return
    with suppress(ProcessLookupError):
        child.kill()
    await child.wait()
