"""Which agents work in folders of this machine.

Knows agents by their address alone. A port of this machine may lead to another one (a tunnel): a
folder that exists here by the same path then gets a run folder too, one that does not gets none.
"""

import httpx

from gateway.agents.registry import Registry
from gateway.errors import UnknownAgentError
from gateway.link.client import LOOPBACK


def works_here(registry: Registry, name: str) -> bool:
    """True for an agent that this gateway starts, and one that is called on this machine."""
    try:
        registration = registry.registration(name)
    except UnknownAgentError:
        return False
    return registration is None or httpx.URL(registration.agent_url).host in LOOPBACK
