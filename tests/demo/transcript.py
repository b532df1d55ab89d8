"""What the demo prints: calls, events as they come, verdicts. Knows no gateway."""

import json
import time
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule

Json = dict[str, Any]
STYLES = {
    "run_completed": "bold green",
    "run_failed": "bold red",
    "rejected": "bold red",
    "input_required": "bold yellow",
    "auth_required": "bold yellow",
    "agent_message": "white",
    "reasoning": "italic bright_black",
    "status_changed": "cyan",
    "run_started": "cyan",
}
# What of an event's data says most, in this order.
TELLING = (
    "final_response", "text", "message", "command", "tool", "changes", "items", "name", "output",
    "resolved", "status", "model",
)  # fmt: skip


def gist(event: Json) -> str:
    """One line of an event's data."""
    data: Json = event["data"]
    match event["type"]:
        case "status_changed" if data.get("resolved"):
            return f"request {data.get('how')}: {data['resolved']}"
        case "status_changed" if data.get("cancel_requested_at"):
            return "cancel requested"
        case "message_added":
            parts: list[Json] = data.get("message", {}).get("parts", [])
            said = [part.get("text") or part.get("data") for part in parts]
            return shorten(data.get("text") or said)
        case _:
            return next((shorten(data[key]) for key in TELLING if data.get(key)), "")


def shorten(value: object, most: int = 100) -> str:
    """One line of a value."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


class Transcript:
    """Prints with the time since the present scene began."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)

    def scene(self, title: str) -> None:
        self._began = time.monotonic()
        self.console.print()
        self.console.print(Rule(f"[bold]{escape(title)}[/]", align="left", style="blue"))

    def call(self, tool: str, arguments: Json, result: Json) -> None:
        asked = " ".join(f"{key}={shorten(value, 60)}" for key, value in arguments.items())
        got = " ".join(
            f"{key}={shorten(value, 60)}" for key, value in result.items() if key != "events"
        )
        self._line("→", f"[bold magenta]{tool}[/] [magenta]{escape(asked)}[/]")
        self._line(" ", f"[bright_black]{escape(got)}[/]")

    def event(self, event: Json) -> None:
        style = STYLES.get(event["type"], "blue")
        what = f"[{style}]{event['type']:<17}[/] {escape(gist(event))}"
        self._line(f"{event['seq']:>2}", what)

    def verdict(self, good: bool, text: str) -> None:
        mark = "[bold green]✓[/]" if good else "[bold red]✗[/]"
        self._line(mark, f"[bold]{escape(text)}[/]")

    def note(self, name: str, text: str) -> None:
        self._line(" ", f"[bright_black]{escape(name)}[/] {escape(text)}")

    def paste(self, title: str, text: str) -> None:
        """Text to copy: nothing beside it, nothing wrapped."""
        self.console.print(Rule(escape(title), align="left", style="bright_black"))
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def panel(self, title: str, text: str) -> None:
        self.console.print(Panel(text, title=title, title_align="left", expand=False))

    def _line(self, mark: str, text: str) -> None:
        passed = time.monotonic() - self._began
        # `crop`, not wrap: one event is one line on any terminal.
        self.console.print(
            f"[bright_black]{passed:7.2f}s[/] {mark:>2} {text}", highlight=False, no_wrap=True,
            overflow="ellipsis",
        )  # fmt: skip
