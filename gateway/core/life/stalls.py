"""Says once of each stall that there is one, in the log.

Knows runs as they are handed in; silence changes nothing about them.
"""

import logging
from collections.abc import Iterable

from gateway.core.clock import Clock
from gateway.core.life.liveness import stall_due
from gateway.core.record import Run

logger = logging.getLogger(__name__)


class Stalls:
    """The stalls of one process's active runs.

    A look at everybody, a few times per span, is cheaper than a timer that each event moves.
    """

    def __init__(self, clock: Clock, after_s: float) -> None:
        self.after_s = after_s
        self._clock = clock
        self._reported: dict[str, int] = {}  # run id -> its last seq then

    def look(self, runs: Iterable[Run]) -> None:
        now = self._clock()
        for run in runs:
            due = stall_due(run, self.after_s)
            if due > now or self._reported.get(run.id) == run.last_seq:
                continue
            self._reported[run.id] = run.last_seq
            silent_s = (now - run.updated_at) / 1_000_000
            logger.warning("run %s: no event for %.0f s", run.id, silent_s)

    def forget(self, run_id: str) -> None:
        self._reported.pop(run_id, None)
