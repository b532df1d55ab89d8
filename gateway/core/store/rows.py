"""Runs and sessions as rows of the schema, and back. Pure."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from gateway.core import json, messages
from gateway.core.extension import CodingRequest, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.record import Remote, Result, Run, RunError, Session
from gateway.core.status import RunStatus

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
    "epoch",
    "summary",
)
# The members of a run that appending events can change; compared by identity, values are frozen.
_CHANGING: Final = (
    "status",
    "updated_at",
    "status_at",
    "running_us",
    "started_at",
    "completed_at",
    "cancel_requested_at",
    "last_seq",
    "summary",
    "pending",
    "result",
    "error",
    "remote",
    "metadata",
)


def _column(run: Run, name: str) -> Any:
    match name:
        case "status":
            return run.status.value
        case "pending":
            return json.encode([item.to_json() for item in run.pending]) if run.pending else None
        case "remote" | "result" | "error":
            return _dump(getattr(run, name))
        case "metadata":
            return json.encode(run.metadata) if run.metadata else None
        case _:
            return getattr(run, name)


def remote_text(remote: Remote) -> str:
    """The JSON text of where a run lives."""
    return json.encode(asdict(remote))


def _dump(value: Remote | Result | RunError | None) -> str | None:
    return None if value is None else json.encode(asdict(value))


def run_row(run: Run) -> JsonObject:
    """The whole row of a run."""
    row: JsonObject = {name: getattr(run, name) for name in _PLAIN}
    row |= {name: _column(run, name) for name in _CHANGING if name not in row}
    request = run.request
    row |= {
        "cwd": request.cwd,
        "role": request.role,
        "parent_id": request.parent.run_id if request.parent else None,
        "message": json.encode(messages.to_wire(run.message)),
        "request": request.model_dump_json(exclude_none=True),
    }
    return row


def changes(before: Run, after: Run) -> JsonObject:
    """The columns in which two records of a run differ."""
    return {
        name: _column(after, name)
        for name in _CHANGING
        if getattr(after, name) is not getattr(before, name)
    }


def run_of(row: Mapping[Any, Any]) -> Run:
    """The run of a row."""
    return Run(
        **{name: row[name] for name in _PLAIN},
        status=RunStatus(row["status"]),
        message=messages.from_wire(json.decode_object(row["message"])),
        request=CodingRequest.model_validate_json(row["request"]),
        pending=tuple(
            PendingRequest.model_validate(item) for item in json.decode(row["pending"] or "[]")
        ),
        result=_result_of(row["result"]),
        error=RunError(**json.decode(row["error"])) if row["error"] else None,
        remote=_remote_of(row),
        metadata=json.decode_object(row["metadata"]) if row["metadata"] else {},
    )


def _result_of(text: str | None) -> Result | None:
    if text is None:
        return None
    fields = json.decode_object(text)
    return Result(
        final_response=fields["final_response"],
        structured_output=fields["structured_output"],
        usage=fields["usage"],
        artifacts=tuple(fields["artifacts"]),
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
        "remote": _dump(session.remote),
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
