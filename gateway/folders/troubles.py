"""Folders that cannot be written: said once each, tried again ever more rarely.

Knows folders by their path; neither runs nor files.
"""

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

FIRST_S: Final = 1.0  # until a folder that could not be written is tried again; doubled up to
LAST_S: Final = 60.0
KNOWN_MAX: Final = 1000  # folders; one that is forgotten may be told of again

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Trouble:
    until: float  # monotonic seconds
    delay_s: float


class Troubles:
    def __init__(self) -> None:
        self._by_folder: OrderedDict[str, _Trouble] = OrderedDict()

    def left_s(self, folder: str) -> float:
        """Seconds until the folder should be tried again; 0 when nothing is wrong with it."""
        trouble = self._by_folder.get(folder)
        return 0.0 if trouble is None else max(0.0, trouble.until - time.monotonic())

    def failed(self, folder: str, run_id: str, error: Exception) -> float:
        """Seconds until it should be tried again."""
        trouble = self._by_folder.get(folder)
        if trouble is None:
            logger.warning(
                "run %s: its run folder in %s cannot be written (%s); the run goes on, the folder "
                "is written once that is mended",
                run_id,
                folder,
                _reason(error),
            )
            trouble = self._by_folder[folder] = _Trouble(until=0.0, delay_s=FIRST_S / 2)
            if len(self._by_folder) > KNOWN_MAX:
                self._by_folder.popitem(last=False)
        trouble.delay_s = min(trouble.delay_s * 2, LAST_S)
        trouble.until = time.monotonic() + trouble.delay_s
        return trouble.delay_s

    def worked(self, folder: str) -> None:
        if self._by_folder and self._by_folder.pop(folder, None) is not None:
            logger.info("run folders in %s can be written again", folder)


def _reason(error: Exception) -> str:
    """What went wrong, and with which name in the folder."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
