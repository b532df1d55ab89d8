"""How long and how often a run's agent is tried again while it does not answer.

Knows the registry and one agent's name; nothing of what is said to it.
"""

from typing import Final, TypeGuard

import anyio

from gateway.agents.registry import Registry
from gateway.errors import AgentLostError, AgentProtocolError, GatewayError
from gateway.link.endpoint import Endpoint
from gateway.link.jsonrpc import JsonRpcEndpoint

FIRST_TRIES: Final = 3  # before anything was heard of the agent: it is not there, and we say so
DELAY_MIN_S: Final = 0.1
DELAY_MAX_S: Final = 5.0


def speaks_extension(endpoint: Endpoint) -> TypeGuard[JsonRpcEndpoint]:
    """Whether the agent's runs can be copied event by event."""
    return isinstance(endpoint, JsonRpcEndpoint) and endpoint.extension


class Reach:
    """One run's way to its agent."""

    def __init__(self, registry: Registry, agent: str, *, patience_s: float, known: bool) -> None:
        """`known`: the agent had taken the run up before this process started."""
        self._registry = registry
        self._agent = agent
        self._patience_s = patience_s
        self._met = known
        self._failures = 0
        self._down_since: float | None = None

    async def endpoint(self) -> Endpoint:
        """Where the agent is called now. Raises: GatewayError."""
        return await self._registry.endpoint(self._agent)

    async def coding_endpoint(self) -> JsonRpcEndpoint:
        """Where an agent with the coding-run extension is called now. Raises: GatewayError, also
        when its card declares it no more."""
        endpoint = await self.endpoint()
        if not speaks_extension(endpoint):
            what = "its card no longer declares the coding-run extension"
            raise AgentProtocolError(self._agent, endpoint.base_url, what)
        return endpoint

    def worked(self) -> None:
        """Something was heard of the agent."""
        self._met = True
        self._failures = 0
        self._down_since = None

    async def lost(self, error: GatewayError) -> None:
        """Wait before the next try. Raises: `error` or AgentLostError when there is none."""
        now = anyio.current_time()
        self._failures += 1
        self._down_since = now if self._down_since is None else self._down_since
        self._registry.forget(self._agent)
        if not self._met and self._failures >= FIRST_TRIES:
            raise error
        if (down := now - self._down_since) > self._patience_s:
            raise AgentLostError(self._agent, f"has not answered for {down:.0f} s") from error
        await anyio.sleep(min(DELAY_MIN_S * 2 ** (self._failures - 1), DELAY_MAX_S))
