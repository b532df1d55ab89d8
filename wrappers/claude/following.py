"""What a running command prints, read from the file to which the CLI streams it.

Knows no run and no message. The file is no promise of the CLI's: where it is not found, a command
is silent until its end, and a failed one keeps the 10,000 characters that the CLI tells of it.
"""

import asyncio
import codecs
import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

from gateway.core.events import CommandFinished, CommandStarted, CommandUpdated

LOOK_S: Final = 0.02  # a first look after this time, then ever more rarely up to TELL_S
TELL_S: Final = 0.2  # at most one event per command in this time
TOLD_MAX: Final = 1024 * 1024  # bytes told while it runs; the end has the whole anyway
WHOLE_MAX: Final = 64 * 1024 * 1024  # bytes
_CUT: Final = "characters truncated] ..."  # the CLI's mark in the output of a failed command
_TIMED_OUT: Final = "Command timed out"

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Command:
    started: CommandStarted
    file: IO[bytes] | None = None
    told: int = 0
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )

    def news(self) -> str:
        """What was printed since the last time. Raises: OSError."""
        if self.file is None or self.told >= TOLD_MAX:
            return ""
        data = self.file.read(TOLD_MAX - self.told)
        self.told += len(data)
        return self.decoder.decode(data)

    def whole(self) -> str | None:
        """All that was printed, and the file is let go. None when none was found."""
        if self.file is None:
            return None
        with self.file as file:
            file.seek(0)
            return file.read(WHOLE_MAX).decode(errors="replace")


class Following:
    """The commands of one run. `say` hears what they print, in the loop's thread."""

    def __init__(
        self, session: str, environment: Mapping[str, str], say: Callable[[CommandUpdated], None]
    ) -> None:
        names = (environment.get(name) for name in ("CLAUDE_CODE_TMPDIR", "TMPDIR"))
        self._folder = Path(next(filter(None, names), "/tmp"))  # noqa: S108 (the CLI's own choice)
        self._pattern = f"claude-*/*/{session}/tasks/b*.output"
        self._since = time.time() - 1  # a file that is older is of another run
        self._say = say
        self._open: dict[str, _Command] = {}
        self._seen: set[Path] = set()
        self._pause = LOOK_S
        self._watching: asyncio.Task[None] | None = None

    def began(self, event: CommandStarted) -> None:
        if event.tool_use_id is None:
            return
        self._open[event.tool_use_id] = _Command(started=event)
        self._pause = LOOK_S
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(), name="commands' output")

    async def ended(self, event: CommandFinished) -> CommandFinished:
        """The end of a command, with all it printed where the CLI tells only a part of it."""
        command = self._open.pop(event.tool_use_id or "", None)
        if command is None:
            return event
        try:
            whole = await asyncio.to_thread(self._close, command)
        except OSError as exc:
            log.debug("a command's output could not be read whole: %s", exc)
            return event
        said = event.output
        if not whole or (said is not None and _CUT not in said):
            return event
        first, _, _ = (said or "").partition("\n")
        head = f"{first}\n" if first.startswith(_TIMED_OUT) else ""
        return replace(event, output=head + whole)

    async def close(self) -> None:
        """The run is over; nothing more is said."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        for command in self._open.values():
            if command.file is not None:
                command.file.close()
        self._open.clear()

    # -- the files ---------------------------------------------------------------------------------

    async def _watch(self) -> None:
        try:
            while self._open:
                await asyncio.sleep(self._pause)
                self._pause = min(self._pause * 1.5, TELL_S)
                for event in await asyncio.to_thread(self._look):
                    self._say(event)
        except Exception:  # the root of this task; a command is silent then
            log.warning("the output of commands is not followed any more", exc_info=True)

    def _look(self) -> list[CommandUpdated]:
        commands = list(self._open.values())
        waiting = [command for command in commands if command.file is None]
        files = self._files() if waiting else []
        # With several of either nobody knows which is whose.
        if len(waiting) == len(files) == 1:
            self._seen.add(files[0])
            try:
                waiting[0].file = _opened(files[0])
            except OSError as exc:  # gone meanwhile, or no file of the CLI's
                log.debug("a command's output cannot be opened: %s", exc)
        return [_update(command, text) for command in commands if (text := command.news())]

    def _files(self) -> list[Path]:
        found = (file for file in self._folder.glob(self._pattern) if file not in self._seen)
        return [file for file in found if _changed(file) >= self._since]

    def _close(self, command: _Command) -> str | None:
        if command.file is None:  # its file, should it be there still, is no other's
            self._seen.update(self._files())
        return command.whole()


def _changed(file: Path) -> float:
    """When the file was written to; 0 for one that is gone."""
    try:
        return file.lstat().st_mtime
    except OSError:
        return 0


def _opened(file: Path) -> IO[bytes] | None:
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    return os.fdopen(handle, "rb")


def _update(command: _Command, text: str) -> CommandUpdated:
    started = command.started
    tags = {key: it for key, it in started.extra.items() if key != "description"}
    return CommandUpdated(
        command=started.command, output=text, tool_use_id=started.tool_use_id, extra=tags
    )
