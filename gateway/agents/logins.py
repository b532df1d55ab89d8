"""How the gateway logs in at an agent: credentials read when they are used, from where they lie.

Knows no agent. A reference (`env:NAME`, `file:/path`) is stored as it is; what is behind it is read
anew at every use, so a token that was replaced counts at once, and is never shown.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from gateway.core.errors import InvalidInputError
from gateway.core.face.tokens import TokenError, read_token
from gateway.home import Home, read_published
from gateway.link.client import LOOPBACK, url_of

SECRET_MAX: Final = 16 * 1024  # bytes of a token or of its file
VALUE: Final = re.compile(r"[\x20-\x7e]*")  # printable ASCII: what a header can carry

Variable: TypeAlias = Callable[[str], str | None]  # reads the environment


def is_reference(text: str) -> bool:
    """Whether a credential says where it lies instead of being it."""
    return text.startswith(("env:", "file:"))


def read_secret(text: str, variable: Variable, field: str) -> str:
    """What a credential stands for: itself, or what is behind its reference.

    Raises: InvalidInputError (never with the secret in its text).
    """
    kind, _, rest = text.partition(":")
    secret: str | None = text
    if kind == "env":
        secret = variable(rest)
        missing = f"environment variable {rest!r} is not set in the gateway"
    elif kind == "file":
        secret = _first_line(Path(rest))
        missing = f"file {rest!r} cannot be read by the gateway"
    else:
        missing = "it is empty"
    if not secret or not VALUE.fullmatch(secret):
        raise InvalidInputError(f"{field}: {missing}", field)
    return secret


def read_headers(headers: Mapping[str, str], variable: Variable) -> dict[str, str]:
    """Headers with what their references stand for. Raises: InvalidInputError."""
    return {
        name: read_secret(text, variable, f"headers.{name}") if is_reference(text) else text
        for name, text in headers.items()
    }


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def wrapper_token(home: Home, url: str) -> str | None:
    """The token of a wrapper that this user started on this machine, from its ready file."""
    parsed = url_of(url)
    if parsed.host not in LOOPBACK or parsed.port is None or parsed.path not in ("", "/"):
        return None
    published = read_published(home.note(parsed.port))
    if published is None or url_of(published.url).port != parsed.port:
        return None
    try:
        return read_token(published.token_file)
    except TokenError:
        return None


def _first_line(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            text: Any = file.read(SECRET_MAX)
        return text.decode("ascii").strip().partition("\n")[0]
    except (OSError, ValueError):
        return None
