"""The registry: which agent a name or URL means, and the endpoint to call it at.

Knows local agents (wrappers that the launcher starts), agents by URL, and pools of both. A caller
who gives a URL alone gets a registered name for it: runs refer to names, never to URLs.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import anyio

from gateway.agents.calls import Calls
from gateway.agents.card import Card
from gateway.agents.directory import REMOTE, Directory
from gateway.agents.entry import Entry
from gateway.agents.health import State
from gateway.agents.logins import Variable
from gateway.agents.ourselves import refuse_ourselves
from gateway.agents.pools import Member, least_loaded
from gateway.agents.registration import KEYS, Described, Enrolled, Registration, read_registration
from gateway.agents.watch import Watch, now_us
from gateway.core.errors import InvalidInputError
from gateway.core.extension import CodingRequest
from gateway.core.json import JsonObject
from gateway.core.secrets import Mask
from gateway.errors import AgentDisabledError, EmptyPoolError, GatewayError, UnknownAgentError
from gateway.home import Home
from gateway.link.client import Clients
from gateway.link.endpoint import Endpoint
from gateway.local.launcher import Launcher

_REQUEST_KEYS: Final = frozenset(CodingRequest.model_fields) - {"agent"}  # here it is a name


class Registry:
    """The agents of one gateway, and how each of them is called."""

    def __init__(
        self,
        home: Home,
        clients: Clients,
        launcher: Launcher,
        *,
        local: tuple[str, ...],
        variable: Variable,
        mask: Mask | None = None,
        fixed: Path | None = None,
        own_url: str | None = None,
    ) -> None:
        """`fixed`: the file of fixed agents; that of the home by default. `own_url`: where this
        gateway itself listens, which is no agent's URL."""
        self._own_url = own_url
        self._choices = count(1)
        self._calls = Calls(home, clients, launcher, variable=variable, mask=mask or Mask())
        self.directory = Directory(home, local=local, watch=self._watch, fixed=fixed)

    def __contains__(self, name: str) -> bool:
        """Whether an agent or a pool has this name."""
        return name in self.directory

    def names(self) -> list[str]:
        """Of the agents; pools have none of their own."""
        return self.directory.names()

    def card(self, name: str) -> Card | None:
        """The agent's card as it was last read (of a pool: one of them); None before its first
        use."""
        cards = (entry.known.card for entry in self._all(name) if entry.known is not None)
        return next(cards, None)

    def registration(self, name: str) -> Registration | None:
        return self.directory.entry(name).registration

    # -- who is meant ----------------------------------------------------------------------------

    async def resolve(self, backend: str, config: JsonObject, cwd: str) -> str:
        """The agent's or pool's name that a spawn means. An agent by URL is registered; nothing is
        called.

        Raises: InvalidInputError, UnknownAgentError, AgentDisabledError, EmptyPoolError.
        """
        config = {key: value for key, value in config.items() if key not in _REQUEST_KEYS}
        if backend == REMOTE:
            name = self._resolve_remote(config)
        elif config:
            keys = ", ".join(sorted(config))
            raise InvalidInputError(
                f"backend_config: {keys} means nothing to backend {backend!r}", min(config)
            )
        else:
            local = [entry.name for entry in self.directory.entries if entry.kind == "local"]
            if backend not in local:
                raise InvalidInputError(
                    f"unknown backend {backend!r}; one of {', '.join([*local, REMOTE])}", "backend"
                )
            name = backend
        self.check(name)
        return name

    def _resolve_remote(self, config: JsonObject) -> str:
        if unknown := sorted(set(config) - KEYS - {"agent"}):
            raise InvalidInputError(
                f"backend_config: unknown key {unknown[0]!r}; known: "
                f"{', '.join(sorted(KEYS | {'agent'} | _REQUEST_KEYS))}",
                unknown[0],
            )
        if "agent" not in config:
            if "agent_url" not in config:
                text = "backend_config.agent_url (or agent, a registered name) is required"
                raise InvalidInputError(text, "agent_url")
            registration = read_registration(config)
            refuse_ourselves(registration.agent_url, self._own_url)
            self.learn(registration)
            return self.directory.register(registration)
        if len(config) > 1:
            text = "backend_config: give agent (a registered name) or agent_url, not both"
            raise InvalidInputError(text, "agent")
        name = config["agent"]
        if not isinstance(name, str) or name not in self.directory:
            raise UnknownAgentError(str(name)[:64], self.directory.usable())
        return name

    def check(self, name: str) -> None:
        """Refuse a new run for an agent or pool that takes none.

        Raises: UnknownAgentError, AgentDisabledError, EmptyPoolError.
        """
        if self.directory.pool(name):
            if not self.members(name):
                raise EmptyPoolError(name, self.directory.usable())
        elif not self.directory.entry(name).standing.enabled:
            raise AgentDisabledError(name, self.directory.usable())
        elif (registration := self.registration(name)) is not None:
            refuse_ourselves(registration.agent_url, self._own_url)

    async def add(
        self, name: str | None, registration: Registration, *, force: bool = False
    ) -> Entry:
        """An agent that its owner names. It is called first, and stored when its card can be used,
        or with `force`.

        Raises: NameTakenError, InvalidInputError, GatewayError (nothing is stored).
        """
        refuse_ourselves(registration.agent_url, self._own_url)
        name = self.directory.free(name, registration)
        self.learn(registration)
        entry = Entry(name=name, standing=registration, watch=self._watch(name))
        try:
            await self._calls.look(entry)
        except GatewayError:
            if not force:
                await entry.watch.close()
                raise
        self.directory.add(entry)
        return entry

    def enrol(self, name: str, enrolled: Enrolled) -> None:
        """An agent that registers itself, or says that it stopped. Raises: NameTakenError."""
        self.directory.enrol(name, enrolled)
        self.learn(enrolled)

    # -- pools -----------------------------------------------------------------------------------

    def members(self, name: str) -> tuple[str, ...]:
        """The agents that take the runs of a name: an agent itself, or the enabled ones of a pool
        that have not stopped."""
        return tuple(entry.name for entry in self._all(name) if entry.said is None)

    def is_pool(self, name: str) -> bool:
        return bool(self.directory.pool(name))

    def choose(self, pool: str, *, without: Iterable[str] = ()) -> str:
        """The member that a new run goes to. Raises: EmptyPoolError, when none is left."""
        left = [
            Member(
                name=entry.name,
                state=entry.watch.health.standing(at=now_us()),
                runs=entry.runs,
                chosen=entry.chosen,
            )
            for entry in self.directory.pool(pool)
            if entry.said is None and entry.name not in without
        ]
        if (name := least_loaded(left)) is None:
            raise EmptyPoolError(pool, self.directory.usable())
        self.directory.entry(name).chosen = next(self._choices)
        return name

    @contextmanager
    def occupied(self, name: str) -> Generator[None, None, None]:
        """A run is at the agent for as long as the block runs."""
        entry = self.directory.find(name)
        if entry is None:
            yield
            return
        entry.runs += 1
        try:
            yield
        finally:
            entry.runs -= 1

    def _all(self, name: str) -> list[Entry]:
        entry = self.directory.find(name)
        return self.directory.pool(name) if entry is None else [entry]

    # -- how it is called ------------------------------------------------------------------------

    async def endpoint(self, name: str) -> Endpoint:
        """Where and how to call an agent now; a local one is started when it does not run.

        Raises: UnknownAgentError, LaunchError, AgentUnreachableError (at once while it is known to
        be down), AgentUnauthorizedError, AgentProtocolError, AgentCardError, InvalidInputError
        (credentials that are gone).
        """
        return await self._calls.endpoint(self.directory.entry(name))

    async def look(self, name: str) -> None:
        """Fetch the agent's card anew. Raises: as `endpoint`."""
        await self._calls.look(self.directory.entry(name))

    def learn(self, registration: Described) -> None:
        """From now on its credentials are masked wherever they would be stored.

        Raises: InvalidInputError when they cannot be read.
        """
        self._calls.learn(registration)

    # -- how it does -----------------------------------------------------------------------------

    def state(self, name: str) -> State:
        return self.directory.entry(name).state

    def worked(self, name: str) -> None:
        """A run heard of the agent."""
        if (entry := self.directory.find(name)) is not None:
            entry.watch.worked()

    def failed(self, name: str, error: GatewayError) -> None:
        """A run's call failed: the agent is looked at, once for all runs that notice."""
        if (entry := self.directory.find(name)) is not None:
            entry.watch.failed(error)

    async def looked(self, name: str, *, hurry: bool = False) -> bool:
        """Whether the agent is there, by the next look at it. Raises: UnknownAgentError."""
        return await self.directory.entry(name).watch.looked(hurry=hurry)

    def _watch(self, name: str) -> Watch:
        return Watch(partial(self.look, name), patient=partial(self._patient, name))

    def _patient(self, name: str) -> bool:
        """Whether an agent that fails is looked at although no run waits for it: not one that
        would be started by it, nor one that is known to be gone."""
        entry = self.directory.find(name)
        return entry is not None and entry.kind != "local" and entry.said is None

    async def close(self) -> None:
        """End the looks at agents that fail."""
        with anyio.CancelScope(shield=True):
            for entry in self.directory.entries:
                await entry.watch.close()
