"""Tells an agent's processes which run they work for, where one process serves many runs.

A process's environment is fixed when it starts. So it names a file that holds the present run, or
for Codex, whose one process serves all conversations, the folder of such files: what Codex starts
knows its thread. Knows no agent; the bridge's relay reads the same variables.
"""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

RUN_VARIABLE: Final = "A2A_GATEWAY_RUN"
RUN_FILE_VARIABLE: Final = "A2A_GATEWAY_RUN_FILE"
RUN_FILES_VARIABLE: Final = "A2A_GATEWAY_RUN_FILES"


class RunFiles:
    """One small file for each conversation, in `folder`, named as the vendor names it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def environment(self) -> Mapping[str, str]:
        """For a process of all conversations."""
        return {RUN_FILES_VARIABLE: str(self._folder)}

    def environment_of(self, conversation: str) -> Mapping[str, str]:
        """For a process of one."""
        return {RUN_FILE_VARIABLE: str(self._folder / conversation)}

    def write(self, conversation: str, run_id: str) -> None:
        """The conversation's processes work for this run from now on."""
        new = self._folder / f".{conversation}.new"
        with contextlib.suppress(OSError):  # a full disk must not end the run
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            new.write_text(run_id, encoding="utf-8")
            new.replace(self._folder / conversation)

    def clear(self) -> None:
        """No process of an earlier wrapper lives on."""
        shutil.rmtree(self._folder, ignore_errors=True)
