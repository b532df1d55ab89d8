"""Keeps an answer within its bytes: how many items go in, and what is left of one that is too big.

Pure; knows JSON, no run. An answer that is cut says so, and what was cut can be read elsewhere.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar, cast

from gateway.core import json
from gateway.core.json import JsonObject

# So many characters of a text stay however little room there is; ids stay whole.
_SHORT: Final = 24
_STEP: Final = 0.8  # from one length of texts that is tried to the next
# How many items of a list stay while texts have at least so many characters.
_ITEMS: Final = ((1000, 200), (300, 50), (100, 20), (_SHORT + 1, 8), (0, 3))
_ELLIPSIS: Final = "...[clipped]"
_MARK: Final = 48  # characters of what stands where a text was cut
_MEMBERS: Final = 32  # of an object that always stay: none of our results has as many
_KEY: Final = 128  # characters of a member's name; pointers into events are rarely longer

_LEFT: Final = 32  # bytes, at most, of what stands in the place of an object or list

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
    those that callers and agents fill with hundreds of members the first ones stay. What is too
    large by its structure alone loses objects and lists within it; the members of `value` itself
    that are neither always stay, even when they do not fit.
    """
    if size(value) <= budget:
        return value
    steps = list(_steps(budget))
    # Of 400 KB each try takes 5 ms.
    first = bisect_left(steps, True, key=lambda step: size(_shorten(value, *step)) <= budget)
    clipped = _shorten(value, *steps[min(first, len(steps) - 1)])
    while (over := size(clipped) - budget) > 0 and _prune(clipped, over):
        pass
    return cast("T", clipped)


def _steps(budget: int) -> Iterator[tuple[int, int]]:
    """The longest text and list that stay, from the largest that may have room."""
    chars = max(budget, _SHORT)
    while True:
        yield chars, next(items for least, items in _ITEMS if chars >= least)
        if chars == _SHORT:
            return
        chars = max(_SHORT, int(chars * _STEP))


def _shorten(value: Any, chars: int, items: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= chars + _MARK else value[:chars] + _mark(len(value) - chars)
    if isinstance(value, list):
        entries = cast("list[Any]", value)
        short = [_shorten(item, chars, items) for item in entries[:items]]
        if (left := len(entries) - items) <= 0:
            return short
        return [*short, {"clipped": left} if _of_objects(entries) else _ELLIPSIS]
    if isinstance(value, dict):
        return _shorten_object(cast("JsonObject", value), chars, items)
    return value


def _mark(left: int) -> str:
    """Stands where a text was cut, and says how the rest is had."""
    return f"...[{left} more characters: raise max_bytes]"


def _shorten_object(fields: JsonObject, chars: int, items: int) -> JsonObject:
    most = max(items, _MEMBERS)
    short = {
        key if len(key) <= _KEY else key[:_KEY] + _ELLIPSIS: _shorten(item, chars, items)
        for key, item in list(fields.items())[:most]
    }
    return short if len(fields) <= most else {**short, "clipped": len(fields) - most}


def _prune(value: Any, over: int) -> bool:
    """Leave out the smallest object or list within `value` that saves `over` bytes, the largest
    where none does; False when there is nothing left to take."""
    found: tuple[Any, Any] | None = None
    while (largest := _largest_within(value)) is not None:
        if found is not None and largest[0] < over + _LEFT:
            break
        found = (value, largest[1])
        value = value[largest[1]]
    if found is None:
        return False
    holder, key = found
    count = {"clipped": len(value)}
    holder[key] = count if isinstance(value, dict) else [count if _of_objects(value) else _ELLIPSIS]
    return True


def _largest_within(value: Any) -> tuple[int, Any] | None:
    """Size and key of the largest object or list that `value` holds and that is worth taking."""
    if not isinstance(value, (dict, list)):
        return None
    of_list, entries = isinstance(value, list), cast("Any", value)
    named = enumerate(entries) if of_list else entries.items()
    sizes = [
        (size(cast("object", item)), key) for key, item in named if isinstance(item, (dict, list))
    ]
    return max((one for one in sizes if one[0] > _LEFT), key=itemgetter(0), default=None)


def _of_objects(entries: list[Any]) -> bool:
    """Lists of objects stay lists of objects: readers and schemas count on it."""
    return isinstance(entries[0], dict)
