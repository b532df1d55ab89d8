"""An agent's card fetched from where it may lie, and the endpoint that it leads to.

Knows cards and links; nothing of who is registered.
"""

from dataclasses import dataclass

import httpx

from gateway.agents.card import CARD_PATH, OLD_CARD_PATH, Card, read_card
from gateway.core.extension import URI
from gateway.dialects import spoken
from gateway.errors import AgentCardError, AgentProtocolError
from gateway.link.client import Document, Link
from gateway.link.endpoint import JSONRPC, V03, Endpoint
from gateway.link.jsonrpc import JsonRpcEndpoint
from gateway.link.old import OldEndpoint
from gateway.link.rest import RestEndpoint
from gateway.link.v03 import METHODS


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A card, the ETag it came with, and the Cache-Control that says how long it stays."""

    card: Card
    etag: str | None
    cache_control: str = ""


async def find_card(
    link: Link, base_url: str, path: str, *, etag: str | None = None
) -> Found | None:
    """The card of the agent at `base_url`; None when it still is the one with this `etag`.

    Raises: AgentUnreachableError, AgentUnauthorizedError, AgentProtocolError, AgentCardError.
    """
    places = [path, OLD_CARD_PATH] if path == CARD_PATH else [path]
    missing: AgentProtocolError | None = None
    for place in places:
        try:
            document = await link.fetch(base_url + place, etag=etag)
        except AgentProtocolError as exc:
            if missing is None and exc.status != 404:
                raise
            missing = missing or exc
        else:
            return _found(link, base_url, document)
    if path == CARD_PATH and (found := await _at_the_root(link, base_url)) is not None:
        return found
    what = "there is none (HTTP 404); give its path as agent_card_path if it lies elsewhere"
    raise AgentCardError(link.agent, base_url + path, what) from missing


def _found(link: Link, base_url: str, document: Document | None) -> Found | None:
    if document is None:
        return None
    card = read_card(link.agent, base_url, document.body)
    return Found(card=card, etag=document.etag, cache_control=document.cache_control)


async def _at_the_root(link: Link, base_url: str) -> Found | None:
    """The card at the root of the host, when it leads to this very URL: who was given the URL that
    is called, and not the agent's, means that agent."""
    root = str(httpx.URL(base_url).copy_with(raw_path=b"/")).rstrip("/")
    if root == base_url:
        return None
    try:
        found = _found(link, root, await link.fetch(root + CARD_PATH))
    except (AgentProtocolError, AgentCardError):
        return None
    if found is None or found.card.interface.url.rstrip("/") != base_url:
        return None
    return found


def endpoint_for(link: Link, base_url: str, card: Card) -> Endpoint:
    """How the agent is called, by the interface that was chosen of its card."""
    one = card.interface
    wanted = (*((URI,) if card.extension else ()), *spoken.requested(card.extensions))
    if one.binding == JSONRPC:
        endpoint = JsonRpcEndpoint(
            link=link,
            base_url=base_url,
            rpc_url=one.url,
            extension=card.extension,
            extensions=wanted,
            streaming=card.streaming,
            version=one.version,
            tenant=one.tenant,
            names=METHODS if one.version == V03 else {},
        )
    else:
        # 0.3 has its version in the path (section 3.2.3), and no tenants.
        behind = "/v1" if one.version == V03 else f"/{one.tenant}" if one.tenant else ""
        endpoint = RestEndpoint(
            link=link,
            base_url=base_url,
            root_url=one.url.rstrip("/") + behind,
            extensions=wanted,
            streaming=card.streaming,
            version=one.version,
        )
    return OldEndpoint(spoken=endpoint) if one.version == V03 else endpoint
