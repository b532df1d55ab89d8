"""What is said of an agent: its URL, how to log in there, its pool and labels, and its name.

Pure. Knows no card and no connection.
"""

import hashlib
import re
from collections.abc import Collection
from typing import Annotated, Final, Literal, TypeAlias

import httpx
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from gateway.agents.card import CARD_PATH, split_card_url
from gateway.agents.logins import SECRET_MAX, VALUE, is_reference
from gateway.core.addresses import forbidden, literal
from gateway.core.errors import InvalidInputError
from gateway.core.extension import LABELS_MAX, LabelKey, LabelValue, describe
from gateway.core.json import JsonObject, as_object

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"  # it stands in paths
URL_MAX: Final = 2000  # characters
HEADERS_MAX: Final = 32
MODES_MAX: Final = 64
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
# What the transport itself decides, or the protocol.
_RESERVED: Final = frozenset(
    {"host", "connection", "content-length", "content-type", "transfer-encoding", "te", "upgrade"}
    | {"accept", "accept-encoding", "a2a-version", "a2a-extensions", "last-event-id"}
)

Name: TypeAlias = Annotated[str, Field(pattern=NAME)]
Labels: TypeAlias = Annotated[dict[LabelKey, LabelValue], Field(max_length=LABELS_MAX)]
Secret: TypeAlias = Annotated[str, Field(min_length=1, max_length=SECRET_MAX)]
Headers: TypeAlias = Annotated[
    dict[str, Annotated[str, Field(max_length=SECRET_MAX)]], Field(max_length=HEADERS_MAX)
]
Modes: TypeAlias = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=255)], ...],
    # A list is good for a tuple also where nothing else may stand for something else.
    Field(max_length=MODES_MAX, strict=False),
]


class Standing(BaseModel):
    """What the owner of the gateway says of an agent, whoever starts it.

    `pool`: the name under which it stands for its like. A disabled agent gets no new runs; those
    that it has go on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    enabled: bool = True
    labels: Labels = Field(default_factory=dict[str, str])
    pool: Name | None = None


class Described(BaseModel):
    """The keys of `backend_config` that describe an agent by URL.

    `auth_token` and the values of `headers` are `env:NAME`, `file:/path` or the text itself.
    `blocking` is accepted and means nothing here: runs are always followed, never waited for in
    one request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    agent_url: Annotated[str, Field(max_length=URL_MAX)]
    agent_card_path: Annotated[str, Field(max_length=URL_MAX)] = CARD_PATH
    headers: Headers = Field(default_factory=dict[str, str])
    auth_token: Secret | None = None
    history_length: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    blocking: bool | None = None
    accepted_output_modes: Modes = ()

    @model_validator(mode="before")
    @classmethod
    def _card_itself(cls, value: object) -> object:
        """People copy the URL of the card as often as the agent's: both name one agent."""
        given = as_object(value)
        if not isinstance(url := given.get("agent_url"), str) or "agent_card_path" in given:
            return value
        base, path = split_card_url(url)
        return given if path is None else {**given, "agent_url": base, "agent_card_path": path}

    @field_validator("agent_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value)

    @field_validator("agent_card_path")
    @classmethod
    def _path(cls, value: str) -> str:
        if "://" in value or value.startswith("//") or not value.isprintable():
            raise ValueError("must be a path on the agent's own host")
        return "/" + value.lstrip("/")

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        return checked_headers(value)

    @property
    def card_url(self) -> str:
        return self.agent_url + self.agent_card_path

    @property
    def has_credentials(self) -> bool:
        return bool(self.headers) or self.auth_token is not None

    @property
    def login(self) -> tuple[str | None, dict[str, str]]:
        return self.auth_token, self.headers

    @property
    def credentials(self) -> str | None:
        """Where the way to log in is kept, for everybody to see: the reference, or `stored`."""
        for value in (self.auth_token, *self.headers.values()):
            if value is not None and is_reference(value):
                return value
        return "stored" if self.has_credentials else None

    def same_agent(self, other: "Described") -> bool:
        """Whether both name one agent; how to log in there may have changed."""
        return self.card_url == other.card_url


class Registration(Standing, Described):
    """An agent by URL, as it is stored. `kind`: who brought it here, and may change it.

    `implicit`: a run that named its URL; `registered`: the owner, by name; `configured`: the file
    of fixed agents.
    """

    kind: Literal["implicit", "registered", "configured"] = "implicit"

    def with_credentials_of(self, other: "Registration") -> "Registration":
        """This one, with the other's way to log in when it names none of its own."""
        if self.has_credentials:
            return self
        kept = {"headers": other.headers, "auth_token": other.auth_token}
        return self.model_copy(update=kept)


class Enrolled(Registration):
    """An agent that registered itself. `key_digest` is the SHA-256 of what it proves with that it
    is the same one; `stopped`: it said that it is gone, so nothing is sent to its URL."""

    key_digest: str
    stopped: bool = False


KEYS: Final = frozenset(Described.model_fields)


def stored_standing(stored: object) -> Standing:
    """What is said of an agent, as it was stored; a local one has no URL. Raises:
    ValidationError."""
    kind: type[Standing] = Standing
    if isinstance(stored, dict) and "agent_url" in stored:
        kind = Enrolled if "key_digest" in stored else Registration
    return kind.model_validate(stored)


def checked_url(value: str) -> str:
    """An agent's base URL, without a slash behind. Raises: ValueError."""
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL as exc:
        raise ValueError(f"is not a URL: {exc}") from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be an http or https URL with a host")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError("must have a port from 1 to 65535")
    if url.userinfo or url.fragment or url.query:
        raise ValueError("must hold no credentials, query or fragment; use auth_token or headers")
    address = literal(url.raw_host.decode("ascii"))
    if address is not None and forbidden(address):
        raise ValueError("must not be a link-local, multicast, reserved or metadata address")
    return str(url).rstrip("/")


def checked_headers(value: dict[str, str]) -> dict[str, str]:
    """Headers for every request to an agent. Raises: ValueError."""
    for name, text in value.items():
        if not _HEADER.fullmatch(name) or not VALUE.fullmatch(text):
            raise ValueError(f"{name[:40]!r} is no header of printable ASCII")
        if name.lower() in _RESERVED:
            raise ValueError(f"{name!r} is not yours to set")
    return value


def read_registration(config: JsonObject) -> Registration:
    """The registration in a `backend_config`. Raises: InvalidInputError, naming the field."""
    try:
        registration = Registration.model_validate(config)
    except ValidationError as exc:
        raise InvalidInputError(f"backend_config: {describe(exc)}", field_of(exc)) from exc
    check_login(registration)
    return registration


def check_login(registration: Described) -> None:
    """Raises: InvalidInputError, when there are two ways to log in."""
    names = {name.lower() for name in registration.headers}
    if registration.auth_token is not None and "authorization" in names:
        raise InvalidInputError("give auth_token or headers.Authorization, not both", "auth_token")


def field_of(error: ValidationError) -> str | None:
    """The first field that a validation found wrong."""
    return ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"]) or None


def name_for(registration: Registration, taken: Collection[str]) -> str:
    """A name made of host and port (and path); with a digest where that alone is ambiguous."""
    url = httpx.URL(registration.agent_url)
    text = f"{url.host}{f'-{url.port}' if url.port else ''}{url.path}"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:64] or "agent"
    if registration.agent_card_path == CARD_PATH and name not in taken:
        return name
    return f"{name}-{hashlib.sha256(registration.card_url.encode()).hexdigest()[:8]}"
