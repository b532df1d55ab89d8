"""Keeps an answer within its bytes: how many items go in, and what is left of one that is too big.

Pure; knows JSON, no run. An answer that is cut says so, and what was cut can be read elsewhere.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast

from gateway.core import json
from gateway.core.json import JsonObject

# Longest text and list that stay, tried in turn until the value fits.
_STEPS: Final = ((1000, 50), (300, 20), (100, 8), (64, 3))
_ELLIPSIS: Final = "...[clipped]"

T = TypeVar("T")


def size(value: object) -> int:
    """Bytes of a value's compact JSON."""
    return len(json.encode(value).encode())


def count_that_fits(items: Sequence[object], budget: int) -> int:
    """How many of the first items have room in a list of `budget` bytes."""
    left = budget - 2
    for count, item in enumerate(items):
        left -= size(item) + 1
        if left < 0:
            return count
    return len(items)


def clip(value: T, budget: int) -> T:
    """`value` with its texts and lists shortened step by step until it fits `budget` bytes.

    Object keys, numbers and short texts stay, so ids can be relied on. The last step is returned
    even when it does not fit: what is left then is structure.
    """
    if size(value) <= budget:
        return value
    clipped: Any = value
    for chars, items in _STEPS:
        clipped = _shorten(value, chars, items)
        if size(clipped) <= budget:
            break
    return cast("T", clipped)


def _shorten(value: Any, chars: int, items: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= chars + len(_ELLIPSIS) else value[:chars] + _ELLIPSIS
    if isinstance(value, list):
        entries = cast("list[Any]", value)
        short = [_shorten(item, chars, items) for item in entries[:items]]
        if (left := len(entries) - items) <= 0:
            return short
        # Lists of objects stay lists of objects: readers and schemas count on it.
        return [*short, {"clipped": left} if isinstance(entries[0], dict) else _ELLIPSIS]
    if isinstance(value, dict):
        fields = cast("JsonObject", value)
        return {key: _shorten(item, chars, items) for key, item in fields.items()}
    return value
