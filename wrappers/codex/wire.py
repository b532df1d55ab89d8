"""The values that travel between the app-server's client and the mapping.

Pure; knows no meaning of a method.
"""

from dataclasses import dataclass
from typing import TypeAlias

from gateway.core.json import JsonObject, as_object

RequestId: TypeAlias = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A notification, or with a `request_id` a request, of the thread `thread`."""

    method: str
    params: JsonObject
    thread: str
    request_id: RequestId | None = None

    @property
    def turn(self) -> str | None:
        """The turn it belongs to, where it says so."""
        turn = self.params.get("turnId") or as_object(self.params.get("turn")).get("id")
        return turn if isinstance(turn, str) else None
