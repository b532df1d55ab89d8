"""Where a command's words go: stdout for what was asked, stderr for everything beside it.

Knows no run. rich is imported at the first table or coloured line: it takes 50 ms.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from gateway.cli import plain

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.narration import Entry


class Screen:
    """One stream. Colours and widths only where it is a terminal; NO_COLOR is heeded by rich."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._made: Console | None = None

    @property
    def terminal(self) -> bool:
        return self._stream.isatty()

    def say(self, text: str, style: str = "") -> None:
        """A line, or several. The text is safe already."""
        if style and self.terminal:
            # Inline: see the module's docstring.
            from rich.text import Text  # noqa: PLC0415

            self.console.print(Text(text, style=style), soft_wrap=True)
            return
        self._stream.write(text + "\n")
        self._stream.flush()

    def json(self, value: object) -> None:
        self.say(plain.json_line(value))

    def tell(self, entry: "Entry", margin: str = "") -> None:
        self.say(entry.text(margin), entry.style)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns for a terminal, cut to its width; otherwise one tab between whole cells."""
        if not self.terminal:
            for row in rows:
                self.say("\t".join(row))
            return
        # Inline: see the module's docstring.
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self.console.print(table)

    @property
    def console(self) -> "Console":
        if self._made is None:
            # Inline: see the module's docstring.
            from rich.console import Console  # noqa: PLC0415

            self._made = Console(file=self._stream, highlight=False, markup=False, emoji=False)
        return self._made

    def raw(self, content: bytes) -> None:
        """Bytes as they are where a program reads; where a person does, made safe."""
        if self.terminal:
            self._stream.write(plain.safe(content.decode("utf-8", "replace")))
        else:
            self._stream.flush()
            self._stream.buffer.write(content)
        self._stream.flush()


def out() -> Screen:
    return Screen(sys.stdout)


def err() -> Screen:
    return Screen(sys.stderr)


def person_there() -> bool:
    """Whether somebody can be asked: questions go to stderr, answers come from stdin."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def show(value: Any, text: str, *, as_json: bool) -> None:
    """A command's one answer."""
    if as_json:
        out().json(value)
    else:
        out().say(text)
