"""Which runs have a folder: those whose agent works in folders of this machine.

Knows agents by their address alone. A port of this machine may lead to another one (a tunnel): a
folder that exists here by the same path then gets a run folder too, one that does not gets none.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import httpx

from gateway.agents.registry import Registry
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.errors import UnknownAgentError
from gateway.link.client import LOOPBACK

KNOWN_S: Final = 10.0  # an agent's place is asked again: its name may be given to another one


def works_here(registry: Registry, name: str) -> bool:
    """True for an agent that this gateway starts, and one that is called on this machine."""
    try:
        registration = registry.registration(name)
    except UnknownAgentError:
        return False
    return registration is None or httpx.URL(registration.agent_url).host in LOOPBACK


class _Known(NamedTuple):
    here: bool
    until: float  # monotonic seconds


class Places:
    """`here(name)` says whether an agent works here. All of it happens on the loop."""

    def __init__(self, here: Callable[[str], bool]) -> None:
        self._here = here
        self._known: dict[str, _Known] = {}

    def has_folder(self, run: Run) -> bool:
        """Where a run works is checked by its agent, so a run that was not taken up has none: one
        that waits for its turn, or was rejected before it began."""
        status = run.status
        if status is RunStatus.QUEUED or run.request.cwd is None:
            return False
        if status is RunStatus.REJECTED and run.started_at is None:
            return False
        agent = run.agent if run.remote is None else run.remote.agent
        known, now = self._known.get(agent), time.monotonic()
        if known is None or known.until < now:
            known = self._known[agent] = _Known(self._here(agent), now + KNOWN_S)
        return known.here
