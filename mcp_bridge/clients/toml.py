"""Edits one table of a TOML file in place: what is not meant stays byte for byte.

Knows no client. The standard library reads TOML and writes none: a text is cut into statements,
and those of the table are replaced, added or taken out; the reader then says whether it came right.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, cast

from mcp_bridge.clients.errors import ClientError

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
# What may hold a line end, a bracket or an equals sign that means nothing; else one character.
_TOKEN: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[^\"'#\[\]{}=\n]+|.",
    re.DOTALL,
)

_NOTHING: Final = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|$)")  # an empty line, or a comment
_BLANKS: Final = re.compile(r"[ \t]*")

Table: TypeAlias = Mapping[str, Any]
Path: TypeAlias = tuple[str, ...]


class _Statement(NamedTuple):
    """A header or a `key = value`, with its line ends. `path`: from the root. `value`: where the
    value is; None for a header."""

    start: int
    end: int
    path: Path
    value: tuple[int, int] | None


def read(text: str) -> dict[str, Any]:
    """The value of a text. Raises: ClientError that names the line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ClientError(f"it is no TOML: {exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise ClientError("its TOML cannot be read") from exc


def edited(text: str, path: Path, wanted: Table) -> str:
    """`text` with the table at `path` as wanted. Raises: ClientError for a table that is written in
    a way that has no room for it."""
    document = read(text)
    present = _at(document, path)
    expected = _with(document, path, wanted)
    if present is None:
        result = _appended(text, path, wanted)
    elif present == wanted:
        return text
    elif (whole := _statement(text, path)) is not None and whole.value is not None:
        result = _cut(text, {whole.value: value_text(wanted)})
    else:
        result = _table_edited(text, path, present, wanted)
    if _read_or_none(result) != expected:
        raise ClientError(f"its table {_key_text(path)} is written in a way that cannot be edited")
    return result


def replaced(text: str, path: Path, wanted: Table) -> str:
    """`text` with the table at `path` taken out, and written anew where it was. Raises: ClientError."""
    whole = _statement(text, path)
    if whole is not None and whole.value is not None:
        return edited(text, path, wanted)
    spans = {(one.start, one.end): "" for one in _statements(text) if one.path[: len(path)] == path}
    if not spans:
        raise ClientError(f"its table {_key_text(path)} is written in a way that cannot be edited")
    first = min(spans)
    spans[first] = table_text(path, wanted, _newline(text))
    result = _cut(text, spans)
    if _read_or_none(result) != _with(read(text), path, wanted):
        raise ClientError(f"its table {_key_text(path)} is written in a way that cannot be edited")
    return result


def table_text(path: Path, table: Table, newline: str = "\n") -> str:
    """The lines of a table, each with its end."""
    lines = [f"[{_key_text(path)}]", *(_pair_text(*pair) for pair in table.items())]
    return "".join(line + newline for line in lines)


def value_text(value: object) -> str:
    """A value on one line. Raises: ClientError for a time, which no server of ours has."""
    match value:
        case bool() | int() | float():
            return json.dumps(value).replace("Infinity", "inf").replace("NaN", "nan")
        case str():
            # A JSON string is a TOML basic string, but for the delete character.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            pairs = [_pair_text(*pair) for pair in cast("dict[str, object]", value).items()]
            return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
        case list() | tuple():
            items = cast("Sequence[object]", value)
            return f"[{', '.join(value_text(item) for item in items)}]"
        case _:
            raise ClientError(f"a value that cannot be written again is there: {value}")


def _table_edited(text: str, path: Path, present: Table, wanted: Table) -> str:
    """The statements of the table, one by one."""
    for key in present.keys() - wanted.keys():
        text = _without(text, (*path, key))
    for key, value in wanted.items():
        if key in present and present[key] == value:
            continue
        text = _put(text, path, key, value, present.get(key))
    return text


def _put(text: str, path: Path, key: str, value: Any, present: Any) -> str:
    statement = _statement(text, (*path, key))
    if statement is not None and statement.value is not None:
        return _cut(text, {statement.value: value_text(value)})
    if statement is not None and all(isinstance(one, dict) for one in (present, value)):
        return _table_edited(text, (*path, key), present, value)
    if isinstance(present, dict) and isinstance(value, dict):
        return _tables_put(text, (*path, key), cast("Table", present), cast("Table", value))
    header = _statement(text, path)
    if header is None:
        raise ClientError(f"its table {_key_text(path)} is written in a way that cannot be edited")
    last = header
    for one in _statements(text):
        if one.start > header.start:
            if one.value is None:
                break
            last = one
    lead = "" if text[: last.end].endswith("\n") else _newline(text)
    added = f"{lead}{_pair_text(key, value)}{_newline(text)}"
    return _cut(text, {(last.end, last.end): added})


def _tables_put(text: str, path: Path, present: Table, wanted: Table) -> str:
    """The tables of one that has no statement of its own, `[a.b.c]` alone."""
    for key, value in wanted.items():
        if key in present:
            text = _put(text, path, key, value, present[key])
        elif isinstance(value, dict):
            text = _appended(text, (*path, key), cast("Table", value))
    return text


def _appended(text: str, path: Path, table: Table) -> str:
    newline = _newline(text)
    if text and not text.endswith("\n"):
        text += newline
    return f"{text}{newline if text.strip() else ''}{table_text(path, table, newline)}"


def _without(text: str, path: Path) -> str:
    spans = {(one.start, one.end): "" for one in _statements(text) if one.path[: len(path)] == path}
    return _cut(text, spans)


def _cut(text: str, spans: Mapping[tuple[int, int], str]) -> str:
    for (start, end), new in sorted(spans.items(), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _statement(text: str, path: Path) -> _Statement | None:
    return next((one for one in _statements(text) if one.path == path), None)


def _statements(text: str) -> Iterator[_Statement]:
    """The statements of a text that has been read, in order; between them are comments and empty
    lines."""
    at: int = 0
    table: Path = ()
    while at < len(text):
        nothing = _NOTHING.match(text, at)
        if nothing is not None and nothing.end() > at:
            at = nothing.end()
            continue
        start, header = at, text.startswith("[", _blanks_end(text, at))
        equals, said, at = _extent(text, at, header=header)
        if header:
            table = _key(text[start:said].strip().strip("[]"))
            yield _Statement(start, at, table, None)
        else:
            value = (_blanks_end(text, equals + 1), said)
            yield _Statement(start, at, table + _key(text[start:equals]), value)


def _extent(text: str, at: int, *, header: bool) -> tuple[int, int, int]:
    """Of the statement at `at`: where its equals sign is, where what it says ends, and where its
    last line does."""
    equals, said, depth = -1, at, 0
    while at < len(text) and (text[at] != "\n" or (depth > 0 and not header)):
        token = _TOKEN.match(text, at)
        found = text[at] if token is None else token.group()
        if found == "=" and equals < 0:
            equals = at
        depth += (found in ("[", "{")) - (found in ("]", "}"))
        if found.strip() and not found.startswith("#"):
            said = at + len(found.rstrip())
        at += len(found)
    return equals, said, min(at + 1, len(text))


def _blanks_end(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return at if found is None else found.end()


def _key(text: str) -> Path:
    """The parts of a dotted key."""
    found: Any = tomllib.loads(f"{text.strip()} = 0")
    path: list[str] = []
    while isinstance(found, dict):
        name, found = next(iter(cast("dict[str, Any]", found).items()))
        path.append(name)
    return tuple(path)


def _key_text(path: Path) -> str:
    return ".".join(one if _BARE.fullmatch(one) else value_text(one) for one in path)


def _pair_text(key: str, value: object) -> str:
    return f"{_key_text((key,))} = {value_text(value)}"


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _at(document: Table, path: Path) -> dict[str, Any] | None:
    found: Any = document
    for key in path:
        if not isinstance(found, dict):
            raise ClientError(f"{_key_text(path[:-1])} is no table there")
        found = cast("dict[str, Any]", found).get(key)
        if found is None:
            return None
    if not isinstance(found, dict):
        raise ClientError(f"{_key_text(path)} is no table there")
    return cast("dict[str, Any]", found)


def _with(document: Table, path: Path, wanted: Table) -> dict[str, Any]:
    if not path:
        return dict(wanted)
    below = cast("Table", document.get(path[0], {}))
    return {**document, path[0]: _with(below, path[1:], wanted)}


def _read_or_none(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except ValueError:
        return None
