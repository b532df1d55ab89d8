"""The registry: names -> agents, and for each the endpoint to call it at.

Knows local agents (wrappers that the launcher starts) and agents by URL. A caller who gives a URL
alone gets a registered name for it: runs refer to names, never to URLs. Credentials stay here, in
a 0600 file, and go to the agent's own origin only.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from gateway.agents.card import CARD_PATH, Card, read_card
from gateway.agents.logins import bearer, read_headers, read_secret, wrapper_token
from gateway.agents.registration import (
    KEYS,
    Enrolled,
    Registration,
    name_for,
    read_registration,
    stored_registration,
)
from gateway.core.errors import InvalidInputError
from gateway.core.extension import CodingRequest
from gateway.core.json import JsonObject
from gateway.core.secrets import Mask, is_secret_name
from gateway.errors import AgentUnreachableError, NameTakenError, UnknownAgentError
from gateway.home import Home, read_private, write_private
from gateway.link.client import Clients, Link
from gateway.link.endpoint import Endpoint
from gateway.link.jsonrpc import JsonRpcEndpoint
from gateway.local.launcher import Launcher

REMOTE: Final = "remote_a2a"  # the backend of agents by URL
CARD_TTL_S: Final = 300.0  # a card is fetched again after this long, or when its link failed
_REQUEST_KEYS: Final = frozenset(CodingRequest.model_fields)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A card that was read, and under which address it is true."""

    card: Card
    base_url: str
    until: float


@dataclass(slots=True)
class _Entry:
    """An agent. `registration` is None for one that the launcher starts."""

    registration: Registration | None = None
    known: _Known | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Registry:
    """The agents of one gateway."""

    def __init__(
        self,
        home: Home,
        clients: Clients,
        launcher: Launcher,
        *,
        local: tuple[str, ...],
        variable: Callable[[str], str | None],
        mask: Mask | None = None,
    ) -> None:
        self._home = home
        self._clients = clients
        self._launcher = launcher
        self._variable = variable
        self._mask = mask or Mask()
        self._entries: dict[str, _Entry] = {name: _Entry() for name in local}
        for name, stored in (read_private(home.registry) or {}).items():
            try:
                entry = _Entry(stored_registration(stored))
            except ValidationError:
                logger.warning("registry.json: %r is not readable and was left out", name)
                continue
            self._entries.setdefault(name, entry)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        return sorted(self._entries)

    def card(self, name: str) -> Card | None:
        """The agent's card as it was last read; None before its first use."""
        known = self._entry(name).known
        return known.card if known is not None else None

    def registration(self, name: str) -> Registration | None:
        return self._entry(name).registration

    # -- who is meant ----------------------------------------------------------------------------

    async def resolve(self, backend: str, config: JsonObject, cwd: str) -> str:
        """The agent's name that a spawn means. An agent by URL is registered; nothing is called.

        Raises: InvalidInputError, UnknownAgentError.
        """
        config = {key: value for key, value in config.items() if key not in _REQUEST_KEYS}
        if backend == REMOTE:
            return self._resolve_remote(config)
        if config:
            keys = ", ".join(sorted(config))
            raise InvalidInputError(
                f"backend_config: {keys} means nothing to backend {backend!r}", min(config)
            )
        if backend not in self._entries or self._entries[backend].registration is not None:
            local = [name for name, entry in self._entries.items() if entry.registration is None]
            raise InvalidInputError(
                f"unknown backend {backend!r}; one of {', '.join([*sorted(local), REMOTE])}",
                "backend",
            )
        return backend

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
            return self.register(read_registration(config))
        if len(config) > 1:
            text = "backend_config: give agent (a registered name) or agent_url, not both"
            raise InvalidInputError(text, "agent")
        name = config["agent"]
        if not isinstance(name, str) or name not in self._entries:
            raise UnknownAgentError(str(name), self.names())
        return name

    def register(self, registration: Registration) -> str:
        """The name of an agent by URL; the credentials it was last given with are kept.

        Raises: InvalidInputError when they cannot be read.
        """
        if registration.auth_token is not None:
            self._mask.add(read_secret(registration.auth_token, self._variable, "auth_token"))
        self._learn(registration.headers)
        taken: set[str] = set()
        for name, entry in self._entries.items():
            if entry.registration is None or not entry.registration.same_agent(registration):
                taken.add(name)
                continue
            if isinstance(entry.registration, Enrolled):
                if not entry.registration.stopped and not registration.has_credentials:
                    return name
                taken.add(name)
                continue
            registration = registration.with_credentials_of(entry.registration)
            if entry.registration == registration:
                return name
        name = name_for(registration, taken)
        entry = self._entries.setdefault(name, _Entry())
        entry.registration, entry.known = registration, None
        self._store()
        return name

    def enrol(self, name: str, enrolled: Enrolled) -> None:
        """An agent that registers itself, or says that it stopped.

        Raises: NameTakenError, unless the name is free or its own.
        """
        entry = self._entries.get(name)
        if entry is not None:
            known = entry.registration
            own = isinstance(known, Enrolled) and hmac.compare_digest(
                known.key_digest, enrolled.key_digest
            )
            if not own:
                raise NameTakenError(name)
        if enrolled.auth_token is not None:
            self._mask.add(enrolled.auth_token)
        for other in self._entries.values():  # whoever was at this URL is there no more
            if isinstance(known := other.registration, Enrolled) and known.same_agent(enrolled):
                other.registration = known.model_copy(update={"stopped": True})
        entry = self._entries.setdefault(name, _Entry())
        entry.registration, entry.known = enrolled, None
        self._store()

    def _store(self) -> None:
        stored = {
            name: entry.registration.model_dump(mode="json", exclude_defaults=True)
            for name, entry in self._entries.items()
            if entry.registration is not None
        }
        write_private(self._home.registry, stored)

    # -- how it is called ------------------------------------------------------------------------

    async def endpoint(self, name: str) -> Endpoint:
        """Where and how to call an agent now; a local one is started when it does not run.

        Raises: UnknownAgentError, LaunchError, AgentUnreachableError, AgentUnauthorizedError,
        AgentProtocolError, AgentCardError, InvalidInputError (credentials that are gone).
        """
        entry = self._entry(name)
        base_url, headers = await self._address(name, entry.registration)
        self._learn(headers)
        link = Link(agent=name, client=self._clients.at(base_url), headers=headers)
        async with entry.lock:
            known = entry.known
            if known is None or known.base_url != base_url or known.until < time.monotonic():
                path = entry.registration.agent_card_path if entry.registration else CARD_PATH
                card = read_card(name, base_url, await link.get(base_url + path))
                until = time.monotonic() + CARD_TTL_S
                known = entry.known = _Known(card=card, base_url=base_url, until=until)
        card = known.card
        return JsonRpcEndpoint(
            link=link,
            base_url=base_url,
            rpc_url=card.rpc_url,
            extension=card.extension,
            streaming=card.streaming,
        )

    def _learn(self, headers: Mapping[str, str]) -> None:
        """From now on the credentials in these headers are masked wherever they would be stored."""
        for name, value in headers.items():
            if is_secret_name(name):
                self._mask.add(value.removeprefix("Bearer "))

    def forget(self, name: str) -> None:
        """Read the agent's card anew at its next use: its link failed, it may have changed."""
        entry = self._entry(name)
        entry.known = None
        if entry.registration is None:
            self._launcher.doubt(name)

    async def _address(
        self, name: str, registration: Registration | None
    ) -> tuple[str, dict[str, str]]:
        if registration is None:
            running = await self._launcher.ensure(name)
            return running.base_url, bearer(running.token)
        if isinstance(registration, Enrolled) and registration.stopped:
            why = "it said that it stops, and registers again when it starts"
            raise AgentUnreachableError(name, registration.agent_url, why)
        if registration.auth_token is not None:
            token = read_secret(registration.auth_token, self._variable, "auth_token")
        elif "authorization" in {header.lower() for header in registration.headers}:
            token = None
        else:
            token = wrapper_token(self._home, registration.agent_url)
        return registration.agent_url, {
            **read_headers(registration.headers, self._variable),
            **bearer(token),
        }

    def _entry(self, name: str) -> _Entry:
        if (entry := self._entries.get(name)) is None:
            raise UnknownAgentError(name, self.names())
        return entry
