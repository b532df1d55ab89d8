"""A connected process of Claude Code that no context has yet: a new one's first turn need not wait.

Knows no run. A process is bound to its folder, profile, environment and flags, so the spare one is
like that of the conversation that began last; its session was named in advance.
"""

import asyncio
import contextlib
import logging
import os
import uuid
from typing import Final

from wrappers.claude.client import AgentDownError, Client
from wrappers.claude.options import Installation, Start

# A first turn takes 0.7 s instead of 2.2 s (medians on two busy cores) for about 150 MB.
RETRY_S: Final = 60.0  # after one could not be started
MEMORY: Final = 8 * 1000**3  # bytes of the machine from which on that is a good trade

log = logging.getLogger(__name__)


def affordable() -> bool:
    """Whether one more process is worth its memory here."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >= MEMORY


class Spare:
    """At most one; it goes when nobody took it for `idle_s`."""

    def __init__(self, installation: Installation, idle_s: float) -> None:
        self._installation = installation
        self._idle_s: Final = idle_s
        self._client: Client | None = None
        self._timer: asyncio.TimerHandle | None = None
        # Starting one and ending one, in this order.
        self._work: asyncio.Task[None] | None = None
        self._closed = False
        self._not_before = 0.0  # of the loop's clock

    @property
    def ready(self) -> bool:
        return self._client is not None and self._client.lost is None

    def take(self, start: Start) -> Client | None:
        client = self._client
        if client is None or client.lost is not None or client.start != start:
            return None
        self._client = None
        self._no_timer()
        return client

    def prepare(self, start: Start) -> None:
        """Have one that is started so, soon; one that is there is kept for longer."""
        late = asyncio.get_running_loop().time() >= self._not_before
        if start.budget is not None or self._closed or not late:
            return  # a budget is one run's
        if self._client is not None and self._client.lost is None and self._client.start == start:
            self._rest()
            return
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._replace(start), name="claude spare")

    async def _replace(self, start: Start | None) -> None:
        self._no_timer()
        old, self._client = self._client, None
        if old is not None:
            await old.close()
        if start is None or self._closed:
            return
        client = Client(str(uuid.uuid4()), self._installation, start)
        try:
            await client.connect(resume=False)
        except AgentDownError as exc:
            log.warning("no claude to spare: %s", exc)
            self._not_before = asyncio.get_running_loop().time() + RETRY_S
            return
        except asyncio.CancelledError:
            await client.close()
            raise
        self._client = client
        self._rest()

    def _rest(self) -> None:
        self._no_timer()
        self._timer = asyncio.get_running_loop().call_later(self._idle_s, self._expire)

    def _expire(self) -> None:
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._replace(None), name="claude spare")

    def _no_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    async def close(self) -> None:
        self._closed = True
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work
        await self._replace(None)
