"""What a caller says of an agent: its URL, how to log in there, and the name that follows from it.

Pure but for reading the credentials that are given by reference. Knows no card and no connection.
"""

import hashlib
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateway.agents.card import CARD_PATH
from gateway.core.addresses import forbidden, literal
from gateway.core.errors import InvalidInputError
from gateway.core.extension import describe
from gateway.core.json import JsonObject

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
# What the transport itself decides, or the protocol.
_RESERVED: Final = frozenset(
    {"host", "connection", "content-length", "content-type", "transfer-encoding", "te", "upgrade"}
    | {"accept", "a2a-version", "a2a-extensions", "last-event-id"}
)
TOKEN_FILE_MAX: Final = 16 * 1024  # bytes


class Registration(BaseModel):
    """The keys of `backend_config` that describe an agent by URL, as they are stored.

    `auth_token` is `env:NAME`, `file:/path` or the token itself. `blocking` is accepted and means
    nothing here: runs are always followed, never waited for in one request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent_url: str
    agent_card_path: str = CARD_PATH
    headers: dict[str, str] = Field(default_factory=dict[str, str])
    auth_token: Annotated[str, Field(min_length=1, max_length=TOKEN_FILE_MAX)] | None = None
    history_length: Annotated[int, Field(ge=0)] | None = None
    blocking: bool | None = None
    accepted_output_modes: tuple[str, ...] = ()

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
        for name, text in value.items():
            if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(text):
                raise ValueError(f"{name[:40]!r} is no header of printable ASCII")
            if name.lower() in _RESERVED:
                raise ValueError(f"{name!r} is not yours to set")
        return value

    @property
    def card_url(self) -> str:
        return self.agent_url + self.agent_card_path

    @property
    def has_credentials(self) -> bool:
        return bool(self.headers) or self.auth_token is not None

    def same_agent(self, other: "Registration") -> bool:
        """Whether both name one agent; how to log in there may have changed."""
        return self.card_url == other.card_url

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


KEYS: Final = frozenset(Registration.model_fields)


def stored_registration(stored: object) -> Registration:
    """A registration as it was stored. Raises: ValidationError."""
    enrolled = isinstance(stored, dict) and "key_digest" in stored
    return (Enrolled if enrolled else Registration).model_validate(stored)


def checked_url(value: str) -> str:
    """An agent's base URL, without a slash behind. Raises: ValueError."""
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL as exc:
        raise ValueError(f"is not a URL: {exc}") from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be an http or https URL with a host")
    if url.userinfo or url.fragment or url.query:
        raise ValueError("must hold no credentials, query or fragment; use auth_token or headers")
    address = literal(url.raw_host.decode("ascii"))
    if address is not None and forbidden(address):
        raise ValueError("must not be a link-local, multicast, reserved or metadata address")
    return str(url).rstrip("/")


def read_registration(config: JsonObject) -> Registration:
    """The registration in a `backend_config`. Raises: InvalidInputError, naming the field."""
    try:
        registration = Registration.model_validate(config)
    except ValidationError as exc:
        where = ".".join(str(part) for part in exc.errors(include_url=False)[0]["loc"])
        raise InvalidInputError(f"backend_config: {describe(exc)}", where or None) from exc
    names = {name.lower() for name in registration.headers}
    if registration.auth_token is not None and "authorization" in names:
        text = "backend_config: give auth_token or headers.Authorization, not both"
        raise InvalidInputError(text, "auth_token")
    return registration


def name_for(registration: Registration, taken: Collection[str]) -> str:
    """A name made of host and port (and path); with a digest where that alone is ambiguous."""
    url = httpx.URL(registration.agent_url)
    text = f"{url.host}{f'-{url.port}' if url.port else ''}{url.path}"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:64] or "agent"
    if registration.agent_card_path == CARD_PATH and name not in taken:
        return name
    return f"{name}-{hashlib.sha256(registration.card_url.encode()).hexdigest()[:8]}"


def read_token_reference(reference: str, variable: Callable[[str], str | None]) -> str:
    """The token an `auth_token` stands for; `variable` reads the environment.

    Raises: InvalidInputError (never with the token in its text).
    """
    kind, _, rest = reference.partition(":")
    token: str | None = reference
    if kind == "env":
        token = variable(rest)
        missing = f"environment variable {rest!r} is not set in the gateway"
    elif kind == "file":
        token = _first_line(Path(rest))
        missing = f"file {rest!r} cannot be read by the gateway"
    else:
        missing = "it is empty"
    if not token or not _VALUE.fullmatch(token):
        raise InvalidInputError(f"backend_config: auth_token: {missing}", "auth_token")
    return token


def _first_line(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            text: Any = file.read(TOKEN_FILE_MAX)
        return text.decode("ascii").strip().partition("\n")[0]
    except (OSError, ValueError):
        return None
