"""Connections to judged addresses only: the network under the HTTP client that posts to webhooks.

Knows no request. Host header and server name stay those of the URL; only the address that is
dialled comes from the screen. No proxy and no redirect can lead elsewhere.
"""

from collections.abc import Iterable
from typing import cast

import httpcore

from gateway.core.addresses import Screen


class ScreenedNetwork(httpcore.AsyncNetworkBackend):
    """Dials what the screen lets pass. Raises: addresses.AddressRefusedError before it dials."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        # A stand-in where anyio is missing, says its type; it is here, as Starlette's dependency.
        self._network = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = await self._screen.addresses(host, port)
        except OSError as exc:
            raise httpcore.ConnectError("its name has no address") from exc
        failure: Exception | None = None
        for address in found:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure or httpcore.ConnectError("its name has no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("webhooks are not reached by path")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
