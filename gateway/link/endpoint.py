"""What can be said to an agent, whichever of A2A's bindings and versions it speaks.

Everything is in the JSON form of A2A 1.0: an implementation for another binding or version
translates on its side of this seam.
"""

from collections.abc import AsyncGenerator
from typing import Protocol

from gateway.core.json import JsonObject


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
