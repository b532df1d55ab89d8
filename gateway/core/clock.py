"""Times as the log keeps them: unix microseconds, and their ISO form on the wire. Pure."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], int]  # unix microseconds


def iso(at: int) -> str:
    """ISO 8601 in UTC with microseconds, as the contract's `ts` and A2A timestamps."""
    moment = datetime.fromtimestamp(at / 1_000_000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
