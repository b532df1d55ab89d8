"""How long and how often a run's agent is tried again while it does not answer.

Knows the registry and one agent's name; nothing of what is said to it. Whether the agent is there
is found out once for all runs, by the registry; here is how patient one run is.
"""

from typing import Final, TypeGuard

import anyio

from gateway.agents.card import Card
from gateway.agents.health import State
from gateway.agents.registry import Registry
from gateway.errors import AgentLostError, AgentProtocolError, AgentUnreachableError, GatewayError
from gateway.link.endpoint import Endpoint
from gateway.link.jsonrpc import JsonRpcEndpoint

FIRST_TRIES: Final = 3  # before anything was heard of the agent: it is not there, and we say so
DELAY_MIN_S: Final = 0.1
DELAY_MAX_S: Final = 5.0
OPEN_S: Final = 2.0  # what a new run waits for a look at an agent that was long not there


def speaks_extension(endpoint: Endpoint) -> TypeGuard[JsonRpcEndpoint]:
    """Whether the agent's runs can be copied event by event."""
    return isinstance(endpoint, JsonRpcEndpoint) and endpoint.extension


class Reach:
    """One run's way to its agent."""

    def __init__(
        self,
        registry: Registry,
        agent: str,
        *,
        patience_s: float,
        known: bool,
        replaceable: bool = False,
    ) -> None:
        """`known`: the agent had taken the run up before this process started; `replaceable`:
        another agent may have the run as long as nothing was sent to this one."""
        self._registry = registry
        self.agent = agent
        self._patience_s = patience_s
        self._met = known
        self._replaceable = replaceable
        self._failures = 0
        self._rounds = 0  # calls that failed although the agent was there
        self._down_since: float | None = None
        self._told = known

    @property
    def untouched(self) -> bool:
        """Whether the agent cannot have heard of the run."""
        return not self._told

    async def endpoint(self) -> Endpoint:
        """Where the agent is called now. Raises: GatewayError."""
        return await self._registry.endpoint(self.agent)

    @property
    def card(self) -> Card | None:
        """The agent's card as it was last read."""
        return self._registry.card(self.agent)

    async def coding_endpoint(self) -> JsonRpcEndpoint:
        """Where an agent with the coding-run extension is called now. Raises: GatewayError, also
        when its card declares it no more."""
        endpoint = await self.endpoint()
        if not speaks_extension(endpoint):
            what = "its card no longer declares the coding-run extension"
            raise AgentProtocolError(self.agent, endpoint.base_url, what)
        return endpoint

    def worked(self) -> None:
        """Something was heard of the agent."""
        if self._met and self._down_since is None:
            return  # as after each of thousands of events
        self._met = self._told = True
        self._failures = self._rounds = 0
        self._down_since = None
        self._registry.worked(self.agent)

    async def lost(self, error: GatewayError) -> None:
        """Wait before the next try. Raises: `error` or AgentLostError when there is none."""
        now = anyio.current_time()
        self._failures += 1
        self._down_since = now if self._down_since is None else self._down_since
        self._registry.failed(self.agent, error)
        if isinstance(error, AgentUnreachableError) and error.sent:
            self._told = True
        if not self._met and self._failures >= FIRST_TRIES:
            raise error
        if self._replaceable and self.untouched:
            raise error
        if (down := now - self._down_since) > self._patience_s:
            raise AgentLostError(self.agent, f"has not answered for {down:.0f} s") from error
        if not await self._looked():
            if not self._met and self._registry.state(self.agent) is State.OPEN:
                raise error
            return
        self._rounds += 1
        delay_s = min(DELAY_MIN_S * (2 ** (self._rounds - 1) - 1), DELAY_MAX_S)
        asked_s = error.retry_after_s if isinstance(error, AgentUnreachableError) else None
        if asked_s is not None and down + asked_s > self._patience_s:
            raise error  # it says itself that it will not be there in time
        await anyio.sleep(max(delay_s, asked_s or 0.0))

    async def _looked(self) -> bool:
        """Whether the agent is there, by the look that all its runs share. A new run does not
        wait out the back-off of an agent that has been away for long."""
        if self._met:
            return await self._registry.looked(self.agent)
        hurry = self._registry.state(self.agent) is State.OPEN
        with anyio.move_on_after(OPEN_S if hurry else None):
            return await self._registry.looked(self.agent, hurry=hurry)
        return False
