"""spawn_run: start an agent on a task; answered as soon as the run is durable."""

import uuid
from typing import Final

from gateway.core.extension import CodingRequest, Parent
from mcp_bridge.runs import speech, views
from mcp_bridge.runs.placement import place
from mcp_bridge.runs.request import SpawnRun
from mcp_bridge.runs.results import SpawnedRun
from mcp_bridge.tool import LOAD, Call, Tool, writes


async def spawn_run(call: Call, arguments: SpawnRun) -> SpawnedRun:
    message = speech.said(arguments.prompt, arguments.input_message, called="prompt")
    speech.check_data("metadata", arguments.metadata)
    placed = await place(call, arguments)
    sent = await call.tasks.send(
        principal=call.principal,
        agent=placed.agent,
        message=message,
        request=_keyed(placed.request, call.parent),
        context_id=placed.context_id,
        backend=arguments.backend,
        metadata=arguments.metadata,
        name_session=True,
    )
    run = sent.run
    answer: SpawnedRun = {
        "run_id": run.id,
        "status": run.status.value,
        "session_id": run.context_id,
        "agent_name": views.agent_name(run),
        "backend": run.backend,
        "role": run.request.role,
    }
    queued = call.tasks.queue_state(run.id)
    if queued is not None and queued.blocked_by is not None:
        answer["blocked_by"] = queued.blocked_by
    return answer


def _keyed(request: CodingRequest, parent: Parent | None) -> CodingRequest:
    """The request under the caller's key, or one of our own: what is sent twice by us runs once."""
    key = request.request_key or str(uuid.uuid4())
    return request.model_copy(update={"request_key": key, "parent": parent})


SPAWN_RUN: Final = Tool(
    name="spawn_run",
    description="Start a coding agent (Codex, Claude Code or a remote A2A agent) on a task in "
    "a folder. Returns run_id at once; next call poll_events. The run goes on without you "
    "and is kept: list_runs finds it again.",
    arguments=SpawnRun,
    result=SpawnedRun,
    run=spawn_run,
    annotations=writes(),
    meta=LOAD,
)
