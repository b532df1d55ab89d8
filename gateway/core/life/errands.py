"""What callers say, carried out to its end although they go away: half an answer is a lost one."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.core.errors import ServerStoppingError

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Errands:
    """Those of one supervisor; `under_way` is for its end."""

    def __init__(self) -> None:
        self.under_way: set[asyncio.Task[Any]] = set()

    async def wait(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Wait for `work`, which goes on if we are cancelled. Raises: ServerStoppingError."""
        task = self.send(work, name)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # not who asked, but the server's end
                raise ServerStoppingError from None
            raise

    def send(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Begin `work`; nobody need wait for it."""
        task = asyncio.create_task(work, name=name)
        self.under_way.add(task)
        task.add_done_callback(self._heard)
        return task

    def _heard(self, task: asyncio.Task[Any]) -> None:
        self.under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("%s: %s", task.get_name(), error)  # its caller, if still there, has it
