"""Options that several commands share, and how their values are read. Knows no gateway."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from gateway.cli import completion
from gateway.cli.errors import USAGE, CommandError
from gateway.core import json
from gateway.core.json import JsonObject

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of all state (A2A_GATEWAY_HOME).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
LinesOption = Annotated[bool, typer.Option("--json", help="JSON lines instead of text.")]
NoStartOption = Annotated[
    bool, typer.Option("--no-start", help="Fail when no gateway runs, instead of starting one.")
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, the end or beginning of one, or its agent's name.",
        autocompletion=completion.runs,
    ),
]
CwdOption = Annotated[
    str | None, typer.Option("--cwd", help="Folder, where an agent's name is of several.")
]

_SPAN: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?")


def seconds(text: str | None) -> float | None:
    """Seconds of 90, 90s, 15m, 1h30m, 2d. Raises: CommandError."""
    if text is None:
        return None
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None or not any(found.groups()):
        raise CommandError(f"{text!r} is no time; say 90s, 15m, 1h30m or 2d", USAGE)
    days, hours, minutes, rest = (float(one or 0) for one in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def time(text: str | None) -> str | None:
    """The time so long ago (2h, 3d), in ISO; what is no span goes as it is, for the tool to read.

    A number alone is a date (20261122), not seconds. Raises: CommandError.
    """
    if text is None or text.isdecimal() or _SPAN.fullmatch(text.strip().lower()) is None:
        return text
    try:
        return (datetime.now(UTC) - timedelta(seconds=seconds(text) or 0)).isoformat()
    except OverflowError as exc:
        raise CommandError(f"{text!r} is longer ago than there are dates", USAGE) from exc


def pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    """The members of repeated k=v options. Raises: CommandError."""
    found: dict[str, str] = {}
    for one in given or ():
        key, sign, value = one.partition("=")
        if not sign or not key.strip():
            raise CommandError(f"{option} {one!r}: say KEY=VALUE", USAGE)
        found[key.strip()] = value
    return found


def json_object(text: str, where: str) -> JsonObject:
    """Raises: CommandError."""
    try:
        return json.decode_object(text)
    except ValueError as exc:
        raise CommandError(f"{where} is no JSON object", USAGE) from exc


def json_list(text: str, where: str) -> list[Any]:
    """Raises: CommandError."""
    try:
        value = json.decode(text)
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise CommandError(f"{where} is no JSON list", USAGE)
    return cast("list[Any]", value)


def read_file(path: Path) -> str:
    """The text of a file of the caller's. Raises: CommandError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = getattr(exc, "strerror", None) or "it is not UTF-8 text"
        raise CommandError(f"{path} cannot be read: {why}", USAGE) from exc
