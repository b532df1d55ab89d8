"""HTTP to agents: clients shared by origin, and one agent's link with its credentials.

Knows no A2A: it turns what can go wrong on a link into the gateway's errors, and nothing else.
Nothing is retried here. A redirect is followed on the agent's own origin alone: elsewhere it would
carry the credentials away.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import httpx

from gateway.core.addresses import AddressRefusedError, Screen
from gateway.core.extension import VERSION_HEADER
from gateway.errors import (
    AgentAddressError,
    AgentProtocolError,
    AgentUnreachableError,
    GatewayError,
)
from gateway.link.screened import AGENTS, transport_for
from gateway.link.statuses import reason_of, status_error
from gateway.link.timing import BODY_S, CONNECT_S, IDLE_S, SILENCE_S, UNARY_S, WRITE_S

MAX_BODY: Final = 64 * 1024 * 1024  # bytes of one answer
MAX_REDIRECTS: Final = 5
URLS_KEPT: Final = 1024  # read URLs: the few of each agent come again with every call
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_LIMITS: Final = httpx.Limits(
    max_connections=None, max_keepalive_connections=20, keepalive_expiry=IDLE_S
)
# The phases after writing have deadlines of their own: httpx's are between two reads.
_TIMEOUT: Final = httpx.Timeout(None, connect=CONNECT_S, write=WRITE_S)
_EXTENSIONS: Final = {"timeout": _TIMEOUT.as_dict()}
# 64 KB of gzip are 64 MB in one step: what is read stays as large as what is sent.
_ALWAYS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "a2a-gateway"}
# 307 and 308 promise that nothing was done and the method stays (RFC 9110, 15.4).
_FOLLOWED: Final = {"GET": frozenset({301, 302, 303, 307, 308}), "POST": frozenset({307, 308})}

Origin: TypeAlias = tuple[str, str, int]


@lru_cache(maxsize=URLS_KEPT)
def url_of(text: str) -> httpx.URL:
    """A URL as httpx reads it, which takes it 40 us. Raises: httpx.InvalidURL."""
    return httpx.URL(text)


@lru_cache(maxsize=URLS_KEPT)
def origin_of(url: str) -> Origin:
    """Scheme, host and port of a URL; the names of this machine's loopback are one host."""
    parsed = httpx.URL(url)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    host = "127.0.0.1" if parsed.host in LOOPBACK else parsed.host
    return parsed.scheme, host, port


def origin_text(url: str) -> str:
    """Scheme, host and port for people: never what else stands in a URL."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "an invalid URL"
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii', 'replace').rpartition('@')[2]}"


class _Direct(httpx.AsyncClient):
    """A client whose streamed requests go to its transport as they are. httpx would look for
    cookies, redirects and logins first: none of them may happen here, and it takes 100 us."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None, **options: Any) -> None:
        super().__init__(transport=transport, **options)
        self._straight = transport

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **options: Any
    ) -> httpx.Response:
        if self._straight is None or not stream:
            return await super().send(request, stream=stream, **options)
        response = await self._straight.handle_async_request(request)
        response.request = _bare(request.method, request.url)  # a stream keeps it as long as it is
        return response


@lru_cache(maxsize=URLS_KEPT)
def _bare(method: str, url: httpx.URL) -> httpx.Request:
    """What was asked, without what was said."""
    return httpx.Request(method, url)


class Clients:
    """The HTTP clients of this gateway, one an origin, over its transport; behind a proxy over httpx's
    own. An SSL context of its own would cost every client 870 KB and 42 ms."""

    def __init__(self, screen: Screen = AGENTS) -> None:
        self._screen = screen
        self._ssl = ssl.create_default_context()
        self._clients: dict[Origin, httpx.AsyncClient] = {}

    def at(self, url: str) -> httpx.AsyncClient:
        """The client of this URL's origin."""
        origin = origin_of(url)
        if (client := self._clients.get(origin)) is None:
            client = self._clients[origin] = _Direct(
                transport_for(url, self._ssl, self._screen),
                verify=self._ssl,
                timeout=_TIMEOUT,
                limits=_LIMITS,
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
    """What lies at a URL, and the ETag and Cache-Control it came with."""

    body: bytes
    etag: str | None
    cache_control: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """HTTP to one agent with its credentials; every failure leaves as a GatewayError."""

    agent: str
    client: httpx.AsyncClient
    headers: Mapping[str, str]

    async def get(self, url: str) -> bytes:
        """What lies at `url`."""
        document = await self.fetch(url)
        return document.body if document is not None else b""

    async def fetch(self, url: str, *, etag: str | None = None) -> Document | None:
        """What lies at `url`; None when it has not changed since it came with this `etag`."""
        headers = {VERSION_HEADER: "1.0"}
        if etag is not None:
            headers["If-None-Match"] = etag
        async with self.open("GET", url, headers, None, UNARY_S) as response:
            if response.status_code == 304 and etag is not None:
                return None
            if response.status_code != 200:
                raise self.status_error(response)
            body = await self.body(response)
            lasting = response.headers.get("cache-control", "")
            return Document(body=body, etag=response.headers.get("etag"), cache_control=lasting)

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        head_s: float,
    ) -> AsyncGenerator[httpx.Response, None]:
        """A response that may be read on; what breaks while it is read is translated too. Its
        status is the caller's to look at. `head_s`: until its head is there."""
        sent = method != "GET"  # whether it matters that the request may have arrived
        try:
            response = await self._answered(method, url, headers, content, head_s)
            del headers, content  # a stream would keep them as long as it is open
            try:
                yield response
            finally:
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise AgentUnreachableError(self.agent, url, reason_of(exc)) from exc
        except httpx.TimeoutException as exc:
            raise AgentUnreachableError(self.agent, url, "silent too long", sent=sent) from exc
        except (httpx.RemoteProtocolError, httpx.NetworkError) as exc:
            raise AgentUnreachableError(self.agent, url, "the link broke", sent=sent) from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise AgentProtocolError(self.agent, url, type(exc).__name__) from exc
        except AddressRefusedError as exc:
            raise AgentAddressError(self.agent, url, str(exc)) from exc

    async def _answered(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        head_s: float,
    ) -> httpx.Response:
        """The response after the redirects that may be followed."""
        said = {**_ALWAYS, **self.headers, **headers}
        target = url
        try:
            async with asyncio.timeout(head_s):
                for _ in range(MAX_REDIRECTS + 1):
                    request = httpx.Request(
                        method,
                        url_of(target),
                        headers=said,
                        content=content,
                        extensions=_EXTENSIONS,
                    )
                    response = await self.client.send(request, stream=True)
                    if not response.has_redirect_location:
                        return self._plain(response)
                    await response.aclose()
                    target = self._redirected(method, response)
        except TimeoutError as exc:
            why = f"no answer within {head_s:.0f} s"
            raise AgentUnreachableError(self.agent, url, why, sent=method != "GET") from exc
        what = f"it redirects in circles, or more than {MAX_REDIRECTS} times"
        raise AgentProtocolError(self.agent, url, what)

    def _redirected(self, method: str, response: httpx.Response) -> str:
        url, status = str(response.url), response.status_code
        target = str(response.url.join(response.headers["location"]))
        if origin_of(target) != origin_of(url):
            what = (
                f"HTTP {status} redirects to another origin ({origin_text(target)}); "
                "register the agent by that URL if you trust it"
            )
        elif status not in _FOLLOWED[method]:
            what = f"HTTP {status} redirects a {method} to {target[:200]}, which loses the message"
        else:
            return target
        raise AgentProtocolError(self.agent, url, what, status=status)

    def _plain(self, response: httpx.Response) -> httpx.Response:
        """Raises: AgentProtocolError for what is compressed although that was not asked for."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("", "identity"):
            return response
        what = f"its answer is compressed ({encoding[:20]}), which was not asked for"
        raise AgentProtocolError(self.agent, str(response.url), what)

    def status_error(self, response: httpx.Response) -> GatewayError:
        """What a response's status alone says went wrong."""
        return status_error(self.agent, response)

    async def body(self, response: httpx.Response) -> bytes:
        """The whole body, bounded in size and time."""
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_S):
                async for piece in response.aiter_raw():
                    pieces.append(piece)
                    size += len(piece)
                    if size > MAX_BODY:
                        what = f"an answer is larger than {MAX_BODY // 2**20} MiB"
                        raise AgentProtocolError(self.agent, str(response.url), what)
        except TimeoutError as exc:
            sent = response.request.method != "GET"
            why = f"its answer took longer than {BODY_S:.0f} s"
            raise AgentUnreachableError(self.agent, str(response.url), why, sent=sent) from exc
        return b"".join(pieces)

    async def pieces(self, response: httpx.Response, first_s: float) -> AsyncGenerator[bytes, None]:
        """The body as it comes: the first piece within `first_s`, then none is long in coming."""
        pieces = response.aiter_raw()
        patience_s = first_s
        while True:
            try:
                async with asyncio.timeout(patience_s):  # a third of anyio's memory, while it waits
                    piece = await anext(pieces, None)
            except TimeoutError as exc:
                why = f"silent for {patience_s:.0f} s"
                raise AgentUnreachableError(
                    self.agent, str(response.url), why, sent=True, silent=True
                ) from exc
            if piece is None:
                return
            yield piece
            patience_s = SILENCE_S
