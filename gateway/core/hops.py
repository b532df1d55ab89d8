"""How many servers of ours a message has come through: what ends a loop that nobody can see.

Pure. The number stands in the message's own metadata, so it survives agents that know A2A alone.
"""

from typing import Final

from gateway.core.errors import InvalidInputError
from gateway.core.json import JsonObject

HOPS_KEY: Final = "urn:a2a-gateway:hops"
# A gateway before a gateway before a wrapper is two. Beyond four, servers point at each other.
HOPS_MAX: Final = 4


def hops_of(metadata: JsonObject) -> int:
    """How many of our servers handed a message on before this one."""
    given = metadata.get(HOPS_KEY)
    # A number of a protobuf Struct is a float.
    return int(given) if isinstance(given, int | float) and 0 < given < 1e6 else 0


def one_more(metadata: JsonObject) -> JsonObject:
    """The metadata of a message that is handed on."""
    return {**metadata, HOPS_KEY: hops_of(metadata) + 1}


def check_hops(metadata: JsonObject) -> None:
    """Refuse a message that goes round. Raises: InvalidInputError."""
    if (hops := hops_of(metadata)) > HOPS_MAX:
        raise InvalidInputError(
            f"this message came through {hops} gateways, at most {HOPS_MAX} hand one on: do two "
            "of them name each other as agents? remove one of them there",
            "metadata",
        )
