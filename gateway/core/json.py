"""JSON text and values: the one place that names a codec.

Knows nothing of runs. Event data is encoded once, here, and handed on as text.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeAlias, cast

import orjson

JsonObject: TypeAlias = dict[str, Any]

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def encode(value: object) -> str:
    """Compact JSON text of `value`. Raises: TypeError for what JSON cannot say.

    Half a surrogate pair, which Python's own JSON reader lets through, becomes U+FFFD.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return orjson.dumps(_whole_characters(value)).decode()


def texts_of(data: JsonObject) -> int:
    """Characters of the texts on top: where the large ones are, and cheaper than to encode all."""
    return sum([len(value) for value in data.values() if isinstance(value, str)])


def utf8(text: str) -> bytes:
    """`text` as it is stored; half a surrogate pair becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text).encode()


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value).items()
        return {_whole_characters(name): _whole_characters(item) for name, item in members}
    if isinstance(value, list | tuple):
        return [_whole_characters(item) for item in cast("list[Any]", value)]
    return value


def dump(value: object) -> bytes:
    """`encode` in UTF-8, for what goes to the network as it is: no copy as a string in between."""
    return orjson.dumps(value)


def pretty(value: object) -> bytes:
    """`encode` for people, in UTF-8: two spaces a level, a newline at the end."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        return orjson.dumps(_whole_characters(value), option=option)


def decode(text: str | bytes) -> Any:
    """The value of a JSON text. Raises: ValueError when it is not JSON."""
    return orjson.loads(text)


def as_object(value: object) -> JsonObject:
    """`value` when it is a JSON object, else an empty one: for reading foreign answers."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def objects(value: object) -> list[JsonObject]:
    """The objects of a JSON list, each as `as_object`; nothing when it is none."""
    return [as_object(item) for item in cast("list[Any]", value)] if isinstance(value, list) else []


def decode_object(text: str | bytes) -> JsonObject:
    """The object of a JSON text. Raises: ValueError when it is not a JSON object."""
    value = decode(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")  # noqa: TRY004
    return cast("JsonObject", value)


def merge_null(data: JsonObject) -> JsonObject:
    """`data` without its null members: an absent key and null mean the same on our wire."""
    return {key: value for key, value in data.items() if value is not None}


def encode_sorted(value: object) -> str:
    """JSON text with sorted keys: equal values give equal texts, for digests."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def member(fields: Mapping[str, Any], name: str) -> Any:
    """A member by its camelCase name or, as ProtoJSON readers have to, by its snake_case one.

    None when it is absent or null, which mean the same.
    """
    value = fields.get(name)
    return fields.get(snake(name)) if value is None else value


@cache
def snake(name: str) -> str:
    """`messageId` -> `message_id`. For names in our code: each is kept."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
