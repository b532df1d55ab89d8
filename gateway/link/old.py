"""An agent that speaks A2A 0.3, as one that speaks 1.0. Implements `Endpoint` upon another.

Knows which methods 0.3 has; the values are `v03`'s.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from gateway.core.json import JsonObject
from gateway.errors import AgentRefusedError
from gateway.link.answers import METHOD_NOT_FOUND
from gateway.link.jsonrpc import JsonRpcEndpoint
from gateway.link.rest import RestEndpoint
from gateway.link.v03 import METHODS, new_item, new_task, old_params


@dataclass(frozen=True, slots=True, kw_only=True)
class OldEndpoint:
    """`spoken` carries the methods by 0.3's names or paths; refusals name 1.0's."""

    spoken: JsonRpcEndpoint | RestEndpoint

    @property
    def agent(self) -> str:
        return self.spoken.agent

    @property
    def base_url(self) -> str:
        return self.spoken.base_url

    @property
    def streaming(self) -> bool:
        return self.spoken.streaming

    async def call(self, method: str, params: JsonObject) -> JsonObject:
        """The result of a unary method. Raises: GatewayError."""
        result = await self.spoken.call(self._known(method), self._params(params))
        return new_item(result) if method == "SendMessage" else new_task(result)

    async def stream(
        self, method: str, params: JsonObject
    ) -> AsyncGenerator[list[JsonObject], None]:
        """The results of a streaming method, in the groups they arrive in. Raises: GatewayError."""
        stream = self.spoken.stream(self._known(method), self._params(params))
        async with aclosing(stream) as groups:
            async for items in groups:
                yield [new_item(item) for item in items]

    def _known(self, method: str) -> str:
        if method not in METHODS:
            raise AgentRefusedError(self.agent, method, METHOD_NOT_FOUND, "A2A 0.3 has none", [])
        return method

    def _params(self, params: JsonObject) -> JsonObject:
        return old_params(params, proto=isinstance(self.spoken, RestEndpoint))
