"""How an agent's host is dialled: a name is resolved once, judged, and dialled as judged.

Knows no A2A. A literal address is judged where the agent is registered; behind a proxy of the
environment the proxy resolves names, and what it may reach is for its owner to say.
"""

import ssl
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies, proxy_bypass

import httpx

from gateway.core.addresses import Screen, is_loopback_host, literal

if TYPE_CHECKING:
    from gateway.link.transport import Transport

# Agents may live in any network of their owner's, and on this machine.
AGENTS: Final = Screen(private=True)


def transport_for(url: str, context: ssl.SSLContext, screen: Screen) -> "Transport | None":
    """How the host of `url` is dialled; None: as httpx does it, which knows proxies."""
    # Inline: aiohttp takes 70 ms to import, which the open listener need not wait for.
    from gateway.link.transport import Transport  # noqa: PLC0415

    parsed = httpx.URL(url)
    if is_loopback_host(parsed.host):
        return Transport(context)
    proxies = getproxies()  # as httpx finds them
    if {parsed.scheme, "all"} & proxies.keys() and not proxy_bypass(parsed.host):
        return None
    named = literal(parsed.raw_host.decode("ascii")) is None
    return Transport(context, screen=screen if named else None)
