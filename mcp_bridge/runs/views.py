"""Runs and events as the published results show them.

Pure; knows no tool and no limit.
"""

from gateway.core import json, redact
from gateway.core.clock import iso
from gateway.core.json import JsonObject
from gateway.core.life.liveness import Liveness
from gateway.core.life.slots import Queued
from gateway.core.record import Run
from gateway.core.store.entry import Recorded
from mcp_bridge.runs.results import RunError, RunEvent, RunResult, RunView, WholeRun


def agent_name(run: Run) -> str:
    """The name by which the run's agent is referred to; runs that came over A2A may have none, and
    then it is their session's id (`references` takes both)."""
    return run.nickname or run.context_id


def run_view(run: Run) -> RunView:
    view: RunView = {
        "run_id": run.id,
        "status": run.status.value,
        "session_id": run.context_id,
        "agent_name": agent_name(run),
        "backend": run.backend,
        "role": run.request.role,
        "summary": run.summary,
        "last_seq": run.last_seq,
        # The contract has a start for every run; a queued one has only its acceptance.
        "started_at": iso(run.started_at or run.created_at),
        "updated_at": iso(run.updated_at),
        "cwd": run.request.cwd,
        "metadata": run.metadata,
        "remote_ref": run.remote and run.remote.ref,
    }
    if run.completed_at is not None:
        view["completed_at"] = iso(run.completed_at)
    if run.pending:
        view["asks"] = [request.request_id for request in run.pending]
    if run.request.labels:
        view["labels"] = run.request.labels
    if run.request.parent is not None:
        view["parent_run_id"] = run.request.parent.run_id
    return view


def whole_run(run: Run, liveness: Liveness, queued: Queued | None) -> WholeRun:
    whole: WholeRun = {
        **run_view(run),
        "pending": pending_of(run),
        "liveness": liveness.to_json(),
    }
    if run.result is not None:
        if result := result_of(run):
            whole["result"] = result
        if run.result.usage is not None:
            whole["usage"] = run.result.usage
    if run.error is not None:
        whole["error"] = error_of(run.error.message, run.error.reason)
    if run.cancel_requested_at is not None and not run.terminal:
        whole["cancel_requested_at"] = iso(run.cancel_requested_at)
    if queued is not None:
        whole["queue_place"] = queued.place
        if queued.blocked_by is not None:
            whole["blocked_by"] = queued.blocked_by
    return whole


def result_of(run: Run) -> RunResult:
    result: RunResult = {}
    if run.result is None:
        return result
    if run.result.final_response is not None:
        result["final_response"] = run.result.final_response
    if run.result.structured_output is not None:
        result["structured_output"] = run.result.structured_output
    if run.result.artifacts:
        result["artifacts"] = [json.merge_null(item) for item in run.result.artifacts]
    return result


def error_of(message: str, reason: str | None) -> RunError:
    return {"message": message} if reason is None else {"message": message, "reason": reason}


def pending_of(run: Run) -> list[JsonObject]:
    return [request.to_json() for request in run.pending]


def event_view(run: Run, event: Recorded) -> RunEvent:
    return {
        "seq": event.seq,
        "ts": iso(event.ts),
        "run_id": run.id,
        "session_id": run.context_id,
        "backend": run.backend,
        "type": event.type,
        "data": event_data(event),
    }


def event_data(event: Recorded) -> JsonObject:
    """The inline data; its refs say where the run folder keeps them."""
    data = json.decode_object(event.data)
    if refs := redact.refs_of(data):
        path = redact.relpath(event.seq, event.type)
        data[redact.REFS] = {pointer: {**ref, "relpath": path} for pointer, ref in refs.items()}
    return data
