"""What a wrapper says of itself at `/status`, to callers with a token: runs, capacity, processes.

Knows tasks and the adapter by their interfaces; whether an agent can work is `preflight`'s.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.core import json
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.status import WAITING, RunStatus
from wrappers.adapter import Adapter, Finding
from wrappers.processes.figures import tree
from wrappers.serving.preflight import to_json

STATUS_PATH: Final = "/status"


@dataclass(slots=True, kw_only=True)
class Status:
    """`findings` are those of the last inspection, None until there was one."""

    agent: str
    name: str
    version: str
    capacity: int | None
    adapter: Adapter
    runs: Callable[[], Sequence[Run]]
    registration: Callable[[], JsonObject | None]
    findings: Sequence[Finding] | None = None
    _since: float = field(default_factory=time.monotonic)

    @property
    def route(self) -> Route:
        return Route(STATUS_PATH, self._answer)

    async def _answer(self, _request: Request) -> Response:
        return Response(json.encode(await self.to_json()), media_type="application/json")

    async def to_json(self) -> JsonObject:
        """`memory` and `processes` are of the whole process, other wrappers in it included."""
        below = await tree()
        return {
            "agent": self.agent,
            "name": self.name,
            "version": self.version,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._since, 3),
            "runs": counted(self.runs()),
            "capacity": self.capacity,
            "memory": {"rss_bytes": own_rss()},
            "processes": {
                "count": below.processes,
                "rss_bytes": below.rss_bytes,
                "pss_bytes": below.pss_bytes,
            },
            "adapter": self.adapter.status(),
            "findings": None if self.findings is None else to_json(self.findings),
            "registration": self.registration(),
        }


def counted(runs: Sequence[Run]) -> JsonObject:
    """Runs by what they do: `active` is all of them."""
    found = Counter(run.status for run in runs if not run.terminal)
    return {
        "active": found.total(),
        "running": found[RunStatus.RUNNING],
        "queued": found[RunStatus.QUEUED],
        "waiting": sum(found[status] for status in WAITING),
    }


def own_rss() -> int | None:
    """Bytes of memory that this process holds; None where /proc does not say."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
