"""HTTP to agents: clients shared by origin, and one agent's link with its credentials.

Knows no A2A: it turns what can go wrong on a link into the gateway's errors, and nothing else.
Nothing is retried here, and no redirect followed: it could carry credentials elsewhere.
"""

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import httpx

from gateway.core.extension import VERSION_HEADER
from gateway.errors import AgentProtocolError, AgentUnauthorizedError, AgentUnreachableError

CONNECT_S: Final = 10.0
UNARY_S: Final = 30.0  # our own CancelTask answers within 5 s; foreign agents take longer
SILENCE_S: Final = 60.0  # servers ping every 15 s: four missed pings are a dead link
MAX_BODY: Final = 64 * 1024 * 1024  # bytes of one answer
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

UNARY: Final = httpx.Timeout(CONNECT_S, read=UNARY_S, pool=None)
STREAM: Final = httpx.Timeout(CONNECT_S, read=SILENCE_S, pool=None)

Origin: TypeAlias = tuple[str, str, int]


def origin_of(url: str) -> Origin:
    """Scheme, host and port of a URL; the names of this machine's loopback are one host."""
    parsed = httpx.URL(url)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    host = "127.0.0.1" if parsed.host in LOOPBACK else parsed.host
    return parsed.scheme, host, port


class Clients:
    """The HTTP clients of this gateway, one an origin: httpx's pool is quadratic in its size, and
    an SSL context of its own costs every client 870 KB and 42 ms."""

    def __init__(self) -> None:
        self._ssl = ssl.create_default_context()
        self._clients: dict[Origin, httpx.AsyncClient] = {}

    def at(self, url: str) -> httpx.AsyncClient:
        """The client of this URL's origin."""
        origin = origin_of(url)
        if (client := self._clients.get(origin)) is None:
            client = self._clients[origin] = httpx.AsyncClient(
                verify=self._ssl,
                timeout=UNARY,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
                follow_redirects=False,
                # A proxy from the environment is for the outside, never for this machine.
                trust_env=origin[1] != "127.0.0.1",
            )
        return client

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a GET brought; `max_age_s`: how long its server says that it stays so."""

    body: bytes
    etag: str | None
    max_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """HTTP to one agent with its credentials; every failure leaves as a GatewayError."""

    agent: str
    client: httpx.AsyncClient
    headers: Mapping[str, str]

    async def get(self, url: str) -> bytes:
        async with self.open("GET", url, {VERSION_HEADER: "1.0"}, None, UNARY) as response:
            return await self.body(response)

    async def fetch(self, url: str, *, etag: str | None = None) -> "Document | None":
        """A GET; None when it still is what came with `etag` before."""
        asked = {VERSION_HEADER: "1.0", **({} if etag is None else {"If-None-Match": etag})}
        async with self.open("GET", url, asked, None, UNARY) as response:
            if response.status_code == 304:
                return None
            return Document(
                body=await self.body(response),
                etag=response.headers.get("etag"),
                max_age_s=_max_age_s(response.headers.get("cache-control", "")),
            )

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout: httpx.Timeout,
    ) -> AsyncGenerator[httpx.Response, None]:
        """A response that may be read on; what breaks while it is read is translated too."""
        try:
            async with self.client.stream(
                method, url, headers={**self.headers, **headers}, content=content, timeout=timeout
            ) as response:
                self._check_status(response)
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise AgentUnreachableError(self.agent, url, "no connection") from exc
        except httpx.TimeoutException as exc:
            raise AgentUnreachableError(self.agent, url, "silent too long", sent=True) from exc
        except (httpx.RemoteProtocolError, httpx.NetworkError) as exc:
            raise AgentUnreachableError(self.agent, url, "the link broke", sent=True) from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise AgentProtocolError(self.agent, url, type(exc).__name__) from exc

    def _check_status(self, response: httpx.Response) -> None:
        url, status = str(response.url), response.status_code
        if status in (401, 403):
            raise AgentUnauthorizedError(self.agent, url, status)
        if status == 429 or status >= 500:
            refused = status in (429, 503)  # not taken up; anything else may have been
            raise AgentUnreachableError(self.agent, url, f"HTTP {status}", sent=not refused)
        if response.has_redirect_location:
            raise AgentProtocolError(self.agent, url, f"HTTP {status}, redirects are not followed")
        # Some servers answer a JSON-RPC error with 4xx; its body says more than the number.
        if status == 304 and "if-none-match" in response.request.headers:
            return
        if status not in (200, 206) and not (status in (400, 404) and _is_json(response)):
            raise AgentProtocolError(self.agent, url, f"HTTP {status}")

    async def body(self, response: httpx.Response) -> bytes:
        """The whole body, bounded."""
        pieces: list[bytes] = []
        size = 0
        async for piece in response.aiter_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BODY:
                what = f"an answer is larger than {MAX_BODY // 2**20} MiB"
                raise AgentProtocolError(self.agent, str(response.url), what)
        return b"".join(pieces)


def _is_json(response: httpx.Response) -> bool:
    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    return kind == "application/json" or kind.endswith("+json")


def _max_age_s(cache_control: str) -> float | None:
    """RFC 9111, 5.2.2: seconds, 0 of what must be asked for anew; None where nothing is said."""
    for directive in cache_control.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name in ("no-cache", "no-store"):
            return 0.0
        if name == "max-age" and value.strip('"').isdecimal():
            return float(value.strip('"')[:9])
    return None
