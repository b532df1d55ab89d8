"""The agent card: what an agent of ours says of itself, with the coding-run extension in it.

Pure. Only what is true of every agent of ours is decided here; names and skills are arguments.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct

from gateway.core import extension, json
from gateway.core.extension import CodingRequest
from gateway.core.face import v03
from gateway.core.json import JsonObject
from gateway.core.messages import Message, whole_numbers

PROTOCOL_VERSION: Final = "1.0"
JSONRPC_PATH: Final = "/a2a/jsonrpc"
REST_PATH: Final = "/a2a/rest"
MODES: Final = ("text/plain", "application/json")
_BEARER: Final = "bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """Something the agent can do, for people and models that choose between agents."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


def build_card(
    *,
    name: str,
    description: str,
    base_url: str,
    version: str,
    skills: Sequence[Skill],
    token_required: bool = True,
    require: Sequence[str] = (),
) -> AgentCard:
    """The card of an agent whose face is at `base_url` (its prefix included, no slash behind).

    `require`: URIs of extensions that every caller must activate, ours or any other.
    """
    card = AgentCard(
        name=name,
        description=description,
        version=version,
        supported_interfaces=[
            AgentInterface(url=base_url + path, protocol_binding=binding, protocol_version=spoken)
            for spoken in (PROTOCOL_VERSION, v03.VERSION)  # in the order of preference
            for path, binding in ((JSONRPC_PATH, "JSONRPC"), (REST_PATH, "HTTP+JSON"))
        ],
        capabilities=AgentCapabilities(
            streaming=True,
            push_notifications=True,
            extended_agent_card=True,
            extensions=_extensions(require),
        ),
        default_input_modes=list(MODES),
        default_output_modes=list(MODES),
        skills=[_skill(skill) for skill in skills],
    )
    if token_required:
        card.security_schemes[_BEARER].CopyFrom(
            SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="Bearer"))
        )
        card.security_requirements.append(SecurityRequirement(schemes={_BEARER: StringList()}))
    return card


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressee:
    """Whose a new run is; `backend` is the agent's name where it is None."""

    agent: str
    backend: str | None = None


@dataclass(slots=True, kw_only=True)
class Face:
    """An agent as this server publishes it, under `prefix`; `backend` is that of its runs.

    `choose` makes it the face of all agents: it says whose a first message is, by the name or skill
    that the message gives, if any, and raises errors.InvalidInputError where that is unclear. Then
    `agent` is the server's own name. `check` refuses a first message's request before a run is made of it: it raises
    errors.InvalidInputError. `direct` picks the first messages that are answered by a message alone,
    for callers without our extension. A new `card` is served from the next request on.
    """

    agent: str
    card: AgentCard
    prefix: str = ""
    backend: str | None = None
    choose: Callable[[str | None], Addressee] | None = None
    check: Callable[[CodingRequest], None] | None = None
    direct: Callable[[Message], bool] | None = None
    _read: "_Read | None" = field(default=None, init=False, repr=False)

    @property
    def required(self) -> frozenset[str]:
        """The extensions that the card requires."""
        return self._current().required

    @property
    def page(self) -> "CardPage":
        """The card as it is served."""
        return self._current().page

    @property
    def old_page(self) -> "CardPage":
        """The card in the form of A2A 0.3."""
        return self._current().old_page

    def _current(self) -> "_Read":
        """What is said of the card: protobuf is read once a card, not once a call (60 us)."""
        if self._read is None or self._read.card is not self.card:
            declared = self.card.capabilities.extensions
            required = frozenset(item.uri for item in declared if item.required)
            page = card_page(self.card)
            old_page = _page(v03.Old(proto=False).card(json.decode_object(page.body)))
            self._read = _Read(self.card, required, page, old_page)
        return self._read


@dataclass(frozen=True, slots=True)
class _Read:
    card: AgentCard
    required: frozenset[str]
    page: "CardPage"
    old_page: "CardPage"


@dataclass(frozen=True, slots=True)
class CardPage:
    """A card as it is served: its bytes and the tag of exactly these bytes."""

    body: bytes
    etag: str


def card_page(card: AgentCard) -> CardPage:
    """The JSON of a card; whole numbers in the extension's schema stay whole."""
    return _page(whole_numbers(MessageToDict(card)))


def _page(card: JsonObject) -> CardPage:
    # Sorted: a Struct's keys come in another order in every process, and with them the tag.
    body = json.encode_sorted(card).encode()
    return CardPage(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _skill(skill: Skill) -> AgentSkill:
    return AgentSkill(
        id=skill.id,
        name=skill.name,
        description=skill.description,
        tags=list(skill.tags),
        examples=list(skill.examples),
    )


def _extensions(require: Sequence[str]) -> list[AgentExtension]:
    ours = AgentExtension(
        uri=extension.URI,
        description="Durable runs of coding agents: settings, numbered events, replay, questions.",
        required=extension.URI in require,
        params=ParseDict(extension.json_schema(), Struct()),
    )
    others = [uri for uri in require if uri != extension.URI]
    return [ours, *(AgentExtension(uri=uri, required=True) for uri in others)]
