"""What a gateway owes its run folders when it starts: runs that moved while nobody wrote.

Knows the log and a note in the home; no folder. The note says until when everything that had ended
was written. Without one (a first start, or one after the setting was off) earlier runs are left.
"""

import logging
import time
from pathlib import Path
from typing import Final

from gateway.core.record import Run
from gateway.folders.source import Source
from gateway.home import read_private, write_private

PAGE: Final = 100  # runs of one read
NOTE_S: Final = 10.0  # between notes of a gateway at work
# A run's end has its time when it is decided, and is committed a moment later.
SLACK_US: Final = 60_000_000

logger = logging.getLogger(__name__)


class Arrears:
    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self._path = path
        through = (read_private(path) or {}).get("through")
        self._since = through if isinstance(through, int) else None
        self._after = ""
        self._begun = False
        self._noted_at = 0.0

    @property
    def left(self) -> bool:
        """True while `page` may find more."""
        return self._since is not None or not self._begun

    def page(self) -> list[Run]:
        """The next of the runs to look at: first those that are active. Raises: SourceError."""
        if not self._begun:
            active = self._source.active()
            self._begun = True
            return active
        if self._since is None:
            return []
        runs = self._source.ended(self._since, self._after, PAGE)
        if len(runs) < PAGE:
            self._since = None
        else:
            self._since, self._after = runs[-1].completed_at or self._since, runs[-1].id
        return runs

    def owe(self, run: Run) -> None:
        """A run that ended is left for later: it comes in a page."""
        ended = run.completed_at
        if ended is not None and (self._since is None or ended <= self._since):
            self._since, self._after = ended, ""

    def note(self, *, at_once: bool = False) -> None:
        """Everything that ended until now is written."""
        if self.left or not (at_once or time.monotonic() - self._noted_at > NOTE_S):
            return
        self._noted_at = time.monotonic()
        try:
            write_private(self._path, {"through": time.time_ns() // 1000 - SLACK_US})
        except OSError as exc:
            logger.warning("%s cannot be written: %s", self._path.name, exc.strerror)
