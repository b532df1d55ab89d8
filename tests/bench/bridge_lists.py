"""What a page of list_runs takes with much stored.

Measures; prints nothing.
"""

import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

from gateway.core.json import JsonObject
from gateway.home import Home
from tests.bench.bigstore import BETWEEN, START, fill
from tests.bench.speed import process
from tests.bench.toolcalls import Caller, call, pipe
from tests.demo.stage import plain_environment

READS: Final = 40


async def listed(folder: Path, stored: int) -> dict[str, float]:
    """Median seconds of a page of list_runs with much stored, by filter, over stdio."""
    home = Home(folder / "home")
    await fill(home.database, runs=stored, events=stored * 10, active=0)
    environment = plain_environment(folder) | {"A2A_GATEWAY_HOME": str(home.path)}
    words = [sys.executable, "-P", "-m", "gateway.cli", "serve", "--json"]
    async with process(words, environment), pipe(environment, folder) as relay:
        newest = (await call(relay, "list_runs", limit=1))["runs"][0]
        reference = await _median(relay, "get_run", {"run_id": newest["run_id"]})
        found = {"get_run, for comparison": reference}
        for name, asked in _filters(newest, stored).items():
            found[name] = await _median(relay, "list_runs", asked)
        return found


def _filters(newest: JsonObject, stored: int) -> dict[str, JsonObject]:
    middle = (START + stored // 2 * BETWEEN) / 1_000_000
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(middle))
    return {
        "no filter": {},
        "200 runs, 256 KB": {"limit": 200, "max_bytes": 262_144},
        "status failed": {"status": "failed"},
        "status active (none)": {"status": "active"},
        "backend": {"backend": "claude_code"},
        "role": {"role": "reviewer"},
        "cwd": {"cwd": newest["cwd"]},
        "agent_name": {"agent_name": "agent7"},
        "session_id": {"session_id": newest["session_id"]},
        "parent_run_id": {"parent_run_id": "parent-0"},
        "labels": {"labels": {"team": "core"}},
        "labels nobody has": {"labels": {"team": "nobody"}},
        "since": {"since": at},
        "until": {"until": at},
        "status, role and until": {"status": "failed", "role": "planner", "until": at},
    }


async def _median(caller: Caller, tool: str, asked: JsonObject) -> float:
    taken: list[float] = []
    for _ in range(READS):
        began = time.perf_counter()
        await call(caller, tool, **asked)
        taken.append(time.perf_counter() - began)
    return median(taken)
