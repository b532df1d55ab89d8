"""Texts of agents made safe for a terminal, and small things said short: ids, sizes, times.

Pure. A terminal obeys what it prints: an escape sequence of an agent's output could retitle the
window, hide text or answer in the user's name.
"""

import unicodedata
from datetime import datetime
from typing import Any, Final, cast

from gateway.core import json
from gateway.core.json import JsonObject, as_object

SHORT_ID: Final = 8  # characters
_KEPT: Final = frozenset("\n\t")
# Cc: controls, C1 too. Cf: bidirectional overrides and other invisible ones. Cs: half characters,
# which no stream can encode. Zl, Zp: line ends to some terminals.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS: Final = frozenset("\u200c\u200d")  # within words of some scripts, and within emoji


def safe(text: str) -> str:
    """`text` with every character that a terminal obeys written as an escape: `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text.replace("\r\n", "\n"))


def json_line(value: object) -> str:
    """JSON text in which those characters stand as JSON's own escapes."""
    text = json.encode(value)
    if text.isprintable():
        return text
    return "".join(
        _json_escape(character) if unicodedata.category(character) in _UNSAFE else character
        for character in text
    )


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _shown(character: str) -> str:
    if character in _KEPT or character in _JOINERS:
        return character
    if unicodedata.category(character) in _UNSAFE:
        return ascii(character)[1:-1]
    return character


def line(text: str, most: int | None = None) -> str:
    """A safe text on one line, at most so many characters of it."""
    one = " ".join(safe(text).split())
    return one if most is None or len(one) <= most else one[: most - 1] + "…"


def short_id(run_id: str) -> str:
    """The end of an id. Its beginning is the time: runs of one minute share it."""
    return safe(run_id)[-SHORT_ID:]


def size(count: int) -> str:
    """Bytes in the unit that people would choose."""
    amount = float(count)
    for unit in ("bytes", "KB", "MB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"


def duration(seconds: float) -> str:
    """4.2 s, 3 min 10 s, 2 h 5 min."""
    if seconds < 60:
        return f"{max(seconds, 0):.1f} s"
    minutes, left = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def age(then: str, now: datetime) -> str:
    """How long ago an ISO time was; the text itself when it is none."""
    try:
        seconds = (now - datetime.fromisoformat(then)).total_seconds()
    except (ValueError, TypeError):
        return line(then, 40)
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return f"{max(int(seconds), 0)} s"


def objects(value: object) -> list[JsonObject]:
    """The JSON objects of a list; anything else is an empty one."""
    return [as_object(item) for item in cast("list[Any]", value)] if isinstance(value, list) else []


def string(value: object) -> str:
    return value if isinstance(value, str) else ""
