"""An agent's card -> where and how it is called. Pure.

What a card names is the agent's word, not ours: an interface of another origin than the registered
one is never used, because the credentials would go there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import httpx

from gateway.core import json
from gateway.core.extension import URI
from gateway.core.json import JsonObject, as_object
from gateway.errors import AgentCardError
from gateway.link.client import origin_of

CARD_PATH: Final = "/.well-known/agent-card.json"
_BINDING: Final = "JSONRPC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the gateway needs of a card; `skills` are kept as the agent wrote them."""

    name: str
    description: str
    version: str
    rpc_url: str
    extension: bool
    streaming: bool
    skills: tuple[JsonObject, ...] = ()


def read_card(agent: str, base_url: str, text: bytes) -> Card:
    """The card of the agent registered at `base_url`. Raises: AgentCardError."""
    try:
        card = json.decode_object(text)
    except ValueError as exc:
        raise AgentCardError(agent, base_url, "it is not a JSON object") from exc
    capabilities = as_object(card.get("capabilities"))
    return Card(
        name=_text(card, "name") or agent,
        description=_text(card, "description"),
        version=_text(card, "version"),
        rpc_url=_interface(agent, base_url, card),
        extension=any(item.get("uri") == URI for item in _objects(capabilities.get("extensions"))),
        streaming=capabilities.get("streaming") is True,
        skills=tuple(_objects(card.get("skills"))),
    )


def _interface(agent: str, base_url: str, card: JsonObject) -> str:
    """The URL of the 1.0 JSON-RPC interface, on the registered origin."""
    interfaces = _objects(card.get("supportedInterfaces"))
    if not interfaces:
        old = " (it is a card of A2A 0.x)" if isinstance(card.get("url"), str) else ""
        raise AgentCardError(agent, base_url, f"it lists no supportedInterfaces{old}")
    speaking = [
        urls
        for item in interfaces
        if item.get("protocolBinding") == _BINDING
        and str(item.get("protocolVersion") or "1.0").startswith("1.")
        and isinstance(urls := item.get("url"), str)
    ]
    if not speaking:
        raise AgentCardError(agent, base_url, "it offers no JSONRPC interface of A2A 1.x")
    for url in speaking:
        if (rebased := _on_origin(url, base_url)) is not None:
            return rebased
    raise AgentCardError(
        agent,
        base_url,
        f"it sends callers to another origin ({_origin_text(speaking[0])}); "
        "register the agent by that URL if you trust it",
    )


def _on_origin(url: str, base_url: str) -> str | None:
    """`url` under the very host and port of `base_url`, or None when it is of another origin."""
    try:
        joined = httpx.URL(base_url + "/").join(url)
        if origin_of(str(joined)) != origin_of(base_url):
            return None
        return str(httpx.URL(base_url).copy_with(raw_path=joined.raw_path))
    except httpx.InvalidURL:
        return None


def _origin_text(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "an invalid URL"
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii', 'replace').rpartition('@')[2]}"


def _text(card: JsonObject, key: str) -> str:
    value = card.get(key)
    return value if isinstance(value, str) else ""


def _objects(value: object) -> Sequence[JsonObject]:
    if not isinstance(value, list):
        return ()
    return [item for one in cast("list[object]", value) if (item := as_object(one))]
