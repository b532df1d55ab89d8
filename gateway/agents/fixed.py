"""The file of fixed agents: TOML, one table an agent, read again whenever it has changed.

    [agents.reviewer]
    agent_url = "https://agents.example.com/reviewer"
    auth_token = "env:REVIEWER_TOKEN"
    pool = "reviewers"

Knows the file and what a registration may say; nothing of the other agents.
"""

import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ConfigDict, ValidationError

from gateway.agents.logins import is_reference
from gateway.agents.registration import (
    NAME,
    Described,
    Registration,
    Standing,
    check_login,
    field_of,
)
from gateway.core import json
from gateway.core.errors import InvalidInputError
from gateway.core.extension import describe
from gateway.core.json import JsonObject, as_object

FILE_MAX: Final = 1024 * 1024  # bytes


class _Fixed(Standing, Described):
    """One table."""

    model_config = ConfigDict(strict=True)


@dataclass(frozen=True, slots=True)
class Fixed:
    """What the file says. `problems` are lines for people; `whole`: it could be read at all."""

    agents: Mapping[str, Registration] = field(default_factory=dict[str, Registration])
    problems: tuple[str, ...] = ()
    whole: bool = True


class FixedFile:
    """The file at `path`, which need not be there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = ()

    def changed(self) -> Fixed | None:
        """What it says now; None while it is as it was at the last call."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)
        except OSError:
            status, seen = None, None
        if seen == self._seen:
            return None
        self._seen = seen
        if status is None:
            return Fixed()
        return self._read(private=not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO))

    def _read(self, *, private: bool) -> Fixed:
        name = self._path.name
        text = ""
        try:
            text = self._text()
            tables = tomllib.loads(text)
        except OSError as exc:
            return Fixed(problems=(f"{name}: {exc.strerror}",), whole=False)
        except ValueError as exc:  # TOMLDecodeError says line and column, but for the last line
            last = f"in line {text.count(chr(10)) + 1}, the last"
            why = str(exc).replace("at end of document", last)
            return Fixed(problems=(f"{name}: {why}",), whole=False)
        agents = tables.pop("agents", {})
        if not isinstance(agents, dict):
            what = "agents must be a table of tables: [agents.NAME]"
            return Fixed(problems=(f"{name}: {what}",), whole=False)
        found: dict[str, Registration] = {}
        problems = [f"{name}: unknown table or key {key!r}" for key in tables]
        for agent, table in cast("JsonObject", agents).items():
            try:
                found[agent] = _read_table(agent, table, private=private)
            except InvalidInputError as exc:
                line = _line_of(text, agent, exc.field)
                problems.append(f"{name}, line {line}: agents.{agent}: {exc}")
        return Fixed(found, tuple(problems))

    def _text(self) -> str:
        """Raises: OSError, ValueError."""
        with self._path.open("rb") as file:
            text = file.read(FILE_MAX + 1)
        if len(text) > FILE_MAX:
            raise ValueError(f"is larger than {FILE_MAX} bytes")
        return text.decode("utf-8")


def _read_table(agent: str, table: Any, *, private: bool) -> Registration:
    """Raises: InvalidInputError, naming the key."""
    if not re.fullmatch(NAME, agent):
        raise InvalidInputError("takes letters, digits, '.', '_' and '-' as a name, at most 64")
    if not isinstance(table, dict):
        raise InvalidInputError("must be a table with agent_url in it")
    given = as_object(cast("JsonObject", table))
    try:
        # As JSON: there a list is good for a tuple, and nothing else is taken for something else.
        read = _Fixed.model_validate_json(json.encode(given))
    except ValidationError as exc:
        raise InvalidInputError(describe(exc), field_of(exc)) from exc
    except TypeError as exc:
        raise InvalidInputError("holds a date or time, which no key takes") from exc
    check_login(read)
    secrets = [read.auth_token, *read.headers.values()]
    if not private and any(text and not is_reference(text) for text in secrets):
        raise InvalidInputError(
            "holds a credential, and other users can read the file; chmod 600 it, or give "
            "env:NAME or file:/path",
            "auth_token" if read.auth_token else "headers",
        )
    return Registration.model_validate({**read.model_dump(), "kind": "configured"})


def _line_of(text: str, agent: str, key: str | None) -> int:
    """The line that a key of an agent's table stands in, or the table's own; 1 where they are
    written in another of TOML's ways."""
    found, inside = 1, False
    name = re.escape(agent)
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[", line):
            inside = (
                re.match(rf"\s*\[\s*agents\s*\.\s*[\"']?{name}[\"']?\s*[\].]", line) is not None
            )
            found = number if inside and found == 1 else found
        elif inside and key and re.match(rf"\s*{re.escape(key.partition('.')[0])}\s*[=.]", line):
            return number
    return found
