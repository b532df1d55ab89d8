"""What the values of arguments may be at all, before a tool looks at them: sayable in JSON, bounded.

Pure; knows no tool. JSON that came as text inside of a text was seen by nobody before.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from gateway.core import json
from mcp_bridge.errors import RefusedError

# What is passed on to an agent is wrapped a few levels deeper, and its server takes 64.
DEPTH_MAX: Final = 48
VALUES_MAX: Final = 20_000  # members and items of one argument; a server takes 25,000 in a body
INTEGER_MAX: Final = 2**31 - 1  # of every number that counts something: databases have 32 bits


def sayable(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a call, each of which can be stored and passed on as JSON.

    Half a surrogate pair, which Python's own JSON reader lets through, becomes U+FFFD.
    Raises: RefusedError, which names the argument.
    """
    for name, value in values.items():
        check_structure(name, value)
    try:
        json.dump(values)
    except TypeError:
        return {_whole(name, name): _whole(name, value) for name, value in values.items()}
    return values


def check_structure(name: str, value: object) -> None:
    """Raises: RefusedError for what is nested too deep or has too many members."""
    level, count = [value], 0
    for _ in range(DEPTH_MAX + 1):
        level = [inner for item in level for inner in _members(item)]
        count += len(level)
        if count > VALUES_MAX:
            raise RefusedError(
                f"{name[:64]} holds more than {VALUES_MAX} values; put them into a file in cwd "
                "and say its path"
            )
        if not level:
            return
    raise RefusedError(f"{name[:64]} is nested deeper than {DEPTH_MAX} levels; flatten it")


def _members(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []


def _whole(name: str, value: Any) -> Any:
    try:
        return json.decode(json.encode(value))
    except TypeError as exc:  # the one thing that is left, as the structure was looked at
        raise RefusedError(
            f"{name[:64]} holds a number of more than 64 bits; send it as text"
        ) from exc
