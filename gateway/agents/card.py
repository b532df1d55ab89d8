"""An agent's card, of A2A 1.x or 0.3 -> where and how it is called. Pure.

What a card names is the agent's word, not ours: an interface of another origin than the registered
one is never used, because the credentials would go there.
"""

from dataclasses import dataclass
from typing import Final

import httpx

from gateway.core import json
from gateway.core.extension import URI
from gateway.core.json import JsonObject, as_object, objects
from gateway.errors import AgentCardError
from gateway.link.client import origin_of, origin_text
from gateway.link.endpoint import JSONRPC, REST, V03, V1, Interface

CARD_PATH: Final = "/.well-known/agent-card.json"
OLD_CARD_PATH: Final = "/.well-known/agent.json"  # where agents before 0.3 have it
# The first that an agent offers. Ours is the fastest, and alone knows the coding-run extension.
PREFERENCE: Final = ((JSONRPC, V1), (REST, V1), (JSONRPC, V03), (REST, V03))


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the gateway needs of a card; `skills` are kept as the agent wrote them, `extensions`
    are the URIs it declares."""

    name: str
    description: str
    version: str
    interface: Interface
    streaming: bool
    extensions: tuple[str, ...] = ()
    skills: tuple[JsonObject, ...] = ()

    @property
    def extension(self) -> bool:
        """Whether it declares the coding-run extension, on an interface that can carry it."""
        spoken = (self.interface.binding, self.interface.version) == (JSONRPC, V1)
        return spoken and URI in self.extensions


def split_card_url(url: str) -> tuple[str, str | None]:
    """The agent's URL and the card's path behind it, of a URL that names the card itself; any other
    URL as it is, with None."""
    for path in (CARD_PATH, OLD_CARD_PATH):
        if url.endswith(path):
            return url.removesuffix(path), path
    head, slash, last = url.rpartition("/")
    if last.endswith(".json") and "://" in head:
        return head, slash + last
    return url, None


def read_card(agent: str, base_url: str, text: bytes) -> Card:
    """The card of the agent registered at `base_url`. Raises: AgentCardError."""
    try:
        card = json.decode_object(text)
    except ValueError as exc:
        raise AgentCardError(agent, base_url, "it is not a JSON object") from exc
    capabilities = as_object(card.get("capabilities"))
    declared = objects(capabilities.get("extensions"))
    return Card(
        name=_text(card, "name") or agent,
        description=_text(card, "description"),
        version=_text(card, "version"),
        interface=_interface(agent, base_url, card),
        streaming=capabilities.get("streaming") is True,
        extensions=tuple(uri for item in declared if (uri := _text(item, "uri"))),
        skills=tuple(skill for skill in objects(card.get("skills")) if skill),
    )


def _interface(agent: str, base_url: str, card: JsonObject) -> Interface:
    """The preferred one of those on the registered origin. Raises: AgentCardError."""
    offered = _offered(card)
    if not offered:
        raise AgentCardError(agent, base_url, "it lists no supportedInterfaces and no url")
    spoken = [one for way in PREFERENCE for one in offered if (one.binding, one.version) == way]
    if not spoken:
        named = ", ".join(sorted({f"{one.binding} {one.version}" for one in offered}))
        what = f"it offers {named[:200]}; spoken here are JSONRPC and HTTP+JSON of A2A 1.x and 0.3"
        raise AgentCardError(agent, base_url, what)
    for one in spoken:
        if (rebased := _on_origin(one.url, base_url)) is not None:
            return Interface(
                binding=one.binding, version=one.version, url=rebased, tenant=one.tenant
            )
    raise AgentCardError(
        agent,
        base_url,
        f"it sends callers to another origin ({origin_text(spoken[0].url)}); "
        "register the agent by that URL if you trust it",
    )


def _offered(card: JsonObject) -> list[Interface]:
    """All that a card offers, in its own order; what 1.x lists comes before what 0.3 lists."""
    listed = [
        Interface(
            binding=_text(item, "protocolBinding") or "?",
            version=_version(_text(item, "protocolVersion") or V1),
            url=url,
            tenant=_text(item, "tenant"),
        )
        for item in objects(card.get("supportedInterfaces"))
        if (url := _text(item, "url"))
    ]
    version = _version(_text(card, "protocolVersion") or V03)
    first = {"url": card.get("url"), "transport": card.get("preferredTransport")}
    # 0.3, section 5.6.1: without preferredTransport the url speaks JSON-RPC.
    listed += [
        Interface(binding=_text(item, "transport") or JSONRPC, version=version, url=url)
        for item in [first, *objects(card.get("additionalInterfaces"))]
        if (url := _text(item, "url"))
    ]
    return listed


def _version(text: str) -> str:
    """A protocol version by what tells it apart: 1.x is one, 0.3.x (and what came before) another."""
    if text.startswith("1.") or text == "1":
        return V1
    return V03 if text.startswith(("0.3", "0.2")) else text[:20]


def _on_origin(url: str, base_url: str) -> str | None:
    """`url` under the very host and port of `base_url`, or None when it is of another origin."""
    try:
        joined = httpx.URL(base_url + "/").join(url)
        if origin_of(str(joined)) != origin_of(base_url):
            return None
        return str(httpx.URL(base_url).copy_with(raw_path=joined.raw_path))
    except httpx.InvalidURL:
        return None


def _text(card: JsonObject, key: str) -> str:
    value = card.get(key)
    return value if isinstance(value, str) else ""
