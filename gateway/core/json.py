"""JSON text and values: the one place that names a codec.

Knows nothing of runs. Event data is encoded once, here, and handed on as text.
"""

from typing import Any, TypeAlias, cast

import orjson

JsonObject: TypeAlias = dict[str, Any]


def encode(value: object) -> str:
    """Compact JSON text of `value`. Raises: TypeError for what JSON cannot say."""
    return orjson.dumps(value).decode()


def decode(text: str | bytes) -> Any:
    """The value of a JSON text. Raises: ValueError when it is not JSON."""
    return orjson.loads(text)


def as_object(value: object) -> JsonObject:
    """`value` when it is a JSON object, else an empty one: for reading foreign answers."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


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
