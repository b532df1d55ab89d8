"""Every delivery of this process: one task a webhook, which reads the log at its own pace.

Knows no request and no event. A delivery never delays an event, since the log is the queue; each
webhook gets every event in order and at least once, and a restart goes on where the last one ended.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from gateway.core.clock import Clock
from gateway.core.errors import StorageError
from gateway.core.push.delivery import Delivery, Means, Patience
from gateway.core.push.webhook import Webhooks
from gateway.core.store.outbox import PushConfig
from gateway.core.tasks import Tasks

PAGE: Final = 200  # configs of one read
LOOK_S: Final = 5.0  # between looks for what other processes of a shared database left or stored
STORAGE_PAUSE_S: Final = 5.0  # before a delivery looks again whether the database is back

logger = logging.getLogger(__name__)


class Deliveries:
    """Owns the deliveries: each sends one request at a time, and waits for a lane to do so."""

    def __init__(self, tasks: Tasks, replica: str, *, clock: Clock, patience: Patience) -> None:
        self._replica = replica
        self._outbox = tasks.log.outbox
        self._means = Means(
            tasks=tasks,
            webhooks=Webhooks(tasks.screen),
            clock=clock,
            patience=patience,
            jitter=random.random,
        )
        self._owners: dict[tuple[str, str], asyncio.Task[None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Take up what was left to be sent, and what is added, until the block ends."""
        self._outbox.on_change(self._changed)
        await self._look()
        looking = asyncio.create_task(self._keep_looking(), name="webhooks of other processes")
        try:
            yield
        finally:
            self._outbox.on_change(None)
            left = [looking, *self._owners.values()]
            for owner in left:
                owner.cancel()
            await asyncio.wait(left)
            await self._means.webhooks.close()

    async def _look(self) -> None:
        """Take up what is left to be sent and nobody sends."""
        last = ("", "")
        while page := await self._outbox.due(self._replica, last, PAGE):
            for config in page:
                if (config.run_id, config.id) not in self._owners:
                    self._own(config.run_id, config.id, None)
            last = (page[-1].run_id, page[-1].id)

    async def _keep_looking(self) -> None:
        """Other processes store configs for runs of this one, and end; one query tells of all."""
        while self._outbox.shared:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except StorageError as exc:
                logger.warning("webhooks wait: %s", exc)

    def _changed(self, run_id: str, config_id: str, config: PushConfig | None) -> None:
        """A config was stored or replaced, or deleted (None)."""
        before = self._owners.pop((run_id, config_id), None)
        if before is not None:
            before.cancel()
        if config is not None:
            self._own(run_id, config_id, before)

    def _own(self, run_id: str, config_id: str, before: asyncio.Task[None] | None) -> None:
        key = (run_id, config_id)
        task = asyncio.create_task(
            self._deliver(run_id, config_id, before), name=f"webhook of run {run_id}"
        )
        self._owners[key] = task

        def forget(ended: asyncio.Task[None]) -> None:
            if self._owners.get(key) is ended:
                del self._owners[key]

        task.add_done_callback(forget)

    async def _deliver(
        self, run_id: str, config_id: str, before: asyncio.Task[None] | None
    ) -> None:
        """The root of a webhook's task. `before` posted there until now, and has to end first."""
        if before is not None:
            await asyncio.wait([before])
        while True:
            try:
                config = await self._outbox.due_now(self._replica, run_id, config_id)
                if config is not None:
                    await Delivery(config, self._means).work()
            except StorageError as exc:
                logger.warning("run %s: webhook %r waits: %s", run_id, config_id, exc)
                await asyncio.sleep(STORAGE_PAUSE_S)
            except Exception:
                # What was not noted as sent is taken up again by the next start.
                logger.exception("run %s: its webhook %r stopped", run_id, config_id)
                return
            else:
                return
