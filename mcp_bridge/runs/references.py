"""The run that a call means: by its id, or the current run of an agent by its name."""

from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field, field_validator, model_validator

from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.core.store.listing import RunQuery
from mcp_bridge.arguments import Folder
from mcp_bridge.errors import RefusedError
from mcp_bridge.schemas import Arguments
from mcp_bridge.tool import Call

# A name means the run that is under way, else the one that comes next, else the last one.
_ORDER: Final[tuple[tuple[RunStatus, ...], ...]] = (
    (RunStatus.RUNNING, RunStatus.INPUT_REQUIRED, RunStatus.AUTH_REQUIRED),
    (RunStatus.QUEUED,),
    (),
)
ONE_OF_BOTH: Final = "Provide run_id or agent_name; list_runs shows both"
_LOOK: Final = 50  # runs of one name that are compared


class RunReference(Arguments):
    """A run by its id, or the current run of an agent by its name."""

    run_id: str | None = None
    agent_name: Annotated[str, Field(description="Instead of run_id.")] | None = None
    cwd: Folder | None = None

    @field_validator("run_id", "agent_name")
    @classmethod
    def _trimmed(cls, value: str | None) -> str | None:
        return (value or "").strip() or None

    @model_validator(mode="after")
    def _one_of_both(self) -> "RunReference":
        if self.run_id is None and self.agent_name is None:
            raise ValueError(ONE_OF_BOTH)
        return self


async def find_run(call: Call, reference: RunReference) -> Run:
    """The run of a reference; `run_id` wins when both are given.

    Raises: RunNotFoundError, RefusedError.
    """
    if reference.run_id is not None:
        return await call.tasks.get(call.principal, reference.run_id)
    name = reference.agent_name or ""
    among: dict[str, Any] = {"cwd": reference.cwd, "limit": _LOOK, "brief": True}
    found = await _named(call, RunQuery(nickname=name, **among))
    if not any(found):  # a session without a name goes by its id
        found = await _named(call, RunQuery(context_id=name, **among))
    where = f" in cwd {reference.cwd}" if reference.cwd else ""
    everywhere = {run.request.cwd for runs in found for run in runs}
    if not everywhere:
        raise RefusedError(f"Unknown agent_name{where}: {name}; list_runs shows the names")
    if len(everywhere) > 1:
        raise RefusedError(f"agent_name is ambiguous across multiple cwd values: {name}; give cwd")
    current = next(runs for runs in found if runs)
    newest = max(current, key=lambda run: run.updated_at)
    return await call.tasks.get(call.principal, newest.id)


async def _named(call: Call, query: RunQuery) -> list[list[Run]]:
    """The runs of a name, for each group of _ORDER."""
    return [
        (await call.tasks.list_runs(call.principal, replace(query, statuses=statuses))).runs
        for statuses in _ORDER
    ]
