"""Values of undocumented shape, read leniently: what is no list of objects is an empty one.

Pure.
"""

from typing import cast

from gateway.core.json import JsonObject, as_object


def objects(value: object) -> list[JsonObject]:
    """The objects of a list; an item that is none is an empty object."""
    if not isinstance(value, list):
        return []
    return [as_object(item) for item in cast("list[object]", value)]
