"""A run's deadline: seconds of `running` time, waiting not counted.

Monotonic while this process lives; what the run had been running before stands in its record.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.core.record import Run
from gateway.core.status import RunStatus

SECOND_US: Final = 1_000_000


class Deadline:
    """Calls `expired(seconds)` when the run has been running for its `limits.deadline_s`."""

    def __init__(self, run: Run, at: int, expired: Callable[[float], None]) -> None:
        """`at`: the present in unix microseconds; a run that was left running counts until now,
        as its record will when its status changes."""
        limits = run.request.limits
        self._seconds = limits.deadline_s if limits is not None else None
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0.0
        if self._seconds is not None:
            open_us = at - run.status_at if run.status is RunStatus.RUNNING else 0
            self._left = self._seconds - (run.running_us + max(open_us, 0)) / SECOND_US

    def moved(self, status: RunStatus) -> None:
        """The run's status is now `status`: count on, or hold."""
        if self._seconds is None:
            return
        loop = asyncio.get_running_loop()
        if status is RunStatus.RUNNING and self._timer is None:
            self._timer = loop.call_later(max(self._left, 0.0), self._expire)
        elif status is not RunStatus.RUNNING and self._timer is not None:
            self._left = self._timer.when() - loop.time()
            self.close()

    def extend(self, seconds: float) -> None:
        """Expire once more after so many further seconds of running."""
        self._left = seconds
        self.close()
        self.moved(RunStatus.RUNNING)

    def close(self) -> None:
        """Count no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        if self._seconds is not None:
            self._expired(self._seconds)
