"""Who calls, and under which terms: what a request's headers and state say before its body is read.

Knows no operation. Guard and Listener write the state, the faces read it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from a2a.extensions.common import get_requested_extensions
from a2a.utils.errors import A2AError, ExtensionSupportRequiredError, VersionNotSupportedError
from starlette.requests import Request

from gateway.core import extension

PRINCIPAL: Final = "principal"  # key in a request's state
LOCAL: Final = "local"  # the principal behind a server's one token
CLOSING: Final = "closing"  # key in a request's state: an asyncio.Event, set when the end begins
SERVED_MAJOR: Final = "1"  # A2A versions differ by major only
_ABSENT_VERSION: Final = "0.3"  # specification 3.6: what a request without the header speaks


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """`extended`: the coding-run extension is activated. `closing` announces the server's end."""

    principal: str
    extensions: frozenset[str]
    version: str
    last_event_id: str | None
    closing: asyncio.Event

    @property
    def extended(self) -> bool:
        return extension.URI in self.extensions


def caller_of(request: Request) -> Caller:
    state: Mapping[str, Any] = request.scope.get("state") or {}
    headers = request.headers
    return Caller(
        principal=state.get(PRINCIPAL, LOCAL),
        extensions=frozenset(
            get_requested_extensions(headers.getlist(extension.EXTENSIONS_HEADER))
        ),
        version=headers.get(extension.VERSION_HEADER) or _ABSENT_VERSION,
        last_event_id=headers.get(extension.LAST_EVENT_ID_HEADER),
        closing=state.get(CLOSING) or asyncio.Event(),
    )


def check_terms(caller: Caller, required: frozenset[str]) -> None:
    """Refuse a version that is not served, or a caller without an extension that is required.

    The SDK checks the first on unary calls only and the second nowhere. Raises: A2AError.
    """
    error: A2AError | None = None
    if caller.version.partition(".")[0] != SERVED_MAJOR:
        error = VersionNotSupportedError(
            f"A2A version {caller.version[:16]!r} is not served here; send 'A2A-Version: 1.0'"
        )
    elif missing := sorted(required - caller.extensions):
        error = ExtensionSupportRequiredError(
            f"this agent requires the extension {missing[0]}; name it in 'A2A-Extensions'"
        )
    if error is not None:
        raise error
