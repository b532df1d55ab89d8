"""Pieces of text gathered into few events: at most one per item and interval, none lost.

Pure: the time is an argument (seconds of any monotonic clock).
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

INTERVAL_S: Final = 0.2

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Gathered:
    due: float
    pieces: list[str] = field(default_factory=list[str])


class Deltas(Generic[K]):
    """The text of each item since its last event. A piece waits at most `INTERVAL_S`."""

    def __init__(self) -> None:
        self._items: dict[K, _Gathered] = {}

    @property
    def due(self) -> float | None:
        """When `ripe` has something next."""
        return min((item.due for item in self._items.values()), default=None)

    def add(self, key: K, text: str, now: float) -> None:
        item = self._items.setdefault(key, _Gathered(now + INTERVAL_S))
        item.pieces.append(text)

    def ripe(self, now: float) -> list[tuple[K, str]]:
        """The text of every item whose time has come, oldest first."""
        keys = [key for key, item in self._items.items() if item.due <= now]
        return [(key, self.take(key)) for key in keys]

    def take(self, key: K) -> str:
        """All that an item has waiting; empty when it has nothing."""
        item = self._items.pop(key, None)
        return "".join(item.pieces) if item is not None else ""

    def rest(self) -> list[tuple[K, str]]:
        """All that is waiting, due or not."""
        return [(key, self.take(key)) for key in list(self._items)]
