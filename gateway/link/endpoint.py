"""What can be said to an agent, whichever of A2A's bindings and versions it speaks.

Everything is in the JSON form of A2A 1.0: an implementation for another binding or version
translates on its side of this seam.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.core.json import JsonObject

JSONRPC: Final = "JSONRPC"  # the bindings' names in cards; the third, GRPC, is not spoken here
REST: Final = "HTTP+JSON"
V1: Final = "1.0"
V03: Final = "0.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One way to call an agent: `binding` JSONRPC or HTTP+JSON, `version` "1.0" or "0.3"; `tenant`
    is what the card asks every request to name."""

    binding: str
    version: str
    url: str
    tenant: str = ""


class Endpoint(Protocol):
    """One interface of one agent. Every method raises GatewayError."""

    @property
    def agent(self) -> str:
        """The name it is registered by."""
        ...

    @property
    def base_url(self) -> str:
        """What it was registered by."""
        ...

    @property
    def streaming(self) -> bool:
        """Whether its card offers streams; without them it is polled."""
        ...

    async def call(self, method: str, params: JsonObject) -> JsonObject:
        """The result of a unary method: SendMessage, GetTask, ListTasks, CancelTask."""
        ...

    def stream(self, method: str, params: JsonObject) -> AsyncGenerator[list[JsonObject], None]:
        """The results of SendStreamingMessage or SubscribeToTask, in the groups they arrive in;
        ends as the agent ends it. Close it (`contextlib.aclosing`) when done."""
        ...
