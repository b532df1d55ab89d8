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
_MEMBERS: Final = 32  # of an object that always stay: none of our results has as many
_KEY: Final = 128  # characters of a member's name; pointers into events are rarely longer

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

    The objects of our results stay whole, and numbers and short texts, so ids can be relied on; of
    those that callers and agents fill with hundreds of members the first ones stay. The last step
    is returned even when it does not fit: what is left then is structure.
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
        return _shorten_object(cast("JsonObject", value), chars, items)
    return value


def _shorten_object(fields: JsonObject, chars: int, items: int) -> JsonObject:
    most = max(items, _MEMBERS)
    short = {
        key if len(key) <= _KEY else key[:_KEY] + _ELLIPSIS: _shorten(item, chars, items)
        for key, item in list(fields.items())[:most]
    }
    return short if len(fields) <= most else {**short, "clipped": len(fields) - most}
