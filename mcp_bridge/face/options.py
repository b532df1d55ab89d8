"""What a client asks for in the query of /mcp: extra toolsets, and whether its person is asked.

Pure; knows no HTTP. In the query, because that is all of a request that clients let be configured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

from mcp_bridge.catalog import TOOLSETS
from mcp_bridge.errors import RefusedError

_YES_OR_NO: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`toolsets`: names beside the one that is always offered. `elicit`: what a run asks is put to
    the client's person, where the client can."""

    toolsets: tuple[str, ...] = ()
    elicit: bool = False


@lru_cache(maxsize=64)  # the same few, with every request
def read_options(query: str) -> Options:
    """The options of a query. Raises: RefusedError, one line that names what is wrong."""
    toolsets: set[str] = set()
    elicit = False
    for name, value in parse_qsl(query, keep_blank_values=True):
        match name:
            case "toolsets":
                toolsets |= {text.strip() for text in value.split(",") if text.strip()}
            case "elicit":
                elicit = _yes_or_no(value)
            case _:
                raise RefusedError(f"/mcp has no option {name[:64]!r}; it has toolsets and elicit")
    if unknown := sorted(toolsets - TOOLSETS.keys()):
        raise RefusedError(
            f"no toolset {unknown[0][:64]!r}; the toolsets are {', '.join(TOOLSETS)}"
        )
    return Options(toolsets=tuple(sorted(toolsets)), elicit=elicit)


def _yes_or_no(value: str) -> bool:
    try:
        return _YES_OR_NO[value.strip().lower()]
    except KeyError:
        raise RefusedError(f"elicit is true or false, not {value[:64]!r}") from None
