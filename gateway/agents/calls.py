"""How one agent is called: its address and credentials as they are now, its card, its endpoint.

Knows entries one at a time; not which agent a caller means. Credentials go to the agent's own
origin only.
"""

import time
from collections.abc import Mapping
from typing import Final

from gateway.agents.card import CARD_PATH
from gateway.agents.entry import Entry, Known
from gateway.agents.finding import endpoint_for, find_card
from gateway.agents.logins import (
    Variable,
    bearer,
    is_reference,
    read_headers,
    read_secret,
    wrapper_token,
)
from gateway.agents.registration import Described, Registration
from gateway.core.errors import InvalidInputError
from gateway.core.secrets import Mask, is_secret_name
from gateway.errors import AgentUnreachableError, GatewayError
from gateway.home import Home
from gateway.link.client import Clients, Link
from gateway.link.endpoint import Endpoint
from gateway.local.launcher import Launcher

CARD_TTL_S: Final = 300.0  # of a card whose server does not say
CARD_TTL_MIN_S: Final = 30.0  # `no-cache` would cost every call of a run a second one
CARD_TTL_MAX_S: Final = 3600.0


class Calls:
    """What every call of this gateway to an agent begins with."""

    def __init__(
        self,
        home: Home,
        clients: Clients,
        launcher: Launcher,
        *,
        variable: Variable,
        mask: Mask,
    ) -> None:
        self._home = home
        self._clients = clients
        self._launcher = launcher
        self._variable = variable
        self._mask = mask

    async def endpoint(self, entry: Entry) -> Endpoint:
        """Where and how to call an agent now; a local one is started when it does not run.

        Raises: UnknownAgentError, LaunchError, AgentUnreachableError (at once while it is known to
        be down), AgentUnauthorizedError, AgentProtocolError, AgentCardError, InvalidInputError
        (credentials that are gone).
        """
        entry.watch.check()
        link, base_url = await self._link(entry)
        known = entry.known
        if not _holds(known, base_url):
            async with entry.lock:
                entry.watch.check()  # who had the lock before us may have found nobody
                if not _holds(entry.known, base_url):
                    await self._read_card(entry, link, base_url)
                known = entry.known
        assert known is not None, "it was read"
        return endpoint_for(link, base_url, known.card)

    async def look(self, entry: Entry) -> None:
        """Fetch the agent's card anew. Raises: as `endpoint`."""
        if entry.registration is None:
            self._launcher.doubt(entry.name)
        link, base_url = await self._link(entry)
        async with entry.lock:
            await self._read_card(entry, link, base_url)

    async def _read_card(self, entry: Entry, link: Link, base_url: str) -> None:
        path = entry.registration.agent_card_path if entry.registration else CARD_PATH
        old = entry.known if entry.known and entry.known.base_url == base_url else None
        started = time.monotonic()
        try:
            found = await find_card(link, base_url, path, etag=old and old.etag)
        except GatewayError as exc:
            if isinstance(exc, AgentUnreachableError):
                exc.sent = False  # what was sent asked for the card: of the run it heard nothing
            entry.watch.failed(exc)
            raise
        now = time.monotonic()
        if found is not None:
            lasts_s = ttl_s(found.cache_control)
            old = Known(
                card=found.card,
                base_url=base_url,
                etag=found.etag,
                ttl_s=lasts_s,
                until=now + lasts_s,
            )
        assert old is not None, "an agent answers 304 to an ETag alone"
        entry.known = old.until_later(now)
        entry.watch.worked(latency_ms=round((now - started) * 1000, 1))

    async def _link(self, entry: Entry) -> tuple[Link, str]:
        """How the agent is reached now, with the credentials as they are now."""
        registration = entry.registration
        if registration is None:
            running = await self._launcher.ensure(entry.name)
            base_url, headers = running.base_url, bearer(running.token)
        else:
            base_url = registration.agent_url
            if entry.stopped:
                why = "it said that it stops, and registers again when it starts"
                raise AgentUnreachableError(entry.name, base_url, why)
            try:
                headers = self._headers(registration)
            except InvalidInputError as exc:
                entry.watch.faulty(str(exc))
                raise
        self._learn(headers)
        client = self._clients.at(base_url)
        return Link(agent=entry.name, client=client, headers=headers), base_url

    def _headers(self, registration: Registration) -> dict[str, str]:
        given = self._given(registration)
        if registration.auth_token is not None:
            token = read_secret(registration.auth_token, self._variable, "auth_token")
            self._mask.add(token)
        elif "authorization" in {header.lower() for header in given}:
            token = None
        else:
            token = wrapper_token(self._home, registration.agent_url)
        return {**given, **bearer(token)}

    def learn(self, registration: Described) -> None:
        """From now on its credentials are masked wherever they would be stored.

        Raises: InvalidInputError when they cannot be read.
        """
        if registration.auth_token is not None:
            self._mask.add(read_secret(registration.auth_token, self._variable, "auth_token"))
        self._learn(self._given(registration))

    def _given(self, registration: Described) -> dict[str, str]:
        """Its headers; what stood behind a reference is a secret, whatever its header's name."""
        given = read_headers(registration.headers, self._variable)
        for name, text in registration.headers.items():
            if is_reference(text):
                self._mask.add(given[name])
        return given

    def _learn(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            if is_secret_name(name):
                self._mask.add(value.removeprefix("Bearer "))


def _holds(known: Known | None, base_url: str) -> bool:
    return known is not None and known.base_url == base_url and known.until > time.monotonic()


def ttl_s(cache_control: str) -> float:
    """How long a card is used before it is asked for again (RFC 9111, 5.2.2), within bounds."""
    for directive in cache_control.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name in ("no-cache", "no-store"):
            return CARD_TTL_MIN_S
        if name == "max-age" and value.strip('"').isdecimal():
            return min(max(float(value.strip('"')[:9]), CARD_TTL_MIN_S), CARD_TTL_MAX_S)
    return CARD_TTL_S
