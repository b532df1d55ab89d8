"""What the threads of waiting runs had used before them, kept over a restart of the wrapper.

Knows no thread: run id in, counts out. Losing the file costs exact figures, no more.
"""

import contextlib
from pathlib import Path
from typing import Final

from gateway.core import json
from gateway.core.json import JsonObject, as_object

KEPT: Final = 256  # runs; one that waits for longer than so many others loses its first part


class Ledger:
    """One small file for all runs that asked something and have not ended."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._counts: dict[str, JsonObject] | None = None

    def read(self, run_id: str) -> JsonObject | None:
        """The thread's totals before the run; None where nothing is known."""
        return self._all().get(run_id)

    def write(self, run_id: str, counts: JsonObject) -> None:
        known = self._all()
        if known.get(run_id) == counts:
            return
        known[run_id] = counts
        for oldest in list(known)[:-KEPT]:
            del known[oldest]
        self._save(known)

    def forget(self, run_id: str) -> None:
        known = self._all()
        if known.pop(run_id, None) is not None:
            self._save(known)

    def _all(self) -> dict[str, JsonObject]:
        if self._counts is None:
            self._counts = {}
            with contextlib.suppress(OSError, ValueError):
                read = json.decode_object(self._file.read_bytes())
                self._counts = {run_id: as_object(counts) for run_id, counts in read.items()}
        return self._counts

    def _save(self, known: dict[str, JsonObject]) -> None:
        new = self._file.with_name(f".{self._file.name}.new")
        with contextlib.suppress(OSError):  # a full disk must not end the run
            new.write_text(json.encode(known), encoding="utf-8")
            new.replace(self._file)
