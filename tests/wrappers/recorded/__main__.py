"""Record real agents on scripted models: what their mappings are told, and what becomes of it.

    python -m tests.wrappers.recorded VENDOR [SCENARIO …]      (all of them without a name)
    python -m tests.wrappers.recorded codex plain --program PATH

A vendor is a folder here whose `record.py` is a `Recorder`.
"""

import argparse
import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import anyio

from tests.conftest import built_environment
from tests.wrappers.recorded import logs

VENDORS = ("claude", "codex")


class Recorder(Protocol):
    """What `record.py` of a vendor has."""

    def scenarios(self) -> Sequence[str]:
        """The names of what can be recorded."""
        ...

    async def record(
        self, name: str, folder: Path, environment: dict[str, str], program: Path | None
    ) -> logs.Recording:
        """One scenario, played in `folder` by `program` (None: the one that is found)."""
        ...


async def _record(vendor: str, names: Sequence[str], program: Path | None) -> None:
    module = importlib.import_module(f"tests.wrappers.recorded.{vendor}.record")
    recorder = cast("Recorder", module)
    for name in names or recorder.scenarios():
        sys.stderr.write(f"{vendor}/{name}: ")
        with tempfile.TemporaryDirectory() as folder:
            environment = built_environment(Path(folder) / "home")
            recording = await recorder.record(name, Path(folder), environment, program)
        logs.save(vendor, name, recording)
        said = f"{len(recording.log)} heard, {len(recording.steps)} steps"
        sys.stderr.write(f"{said} ({recording.program})\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="record real agents on scripted models")
    parser.add_argument("vendor", choices=VENDORS)
    parser.add_argument("scenario", nargs="*")
    parser.add_argument("--program", type=Path, help="the agent's program, another than the usual")
    given = parser.parse_args()
    anyio.run(_record, given.vendor, given.scenario, given.program and given.program.absolute())
