"""What an HTTP status or a failed connection says -> the gateway's errors, in one place. Pure.

Knows no A2A and no connection.
"""

import ssl
from email.utils import parsedate_to_datetime
from time import time
from typing import Final

import httpx

from gateway.errors import (
    AgentProtocolError,
    AgentUnauthorizedError,
    AgentUnreachableError,
    GatewayError,
)
from gateway.link.timing import RETRY_AFTER_MAX_S

# Not taken up, so it may be sent again; anything else of the server's may have been.
_NOT_TAKEN_UP: Final = frozenset({429, 503})


def status_error(agent: str, response: httpx.Response) -> GatewayError:
    """The error a status stands for when the body says no more."""
    url, status = str(response.url), response.status_code
    if status in (401, 403):
        return AgentUnauthorizedError(agent, url, status)
    if status == 429 or status >= 500:
        sent = status not in _NOT_TAKEN_UP and response.request.method != "GET"
        after_s = retry_after(response.headers.get("retry-after"), time())
        return AgentUnreachableError(agent, url, f"HTTP {status}", sent=sent, retry_after_s=after_s)
    return AgentProtocolError(agent, url, f"HTTP {status}", status=status)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3: seconds or a date), bounded."""
    if value is None:
        return None
    try:
        wait_s = float(value) if value.isdigit() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(wait_s, 0.0), RETRY_AFTER_MAX_S)


def reason_of(error: BaseException) -> str:
    """Why there is no connection, as far as callers can act on it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"TLS: {cause.verify_message}; "
                "SSL_CERT_FILE of the gateway names the authorities it trusts"
            )
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason or 'no agreement'}; is it http:// and not https://?"
        cause = cause.__cause__ or cause.__context__
    return "no connection in time" if isinstance(error, httpx.ConnectTimeout) else "no connection"
