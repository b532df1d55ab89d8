"""Runs and sessions as rows of the schema, and back. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.core import json, messages, redact
from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    AuthRequired,
    InputRequired,
    MessageAdded,
    Rejected,
    RunFailed,
)
from gateway.core.extension import CodingRequest, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.record import Remote, Result, Run, RunError, Session
from gateway.core.status import RunStatus
from gateway.core.store.entry import Entry

_LIMITS: Final = redact.Limits()  # of what a row holds; a setting may allow events more
_PLAIN: Final = (
    "id",
    "context_id",
    "principal",
    "agent",
    "backend",
    "nickname",
    "created_at",
    "updated_at",
    "status_at",
    "running_us",
    "started_at",
    "completed_at",
    "cancel_requested_at",
    "last_seq",
    "first_seq",
    "epoch",
    "summary",
)
# The columns that any event may move, and those that move only when the run turns to another
# status or other requests are pending. The second stand in indexes, or are large.
MOVING: Final = (
    "updated_at",
    "last_seq",
    "summary",
    "cancel_requested_at",
    "remote",
    "artifact_count",
)
TURNING: Final = (
    "status",
    "status_at",
    "running_us",
    "started_at",
    "completed_at",
    "pending",
    "result",
    "error",
)
# What a task shows (schema: events.shown): 1 in its history, 2 as an artifact.
SHOWN: Final = {
    AgentMessage.type: 1,
    MessageAdded.type: 1,
    InputRequired.type: 1,
    AuthRequired.type: 1,
    Rejected.type: 1,
    RunFailed.type: 1,
    ArtifactAdded.type: 2,
}


def remote_text(remote: Remote) -> str:
    """The JSON text of where a run lives."""
    return json.encode(
        {
            "agent": remote.agent,
            "task_id": remote.task_id,
            "context_id": remote.context_id,
            "log_id": remote.log_id,
            "src_seq": remote.src_seq,
            "agent_url": remote.agent_url,
        }
    )


def _pending_text(run: Run) -> str | None:
    """The requests with previews of what is large: the whole is in the event that asked."""
    if not run.pending:
        return None
    asked = {redact.PENDING: [item.to_json() for item in run.pending]}
    return json.encode(redact.split(asked, _LIMITS).data[redact.PENDING])


def _result_text(result: Result | None) -> str | None:
    """Without the artifacts: they are events, and stored as such."""
    if result is None:
        return None
    return json.encode(
        {
            "final_response": result.final_response,
            "structured_output": result.structured_output,
            "usage": result.usage,
        }
    )


def _error_text(error: RunError | None) -> str | None:
    if error is None:
        return None
    return json.encode({"message": error.message, "reason": error.reason})


def run_row(run: Run, owner: str | None = None) -> JsonObject:
    """The row of a new run."""
    request = run.request
    return {
        "id": run.id,
        "context_id": run.context_id,
        "principal": run.principal,
        "agent": run.agent,
        "backend": run.backend,
        "status": run.status.value,
        "cwd": request.cwd,
        "role": request.role,
        "nickname": run.nickname,
        "parent_id": request.parent.run_id if request.parent else None,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "status_at": run.status_at,
        "started_at": None,
        "completed_at": None,
        "cancel_requested_at": None,
        "running_us": 0,
        "last_seq": run.last_seq,
        "first_seq": 1,
        "owner": owner,
        "epoch": run.epoch,
        "summary": run.summary,
        "artifact_count": 0,
        "pending": None,
        "remote": None if run.remote is None else remote_text(run.remote),
        "result": None,
        "error": None,
    }


def input_row(run: Run) -> JsonObject:
    """The row of what a run was started with."""
    return {
        "run_id": run.id,
        "message": json.encode(messages.to_wire(run.message)),
        "request": run.request.model_dump_json(exclude_none=True),
        "metadata": json.encode(run.metadata) if run.metadata else None,
    }


def turns(before: Run, after: Run) -> bool:
    """True when the columns of TURNING differ too."""
    return (
        after.status_at != before.status_at
        or after.status is not before.status
        or after.pending is not before.pending
    )


def move_of(before: Run, after: Run) -> JsonObject:
    """The parameters that move a run on, found by where it stood."""
    return {
        "b_id": before.id,
        "b_epoch": before.epoch,
        "b_last_seq": before.last_seq,
        "b_to_updated_at": after.updated_at,
        "b_to_last_seq": after.last_seq,
        "b_to_summary": after.summary,
        "b_to_cancel_requested_at": after.cancel_requested_at,
        "b_to_remote": None if after.remote is None else remote_text(after.remote),
        "b_to_artifact_count": len(after.result.artifacts) if after.result else 0,
    }


def turn_of(before: Run, after: Run) -> JsonObject:
    """The same for a run that turns."""
    move = move_of(before, after)
    move["b_to_status"] = after.status.value
    move["b_to_status_at"] = after.status_at
    move["b_to_running_us"] = after.running_us
    move["b_to_started_at"] = after.started_at
    move["b_to_completed_at"] = after.completed_at
    move["b_to_pending"] = _pending_text(after)
    move["b_to_result"] = _result_text(after.result)
    move["b_to_error"] = _error_text(after.error)
    return move


def event_row(run_id: str, entry: Entry) -> JsonObject:
    recorded = entry.recorded
    return {
        "run_id": run_id,
        "seq": recorded.seq,
        "ts": recorded.ts,
        "type": recorded.type,
        "status": recorded.status.value,
        "src_seq": entry.src_seq,
        "shown": SHOWN.get(recorded.type),
        "data": recorded.data,
    }


def artifact_of(seq: int, data: str) -> JsonObject:
    """What a run's result says of an artifact_added event."""
    told = json.decode_object(data)
    return {
        "artifact_id": told.get("artifact_id"),
        "name": told.get("name"),
        "description": told.get("description"),
        "seq": seq,
    }


def run_of(row: Mapping[Any, Any], artifacts: Sequence[JsonObject] = ()) -> Run:
    """The run of a row of `runs` with its `run_inputs`."""
    return Run(
        **{name: row[name] for name in _PLAIN},
        status=RunStatus(row["status"]),
        message=messages.from_wire(json.decode_object(row["message"])),
        request=CodingRequest.model_validate_json(row["request"]),
        pending=tuple(
            PendingRequest.model_validate(item) for item in json.decode(row["pending"] or "[]")
        ),
        result=_result_of(row["result"], artifacts),
        error=RunError(**json.decode(row["error"])) if row["error"] else None,
        remote=_remote_of(row),
        metadata=json.decode_object(row["metadata"]) if row["metadata"] else {},
    )


def _result_of(text: str | None, artifacts: Sequence[JsonObject]) -> Result | None:
    if text is None:
        return Result(artifacts=tuple(artifacts)) if artifacts else None
    fields = json.decode_object(text)
    return Result(
        final_response=fields["final_response"],
        structured_output=fields["structured_output"],
        usage=fields["usage"],
        artifacts=tuple(artifacts),
    )


def _remote_of(row: Mapping[Any, Any]) -> Remote | None:
    return Remote(**json.decode(row["remote"])) if row["remote"] else None


def session_row(session: Session) -> JsonObject:
    return {
        "id": session.id,
        "principal": session.principal,
        "agent": session.agent,
        "backend": session.backend,
        "cwd": session.cwd,
        "nickname": session.nickname,
        "backend_session_id": session.backend_session_id,
        "remote": None if session.remote is None else remote_text(session.remote),
        "metadata": json.encode(session.metadata) if session.metadata else None,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
    }


def session_of(row: Mapping[Any, Any]) -> Session:
    return Session(
        **{
            name: row[name]
            for name in (
                "id",
                "principal",
                "agent",
                "backend",
                "cwd",
                "nickname",
                "backend_session_id",
                "created_at",
                "updated_at",
            )
        },
        remote=_remote_of(row),
        metadata=json.decode_object(row["metadata"]) if row["metadata"] else {},
    )
