"""What each session had used when its last turn ended, kept over restarts of the wrapper.

Knows no run: session id in, totals out. Losing a file costs one run's exact figures, no more.
"""

from pathlib import Path

from gateway.core import json
from wrappers.claude.outcome import Totals, read_totals


class Ledger:
    """One small file a session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, session: str) -> Totals:
        try:
            return read_totals(json.decode_object(self._file(session).read_bytes()))
        except (OSError, ValueError):
            return Totals()

    def knows(self, session: str) -> bool:
        """True when a turn of it ended here once."""
        return self._file(session).exists()

    def forget(self, session: str) -> None:
        self._file(session).unlink(missing_ok=True)

    def write(self, session: str, totals: Totals) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._folder / f".{session}.new"
        new.write_text(json.encode(totals.to_json()), encoding="utf-8")
        new.replace(self._file(session))

    def _file(self, session: str) -> Path:
        return self._folder / f"{session}.json"
