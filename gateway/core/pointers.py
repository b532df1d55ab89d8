"""JSON pointers (RFC 6901), by which fields of an event's data are named. Pure."""

from typing import Any, cast


def escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def keys(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def at(value: Any, pointer: str) -> Any:
    """The value at a pointer. Raises: LookupError, ValueError, TypeError where there is none."""
    for key in keys(pointer):
        value = cast("list[Any]", value)[int(key)] if isinstance(value, list) else value[key]
    return value


def put(value: Any, pointer: str, item: Any) -> None:
    """Replace the value at a pointer. Raises: as `at`."""
    *path, last = keys(pointer)
    for key in path:
        value = at(value, f"/{escape(key)}")
    if isinstance(value, list):
        value[int(last)] = item
    else:
        value[last] = item
