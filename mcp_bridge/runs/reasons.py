"""Why a run stands as it does: whose end it waits for, where to log in, why it failed.

Said beside the status, because a poll for chosen events would not show it. Knows no cursor.
"""

from collections.abc import Mapping
from typing import Final

from gateway.core import json
from gateway.core.record import Run
from gateway.core.status import RunStatus
from mcp_bridge import pages
from mcp_bridge.runs import views
from mcp_bridge.runs.results import EventsPage, RunState
from mcp_bridge.tool import Call

LOGINS: Final = 1000  # of a run that are looked at for the last one
REASON: Final = 1000  # bytes of what is said
_LEAST: Final = 96  # bytes in which a reason says something
_NAME: Final = 16  # bytes of its member's name
_EXPLAINED: Final = frozenset(
    {RunStatus.QUEUED, RunStatus.AUTH_REQUIRED, RunStatus.FAILED, RunStatus.REJECTED}
)


async def add_reasons(call: Call, runs: Mapping[str, Run], answer: EventsPage, most: int) -> None:
    """To the states of a page, within its `most` bytes."""
    told = [(runs[state.get("run_id", "")], state) for state in answer.get("runs", [answer])]
    told = [(run, state) for run, state in told if run.status in _EXPLAINED]
    if not told:
        return  # most polls: the answer is not measured again
    room = min((most - pages.size(answer)) // len(told), REASON)
    if room < _LEAST:
        return
    for run, state in told:
        await _add(call, run, state, room - _NAME)


async def _add(call: Call, run: Run, state: RunState | EventsPage, room: int) -> None:
    match run.status:
        case RunStatus.QUEUED:
            queued = call.tasks.queue_state(run.id)
            if queued is not None and queued.blocked_by is not None:
                state["blocked_by"] = queued.blocked_by
        case RunStatus.AUTH_REQUIRED:
            summary = pages.clip(await login_text(call, run), room)
            if pages.size(summary) <= room:
                state["summary"] = summary
        case RunStatus.FAILED | RunStatus.REJECTED if run.error is not None:
            error = pages.clip(views.error_of(run.error.message, run.error.reason), room)
            if pages.size(error) <= room:
                state["error"] = error
        case _:
            return


async def login_text(call: Call, run: Run) -> str:
    """What the run said when it last asked for a login; its summary is cut, and an address may be
    longer."""
    page = await call.tasks.events(call.principal, run.id, limit=LOGINS, types=["auth_required"])
    data = json.decode_object(page.events[-1].data) if page.events else {}
    return str(data.get("text") or run.summary)
