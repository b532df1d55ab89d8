"""The run that a call means: by its id, or the current run of an agent by its name."""

from dataclasses import replace
from typing import Final

from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.core.store.listing import RunQuery
from gateway.core.tasks import Tasks
from mcp_bridge.arguments import RunReference
from mcp_bridge.errors import RefusedError

# A name means the run that is under way, else the one that comes next, else the last one.
_ORDER: Final[tuple[tuple[RunStatus, ...], ...]] = (
    (RunStatus.RUNNING, RunStatus.INPUT_REQUIRED, RunStatus.AUTH_REQUIRED),
    (RunStatus.QUEUED,),
    (),
)
_LOOK: Final = 50  # runs of one name that are compared


async def find_run(tasks: Tasks, principal: str, reference: RunReference) -> Run:
    """The run of a reference; `run_id` wins when both are given.

    Raises: RunNotFoundError, RefusedError.
    """
    if reference.run_id is not None:
        return await tasks.get(principal, reference.run_id)
    name = reference.agent_name or ""
    found = await _named(tasks, principal, RunQuery(nickname=name, cwd=reference.cwd, limit=_LOOK))
    if not any(found):  # a session without a name goes by its id
        found = await _named(
            tasks, principal, RunQuery(context_id=name, cwd=reference.cwd, limit=_LOOK)
        )
    where = f" in cwd {reference.cwd}" if reference.cwd else ""
    everywhere = {run.request.cwd for runs in found for run in runs}
    if not everywhere:
        raise RefusedError(f"Unknown agent_name{where}: {name}; list_runs shows the names")
    if len(everywhere) > 1:
        raise RefusedError(f"agent_name is ambiguous across multiple cwd values: {name}; give cwd")
    current = next(runs for runs in found if runs)
    return max(current, key=lambda run: run.updated_at)


async def _named(tasks: Tasks, principal: str, query: RunQuery) -> list[list[Run]]:
    """The runs of a name, for each group of _ORDER."""
    return [
        (await tasks.list_runs(principal, replace(query, statuses=statuses))).runs
        for statuses in _ORDER
    ]
