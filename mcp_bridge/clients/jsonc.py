"""Edits JSON, with comments or without, in place: what is not meant stays byte for byte.

Knows no client. Comments and trailing commas are blanked out in copies of the same length, so that
the standard library's decoder finds every value at its own place in the text.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias, cast

from mcp_bridge.clients.errors import ClientError

_STRING: Final = r'"(?:\\.|[^"\\])*"'
_COMMENT: Final = r"//[^\r\n]*|/\*.*?\*/"
_TEXTS: Final = re.compile(f"{_STRING}|(?P<comment>{_COMMENT})", re.DOTALL)
_COMMAS: Final = re.compile(rf"{_STRING}|(?<=[^\s,{{\[:])(?P<space>\s*),(?=\s*[}}\]])", re.DOTALL)
_SPACE: Final = re.compile(r"\s*")
_REST_OF_LINE: Final = re.compile(rf"(?:[ \t]|{_COMMENT})*", re.DOTALL)
_UNIT: Final = re.compile(r"\{(?:\r?\n)+([ \t]+)\"")

Value: TypeAlias = Any  # whatever JSON may hold


class Dialect(NamedTuple):
    """What a file may have beyond JSON."""

    comments: bool = False
    trailing_commas: bool = False


class _Member(NamedTuple):
    key: str
    start: int  # of its key, or of itself in a list
    value: int
    end: int


class _Edit(NamedTuple):
    at: int
    end: int
    new: str


def read(text: str, dialect: Dialect) -> Value:
    """The value of a text. Raises: ClientError that names the line."""
    return _Text(text, dialect).value


def edited(text: str, dialect: Dialect, wanted: Value) -> str:
    """`text` changed so that its value is `wanted`, where that differs and nowhere else.
    Raises: ClientError when a comment stands within what has to go."""
    document = _Text(text, dialect)
    return _applied(text, list(document.edits(document.next(0), wanted)))


def dumped(value: Value, indent: str = "", unit: str = "  ") -> str:
    """JSON on several lines, all but the first indented."""
    lines = json.dumps(value, indent=unit, ensure_ascii=False).split("\n")
    return f"\n{indent}".join(lines)


class _Text:
    def __init__(self, text: str, dialect: Dialect) -> None:
        self.text = text
        self.code = _blanked(_TEXTS, "comment", text) if dialect.comments else text
        self.plain = self.code
        if dialect.trailing_commas:
            self.plain = _COMMAS.sub(_without_comma, self.code)
        self._decoder = json.JSONDecoder()
        self._newline = "\r\n" if "\r\n" in text else "\n"
        unit = _UNIT.search(text)
        self._unit = "  " if unit is None else unit.group(1)
        self.value = self._decoded()

    def _decoded(self) -> Value:
        try:
            return json.loads(self.plain, parse_constant=_refused)
        except json.JSONDecodeError as exc:
            raise ClientError(f"line {exc.lineno} is no JSON: {exc.msg}") from exc
        except (ValueError, RecursionError) as exc:
            raise ClientError("its JSON cannot be read") from exc

    def edits(self, at: int, wanted: Value) -> Iterator[_Edit]:
        """What makes the value that starts at `at` the wanted one."""
        present, end = self._decoder.raw_decode(self.plain, at)
        if present == wanted:
            return
        if _grows(present, wanted):
            members = list(self._members(at))
            if isinstance(wanted, dict):
                last = {member.key: member for member in members}  # of a key said twice
                for key, member in last.items():
                    yield from self.edits(member.value, wanted[key])
                news = [
                    (k, v) for k, v in cast("dict[str, Value]", wanted).items() if k not in last
                ]
            else:
                news = [("", value) for value in wanted[len(members) :]]
            if news:
                yield from self._added(at, end - 1, members, news)
            return
        if self.code[at:end] != self.text[at:end]:
            line = self.text.count("\n", 0, at) + 1
            raise ClientError(f"line {line}: what has to be replaced there holds a comment")
        yield _Edit(at, end, self._dumped(wanted, self._indent(at)))

    def _members(self, at: int) -> Iterator[_Member]:
        """Of the object or list that starts at `at`."""
        named, at = self.plain[at] == "{", self.next(at + 1)
        while self.plain[at] not in "}]":
            start, key = at, ""
            if named:
                key, at = self._decoder.raw_decode(self.plain, at)
                at = self.next(self.next(at) + 1)  # over the colon
            _, end = self._decoder.raw_decode(self.plain, at)
            yield _Member(key, start, at, end)
            at = self.next(end)
            if self.plain[at] == ",":
                at = self.next(at + 1)

    def _added(
        self, start: int, close: int, members: list[_Member], news: list[tuple[str, Value]]
    ) -> Iterator[_Edit]:
        """New members behind the last one, in the manner of those that are there."""
        outer = self._indent(start)
        if not members:
            at = start + 1
            for comment in re.finditer(_COMMENT, self.text[start + 1 : close], re.DOTALL):
                at = start + 1 + comment.end()
            inner, comma = outer + self._unit, True
        else:
            at = members[-1].end
            behind = self.code.find(",", at, close)
            comma = behind >= 0
            if not comma:
                yield _Edit(at, at, ",")
            at = behind + 1 if comma else at
            if "\n" not in self.text[start : members[0].start]:
                yield _Edit(at, at, ",".join(self._pair(*new, "", flat=True) for new in news))
                return
            inner = self._indent(members[0].start)
            # A comment behind the last one, on its line, is about that one.
            rest = _REST_OF_LINE.match(self.text, at, close)
            at = at if rest is None else rest.end()
        lines = [f"{self._newline}{inner}{self._pair(*new, inner)}" for new in news]
        ending = "" if "\n" in self.code[at:close] else f"{self._newline}{outer}"
        yield _Edit(at, at, ",".join(lines) + ending)

    def _pair(self, key: str, value: Value, indent: str, *, flat: bool = False) -> str:
        name = f"{json.dumps(key, ensure_ascii=False)}: " if key else ""
        if flat:
            return f" {name}{json.dumps(value, ensure_ascii=False)}"
        return name + self._dumped(value, indent)

    def _dumped(self, value: Value, indent: str) -> str:
        return dumped(value, indent, self._unit).replace("\n", self._newline)

    def _indent(self, at: int) -> str:
        """The white space that the line at `at` begins with."""
        line = self.text[self.text.rfind("\n", 0, at) + 1 : at]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def next(self, at: int) -> int:
        """Where the white space from `at` on ends."""
        found = _SPACE.match(self.plain, at)
        return at if found is None else found.end()


def _grows(present: Value, wanted: Value) -> bool:
    """Whether the wanted one has all that is there, and more or other values."""
    if isinstance(present, dict) and isinstance(wanted, dict):
        return cast("dict[str, Value]", present).keys() <= cast("dict[str, Value]", wanted).keys()
    if isinstance(present, list) and isinstance(wanted, list):
        had, has = cast("list[Value]", present), cast("list[Value]", wanted)
        return has[: len(had)] == had
    return False


def _blanked(pattern: "re.Pattern[str]", group: str, text: str) -> str:
    """Spaces instead of what the group found; lines stay lines."""

    def blank(match: "re.Match[str]") -> str:
        found = match.group()
        return found if match[group] is None else re.sub(r"[^\r\n]", " ", found)

    return pattern.sub(blank, text)


def _without_comma(match: "re.Match[str]") -> str:
    return match.group() if match["space"] is None else match["space"] + " "


def _refused(name: str) -> Value:
    raise ValueError(name)


def _applied(text: str, edits: list[_Edit]) -> str:
    parts: list[str] = []
    done = 0
    for edit in sorted(edits, key=lambda one: one.at):  # stable: at one place, in their order
        parts += [text[done : edit.at], edit.new]
        done = edit.end
    return "".join([*parts, text[done:]])
