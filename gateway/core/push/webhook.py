"""One event to one webhook: the request with its headers, and what the answer means.
Knows HTTP; neither runs nor when to try again.

    Content-Type                  application/a2a+json (specification 4.3.3)
    Authorization                 `{scheme} {credentials}` of the config, unless the scheme signs
    X-A2A-Notification-Token      the config's token, as the Python SDK sends it
    A2A-Notification-Token        the same, as the Go SDK sends it
    webhook-id                    names the event: the same at every repetition, so drop what you had
    webhook-timestamp             when this attempt was made, unix seconds
    webhook-signature             with the scheme HMAC-SHA256: `v1,` + base64(HMAC(key, signed))

`signed` is `{webhook-id}.{webhook-timestamp}.{body}`, as Standard Webhooks has it, so its libraries
check it. The key is the config's credentials, which are then never sent: the bytes behind
`whsec_` in base64, else the text itself.
"""

import base64
import binascii
import email.utils
import hashlib
import hmac
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

import anyio
import httpcore
import httpx

from gateway.core.addresses import Screen
from gateway.core.push.dial import ScreenedNetwork
from gateway.core.push.lanes import ALL, Lanes
from gateway.core.store.outbox import PushConfig

Headers: TypeAlias = list[tuple[str, str]]

CONTENT_TYPE: Final = "application/a2a+json"
TOKEN_HEADERS: Final = ("X-A2A-Notification-Token", "A2A-Notification-Token")
SIGNING_SCHEME: Final = "hmac-sha256"
ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

KEEP_ALIVE_S: Final = 30.0
CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0  # a receiver that has to think longer should take the event and think later
ANSWER_MAX: Final = 16 * 1024  # bytes read of an answer's body, so that its connection lives on
_BROKEN: Final = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)
_KEY_PREFIX: Final = "whsec_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a webhook answered. `wait_s`: what it asked for before the next attempt."""

    status: int
    wait_s: float | None = None

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        return self.status == 410


class WebhookError(Exception):
    """No answer came; the text says why, without the URL."""


class Webhooks:
    """Posts to webhooks over one pool of connections."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._lanes = Lanes()
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()

    async def post(
        self, config: PushConfig, event_id: str, body: bytes, clock_s: Callable[[], int]
    ) -> Answer:
        """Send one body when there is a lane; `clock_s` is asked for the time of the request.

        Raises: WebhookError, addresses.AddressRefusedError.
        """
        url = self._screen.url(config.url)
        async with self._lanes.slot(url.host, url.port):
            return await self._send(url, headers_of(config, event_id, body, clock_s()), body)

    async def _send(self, url: httpx.URL, headers: Headers, body: bytes) -> Answer:
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        timeout = {"connect": CONNECT_S, "read": ANSWER_S, "write": ANSWER_S, "pool": ANSWER_S}
        answer: Answer | None = None
        cause: Exception | None = None
        try:
            with anyio.fail_after(CONNECT_S + ANSWER_S):
                async with self._connections().stream(
                    "POST", target, headers=headers, content=body, extensions={"timeout": timeout}
                ) as response:
                    answer = Answer(status=response.status, wait_s=_wait_of(response))
                    await _drain(response)
        except (*_BROKEN, OSError) as exc:  # a TimeoutError is an OSError
            cause = exc
        if answer is None:  # a body that breaks off changes nothing about a status
            raise WebhookError(f"no answer ({type(cause).__name__})") from cause
        return answer

    def _connections(self) -> httpcore.AsyncConnectionPool:
        if self._pool is None:  # a context costs 20 ms, and most servers have no webhook
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=ssl.create_default_context(),
                max_connections=ALL,
                max_keepalive_connections=ALL // 2,
                keepalive_expiry=KEEP_ALIVE_S,
                network_backend=ScreenedNetwork(self._screen),
            )
        return self._pool


def headers_of(config: PushConfig, event_id: str, body: bytes, at_s: int) -> Headers:
    """The headers of one attempt, as the module's text lists them."""
    made = [
        ("Content-Type", CONTENT_TYPE),
        ("User-Agent", "a2a-gateway"),
        (ID_HEADER, event_id),
        (TIMESTAMP_HEADER, str(at_s)),
    ]
    if config.token:
        made += [(name, config.token) for name in TOKEN_HEADERS]
    if config.scheme and config.credentials:
        if config.scheme.lower() == SIGNING_SCHEME:
            made.append((SIGNATURE_HEADER, signature(config.credentials, event_id, body, at_s)))
        else:
            made.append(("Authorization", f"{config.scheme} {config.credentials}"))
    return made


def signature(credentials: str, event_id: str, body: bytes, at_s: int) -> str:
    """The value of `webhook-signature`."""
    signed = f"{event_id}.{at_s}.".encode() + body
    digest = hmac.new(_key(credentials), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(credentials: str) -> bytes:
    if credentials.startswith(_KEY_PREFIX):
        try:
            return base64.b64decode(credentials.removeprefix(_KEY_PREFIX), validate=True)
        except binascii.Error:
            pass
    return credentials.encode()


async def _drain(response: httpcore.Response) -> None:
    read = 0
    async for piece in response.aiter_stream():
        read += len(piece)
        if read > ANSWER_MAX:
            return  # the connection is closed instead


def _wait_of(response: httpcore.Response) -> float | None:
    """Seconds of a Retry-After, None without one that can be read."""
    found = next((v for k, v in response.headers if k.lower() == b"retry-after"), None)
    if found is None:
        return None
    text = found.decode("ascii", "replace").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
