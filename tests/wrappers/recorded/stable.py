"""Names for what differs from one recording to the next: ids, times, paths.

Pure; knows no vendor. The same text gets the same name wherever it stands in a recording.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Stable:
    """`patterns` are regular expressions of ids -> what their names begin with; `fixed` are
    members (by name) whose values are replaced, whatever they are (times, process ids)."""

    def __init__(self, patterns: Mapping[str, str], fixed: Mapping[str, Any]) -> None:
        self._kinds = tuple(patterns.values())
        self._ids = re.compile("|".join(f"({pattern})" for pattern in patterns))
        self._fixed = fixed
        self._known: dict[str, str] = {}
        self._places: list[tuple[str, str]] = []
        self._count: Counter[str] = Counter()

    def place(self, path: str, name: str) -> None:
        """Have `path` read `name`, as a part of other texts too; the longest path is first."""
        self._places.append((path, name))
        self._places.sort(key=lambda place: -len(place[0]))

    def learn(self, text: str, kind: str) -> str:
        """Name an id by its kind before it is found by its pattern; its name."""
        if text not in self._known:
            self._count[kind] += 1
            self._known[text] = f"{kind}-{self._count[kind]}"
        return self._known[text]

    def alias(self, text: str, name: str) -> None:
        """Have `text`, wherever it stands, read `name`: a part of an id, for example."""
        self._places.append((text, name))

    def of(self, value: Any) -> Any:
        """`value` with names in place of what differs; member names are kept as they are."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            members = cast("Mapping[str, Any]", value).items()
            return {self._text(key): self._member(key, item) for key, item in members}
        if isinstance(value, list | tuple):
            return [self.of(item) for item in cast("list[Any]", value)]
        return value

    def _member(self, key: str, value: Any) -> Any:
        if key in self._fixed and value is not None:
            return self._fixed[key]
        return self.of(value)

    def _text(self, text: str) -> str:
        text = self._ids.sub(self._named, text)
        for path, name in self._places:
            text = text.replace(path, name)
        return text

    def _named(self, match: "re.Match[str]") -> str:
        return self.learn(match[0], self._kinds[(match.lastindex or 1) - 1])
