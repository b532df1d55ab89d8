"""Outputs that the CLI kept in a file because they were too long for the conversation, read whole.

Knows no run. Only regular files below the CLI's own folder are read; where one cannot be, the event
stays as it came, with the beginning of the output.
"""

import asyncio
import logging
import stat
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.core.events import CommandFinished, Event, ToolFinished

READ_MAX: Final = 64 * 1024 * 1024  # bytes, the bound of one line of a vendor's as well

log = logging.getLogger(__name__)


class Kept:
    """`folder` is where the CLI keeps its sessions and what belongs to them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def whole(self, event: Event) -> Event:
        """The event, with its whole output in place of the beginning of it."""
        match event:
            case CommandFinished(extra={"persisted_output_path": str(path)}):
                output = await asyncio.to_thread(self._read, path)
                return event if output is None else replace(event, output=output)
            case ToolFinished(extra={"persisted_output_path": str(path)} as extra):
                output = await asyncio.to_thread(self._read, path)
                return (
                    event if output is None else replace(event, extra={**extra, "output": output})
                )
            case _:
                return event

    def _read(self, path: str) -> str | None:
        try:
            file = Path(path).resolve(strict=True)
            inside = file.is_relative_to(self._folder.resolve(strict=True))
            if inside and stat.S_ISREG(file.stat().st_mode):
                with file.open("rb") as opened:
                    return opened.read(READ_MAX).decode(errors="replace")
        except (OSError, ValueError) as exc:
            log.warning("a kept output cannot be read, its beginning is all there is: %s", exc)
            return None
        log.warning("a kept output is no file of Claude Code's own: %s", path)
        return None
