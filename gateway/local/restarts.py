"""How soon a wrapper that died, or did not start, is started again. Pure bookkeeping of times."""

from dataclasses import dataclass
from typing import Final

# A wrapper that ran for a minute had started well: its end is a new matter.
SETTLED_S: Final = 60.0
FREE: Final = 2  # ends in a row that are followed by a start at once
DELAY_MIN_S: Final = 0.5
DELAY_MAX_S: Final = 60.0


@dataclass(slots=True)
class Restarts:
    """Of one wrapper. Times are seconds of one monotonic clock."""

    ends: int = 0  # in a row, each soon after its start
    _started: float | None = None
    _next: float = 0.0

    def started(self, at: float) -> None:
        """It is being started."""
        self._started = at

    def ended(self, at: float) -> None:
        """It died, or was not ready."""
        lived = 0.0 if self._started is None else at - self._started
        self.ends = 1 if lived > SETTLED_S else self.ends + 1
        self._started = None
        self._next = at + self._delay()

    def wait_s(self, at: float) -> float:
        """Seconds until it may be started."""
        return max(0.0, self._next - at)

    def _delay(self) -> float:
        if self.ends <= FREE:
            return 0.0
        return min(DELAY_MIN_S * 2.0 ** (self.ends - FREE - 1), DELAY_MAX_S)
