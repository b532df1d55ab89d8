"""Connections to agents whose host is a name: resolved once, judged, and dialled as judged.

Knows no A2A. A literal address is judged where the agent is registered; behind a proxy of the
environment the proxy resolves names, and what it may reach is for its owner to say.
"""

import ssl
from typing import Final
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from gateway.core.addresses import Screen, is_loopback_host, literal
from gateway.core.push.dial import ScreenedNetwork

# Agents may live in any network of their owner's, and on this machine.
AGENTS: Final = Screen(private=True)


class _Screened(httpx.AsyncHTTPTransport):
    def __init__(self, context: ssl.SSLContext, limits: httpx.Limits, screen: Screen) -> None:
        super().__init__(verify=context, limits=limits, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=ScreenedNetwork(screen),
        )


def transport_for(
    url: str, context: ssl.SSLContext, limits: httpx.Limits, screen: Screen
) -> httpx.AsyncHTTPTransport | None:
    """How the host of `url` is dialled; None: as httpx does it."""
    parsed = httpx.URL(url)
    if is_loopback_host(parsed.host) or literal(parsed.raw_host.decode("ascii")) is not None:
        return None
    proxies = getproxies()  # as httpx finds them
    if {parsed.scheme, "all"} & proxies.keys() and not proxy_bypass(parsed.host):
        return None
    return _Screened(context, limits, screen)
