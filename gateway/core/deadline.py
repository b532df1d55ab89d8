"""A run's deadline: seconds of `running` time, waiting not counted."""

import asyncio
from collections.abc import Callable

from gateway.core.record import Run
from gateway.core.status import RunStatus


class Deadline:
    """Calls `expired` once when the run has been running for its `limits.deadline_s`."""

    def __init__(self, run: Run, expired: Callable[[float], None]) -> None:
        limits = run.request.limits
        self._seconds = limits.deadline_s if limits is not None else None
        self._left = self._seconds or 0.0
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None

    def moved(self, status: RunStatus) -> None:
        """The run's status is now `status`: count on, or hold."""
        if self._seconds is None:
            return
        loop = asyncio.get_running_loop()
        if status is RunStatus.RUNNING and self._timer is None:
            self._timer = loop.call_later(max(self._left, 0.0), self._expired, self._seconds)
        elif status is not RunStatus.RUNNING and self._timer is not None:
            self._left = self._timer.when() - loop.time()
            self.close()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
