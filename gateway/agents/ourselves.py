"""Whether a URL leads back to this gateway: a run sent there would come round as another run.

Pure. It sees addresses of this machine; what comes back by another way is counted (`core.hops`).
"""

from ipaddress import ip_address

import httpx

from gateway.core.errors import InvalidInputError
from gateway.link.client import LOOPBACK, url_of


def refuse_ourselves(agent_url: str, own_url: str | None) -> None:
    """Raises: InvalidInputError."""
    if own_url is None:
        return
    theirs, ours = url_of(agent_url), url_of(own_url)
    if _port(theirs) == _port(ours) and _is_here(theirs.host):
        raise InvalidInputError(
            f"{agent_url} is this gateway itself: its runs would come back to it; name the agent "
            "(backend_config.agent), or give the agent's own URL",
            "agent_url",
        )


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _is_here(host: str) -> bool:
    if host in LOOPBACK or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback or address.is_unspecified
