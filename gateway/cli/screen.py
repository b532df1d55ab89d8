"""Where a command's words go: stdout for what was asked, stderr for everything beside it.

Knows no run. rich is imported at the first table or coloured line: it takes 50 ms.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from gateway.cli import plain

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.narration import Entry

GAP: Final = 2  # blanks between columns
LEAST: Final = 8  # characters of a column that is cut


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
        # Beside a clock that is drawn on the same terminal only its owner may write.
        if self.terminal and (style or self._made is not None):
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

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], whole: int = 1) -> None:
        """Columns for a terminal; otherwise one tab between cells. What is too wide for the
        terminal is cut behind the first `whole` columns."""
        if not self.terminal:
            for row in rows:
                self.say("\t".join(row))
            return
        # Inline: see the module's docstring.
        from rich.cells import cell_len, set_cell_size  # noqa: PLC0415

        widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
        left = self.console.width - sum(width + GAP for width in widths[:whole])
        widths[whole:] = _shared(widths[whole:], left)
        for row, style in ((columns, "bold"), *((row, "") for row in rows)):
            cells = (
                set_cell_size(cell, width)
                if cell_len(cell) <= width
                else set_cell_size(cell, width - 1) + "…"
                for cell, width in zip(row, widths, strict=True)
            )
            self.say((" " * GAP).join(cells).rstrip(), style)

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


def _shared(wanted: Sequence[int], left: int) -> list[int]:
    """The widths of columns that share what is left: a column that needs less gives it on."""
    widths: list[int] = []
    for at, want in enumerate(wanted):
        others = len(wanted) - at
        width = max(min(want, LEAST), min(want, left // others - GAP if others > 1 else left))
        widths.append(width)
        left -= width + GAP
    return widths


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
