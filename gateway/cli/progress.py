"""What a person sees while a run is followed in the foreground: its events, and that time passes.

Knows no gateway. The clock is drawn only where stderr is a terminal.
"""

import time
from typing import TYPE_CHECKING, Any

from gateway.cli import plain, portrait
from gateway.cli.narration import WORD, Narrator
from gateway.cli.screen import Screen
from gateway.core.json import JsonObject

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Events to stderr, brief. With `quiet` nothing at all is told."""

    def __init__(self, screen: Screen, *, quiet: bool = False) -> None:
        self._screen = screen
        self._quiet = quiet
        self._narrator = Narrator(brief=True)
        self._clock: Status | None = None
        self._begun = time.monotonic()
        self._doing = "queued"

    def tell(self, event: JsonObject) -> None:
        data: Any = event.get("data")
        if event.get("type") == "run_started":
            self._doing = "running"
        if event.get("type") == "status_changed" and not data.get("resolved"):
            self._doing = plain.line(str(data.get("status")))
        # The answer itself goes to stdout.
        if not self._quiet and event.get("type") != "run_completed":
            entry = self._narrator.entry(event)
            if entry is not None:
                self._screen.tell(entry)

    def queued(self, run: JsonObject) -> None:
        """Where the run stands in the queue, said when that changes."""
        doing = portrait.status_of(run)
        if doing != self._doing and not self._quiet:
            self._screen.say(f"{'queue':<{WORD}} {doing}", "dim")
        self._doing = doing

    def say(self, text: str) -> None:
        """A safe line, told even when quiet: somebody has to act on it."""
        self._screen.say(text)

    def start(self) -> None:
        """Show that time passes."""
        if self._quiet or not self._screen.terminal or self._clock is not None:
            return
        self._clock = self._screen.console.status(_Clock(self))  # pyright: ignore[reportArgumentType]
        self._clock.start()

    def stop(self) -> None:
        """Leave the terminal to a question, or as it was."""
        if self._clock is not None:
            self._clock.stop()
            self._clock = None

    def now(self) -> str:
        return f"{self._doing}, {plain.duration(time.monotonic() - self._begun)}"


class _Clock:
    """A renderable of rich's whose text is made anew each time it is drawn."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich__(self) -> Any:
        # Inline: rich is there when this is drawn.
        from rich.text import Text  # noqa: PLC0415

        return Text(f"{self._progress.now()} (Ctrl+C: cancel or leave)", style="dim")
