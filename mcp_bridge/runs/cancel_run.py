"""cancel_run: stop a run."""

from typing import Final

from gateway.core.clock import iso
from gateway.core.errors import NotCancelableError
from gateway.core.status import RunStatus
from mcp_bridge.runs.references import RunReference, find_run
from mcp_bridge.runs.results import CancelledRun
from mcp_bridge.tool import Call, Tool, writes


class CancelRun(RunReference):
    pass


async def cancel_run(call: Call, arguments: CancelRun) -> CancelledRun:
    run = await find_run(call, arguments)
    try:
        run = await call.tasks.cancel(call.principal, run.id)
    except NotCancelableError as exc:
        if exc.status != RunStatus.CANCELLED:
            raise
        run = await call.tasks.get(call.principal, run.id)  # to cancel twice is no mistake
    confirmed = run.status is RunStatus.CANCELLED and run.completed_at is not None
    answer: CancelledRun = {
        "run_id": run.id,
        "status": run.status.value,
        "cancelled_at": iso(run.completed_at or 0) if confirmed else None,
    }
    if run.cancel_requested_at is not None and not run.terminal:
        answer["cancel_requested_at"] = iso(run.cancel_requested_at)
    return answer


CANCEL_RUN: Final = Tool(
    name="cancel_run",
    description="Stop a run. Waits up to 5 s for its agent; cancelled_at is null until it has "
    "confirmed (then poll_events shows the end).",
    arguments=CancelRun,
    result=CancelledRun,
    run=cancel_run,
    annotations=writes(destructive=True, idempotent=True, open_world=False),
)
