"""HTTP to one origin over aiohttp's connections, as a transport of httpx.

Knows sockets and httpx's errors, no agent and no credentials. httpx's own pool looks at every
connection at every request: a thousand open streams took it twice the CPU.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Final

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.core.addresses import Screen
from gateway.link.timing import IDLE_S

_READ: Final = 64 * 1024  # bytes read ahead of whoever reads a body; twice that at most


class Transport(httpx.AsyncBaseTransport):
    """Connections to one origin. Raises httpx's errors, as every transport of it: ConnectError and
    ConnectTimeout only where nothing can have been sent.

    Only connecting has a time-out here: what follows waits until it is cancelled.
    """

    def __init__(self, context: ssl.SSLContext, *, screen: Screen | None = None) -> None:
        """`screen` judges where the origin's name leads, at every connection; without one it is
        for the system to resolve."""
        connector = aiohttp.TCPConnector(
            ssl=context,
            limit=0,
            keepalive_timeout=IDLE_S,
            use_dns_cache=False,
            resolver=None if screen is None else _Screened(screen),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        limits: dict[str, float | None] = request.extensions.get("timeout", {})
        with _errors():
            response = await self._session.request(
                request.method,
                str(request.url),
                headers=request.headers.multi_items(),
                data=await request.aread() or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.get("connect")),
            )
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=_Body(response), request=request
        )

    async def aclose(self) -> None:
        await self._session.close()


class _Body(httpx.AsyncByteStream):
    """The body of a response, in the pieces it comes in; closing it gives the connection back, or
    ends it when something is left."""

    __slots__ = ("_response",)

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        with _errors():
            async for piece in self._response.content.iter_any():
                yield piece

    async def aclose(self) -> None:
        self._response.release() if self._response.content.at_eof() else self._response.close()


class _Screened(AbstractResolver):
    """Names are resolved once, judged, and dialled as judged."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises: AddressRefusedError; OSError when the name has no address."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._screen.addresses(host, port)
        ]

    async def close(self) -> None:
        """There is nothing to close."""


@contextmanager
def _errors() -> Generator[None, None, None]:
    """aiohttp's errors as httpx's."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as exc:
        raise httpx.ConnectTimeout("no connection in time") from exc
    except aiohttp.ClientConnectorError as exc:  # names without an address and TLS too
        raise httpx.ConnectError(str(exc)) from exc.__cause__ or exc
    except aiohttp.InvalidURL as exc:
        raise httpx.UnsupportedProtocol("it is no URL of HTTP") from exc
    except aiohttp.ClientOSError as exc:
        raise httpx.NetworkError(str(exc)) from exc
    except (aiohttp.ClientError, asyncio.IncompleteReadError) as exc:
        raise httpx.RemoteProtocolError(str(exc)) from exc
