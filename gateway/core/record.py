"""The record of a run, and the fold that makes it of events.

Pure: `apply(run, event, …)` returns the next record or raises and changes nothing. Times are unix
microseconds, given as arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gateway.core.events import (
    HOW_RESOLVED,
    AgentMessage,
    ArtifactAdded,
    AuthRequired,
    CommandStarted,
    Event,
    FileChanged,
    InputRequired,
    MessageAdded,
    Rejected,
    RunCompleted,
    RunFailed,
    RunStarted,
    StatusChanged,
)
from gateway.core.extension import CodingRequest, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message, to_wire
from gateway.core.status import TERMINAL, RunStatus, advance

_ASKING: Final = frozenset({InputRequired.type, AuthRequired.type})

SUMMARY_MAX: Final = 120  # characters of a summary (contract 2.2: 117 and an ellipsis)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run came to. `artifacts` are {artifact_id, name, description, seq}; `seq` is
    the event that holds its parts."""

    final_response: str | None = None
    structured_output: Any = None
    usage: JsonObject | None = None
    artifacts: tuple[JsonObject, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """Why a run did not complete; `reason` is a stable code."""

    message: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Where the run lives at its agent (gateway only). Ids of that hop, never ours."""

    agent: str
    task_id: str | None = None
    context_id: str | None = None
    log_id: str | None = None
    src_seq: int = 0
    agent_url: str | None = None

    @property
    def ref(self) -> JsonObject:
        """The `remote_ref` of the contract (2.3)."""
        return {
            "provider": "a2a",
            "agent_name": self.agent,
            "agent_url": self.agent_url,
            "context_id": self.context_id,
            "task_id": self.task_id,
        }


# Without slots: a fold step copies the members at once, 1 us where dataclasses.replace takes 10.
@dataclass(frozen=True, kw_only=True)
class Run:
    """A run: an A2A task of this server. `context_id` is its session.

    `status_at` is when its status was last said (the A2A status' timestamp, the order of
    ListTasks); `running_us` what it had been running before that, waiting not counted.
    """

    id: str
    context_id: str
    principal: str
    agent: str
    backend: str
    status: RunStatus
    message: Message
    request: CodingRequest
    created_at: int
    updated_at: int
    nickname: str | None = None
    status_at: int = 0
    running_us: int = 0
    started_at: int | None = None
    completed_at: int | None = None
    cancel_requested_at: int | None = None
    last_seq: int = 0
    first_seq: int = 1  # of the events still kept; last_seq + 1 when none is
    epoch: int = 0
    summary: str = "Run queued"
    pending: tuple[PendingRequest, ...] = ()
    result: Result | None = None
    error: RunError | None = None
    remote: Remote | None = None
    metadata: JsonObject = field(default_factory=dict[str, Any])

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A context of this server: runs of one conversation, bound to one agent and folder."""

    id: str
    principal: str
    agent: str
    backend: str
    cwd: str | None
    created_at: int
    updated_at: int
    nickname: str | None = None
    backend_session_id: str | None = None
    remote: Remote | None = None
    metadata: JsonObject = field(default_factory=dict[str, Any])


class AfterTerminalError(Exception):
    """Nothing is appended to a run that has ended."""

    def __init__(self, run_id: str, status: RunStatus) -> None:
        super().__init__(f"run {run_id} is {status}; nothing is appended after a terminal event")


def resolutions(
    run: Run, request_ids: Sequence[str], *, how: HOW_RESOLVED, by: str | None = None
) -> list[StatusChanged]:
    """The events by which several pending requests of `run` go away, one after another."""
    left = {item.request_id for item in run.pending}
    events: list[StatusChanged] = []
    for request_id in request_ids:
        left.discard(request_id)
        status = RunStatus.INPUT_REQUIRED if left else RunStatus.RUNNING
        events.append(StatusChanged(status=status, resolved=request_id, how=how, by=by))
    return events


def resolution(
    run: Run, request_id: str, *, how: HOW_RESOLVED, by: str | None = None
) -> StatusChanged:
    """The event by which a pending request of `run` goes away, with the status it leaves."""
    return resolutions(run, [request_id], how=how, by=by)[0]


def follow_up(message: Message) -> MessageAdded:
    """The event of what a caller said to a run."""
    return MessageAdded(role="user", text=message.text, message=to_wire(message))


def shorten(text: str, most: int = SUMMARY_MAX) -> str:
    """One line of `text`, at most `most` characters."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else line[: most - 3] + "..."


def apply(run: Run, event: Event, *, at: int) -> Run:
    """The record after `event` as event number `run.last_seq + 1`.

    Raises: AfterTerminalError, status.IllegalTransitionError.
    """
    if run.terminal:
        raise AfterTerminalError(run.id, run.status)
    changed = _changes(run, event, at)
    status = advance(run.status, changed.get("status", run.status))
    changed |= {"status": status, "last_seq": run.last_seq + 1, "updated_at": at}
    if status is not run.status or event.type in _ASKING:
        changed["status_at"] = at
        if run.status is RunStatus.RUNNING:
            changed["running_us"] = run.running_us + at - run.status_at
    if status is RunStatus.RUNNING and run.started_at is None:
        changed["started_at"] = at
    if status in TERMINAL:
        changed |= {"completed_at": at, "pending": ()}
    return _changed(run, changed)


def with_remote(run: Run, remote: Remote) -> Run:
    """`run`, whose whereabouts are `remote`."""
    return _changed(run, {"remote": remote})


def _changed(run: Run, changed: Mapping[str, Any]) -> Run:
    copy = object.__new__(Run)
    copy.__dict__.update(run.__dict__)
    copy.__dict__.update(changed)
    return copy


def _changes(  # noqa: C901  # the fold is one match over the union
    run: Run, event: Event, at: int
) -> dict[str, Any]:
    match event:
        case RunStarted():
            return {} if run.pending else {"status": RunStatus.RUNNING, "summary": "Run started"}
        case StatusChanged():
            return _status_change(run, event, at)
        case InputRequired():
            pending = tuple(PendingRequest.model_validate(item) for item in event.pending)
            return {
                "status": RunStatus.INPUT_REQUIRED if pending else run.status,
                "pending": pending,
                "summary": shorten(f"Waiting for input: {event.text}"),
            }
        case AuthRequired():
            return {
                "status": RunStatus.AUTH_REQUIRED,
                "summary": shorten(f"Waiting for authentication: {event.text}"),
            }
        case ArtifactAdded():
            result = run.result or Result()
            item = {
                "artifact_id": event.artifact_id,
                "name": event.name,
                "description": event.description,
                "seq": run.last_seq + 1,
            }
            return {"result": replace(result, artifacts=(*result.artifacts, item))}
        case RunCompleted():
            return {
                "status": RunStatus.COMPLETED,
                "summary": shorten(event.final_response or "Run completed"),
                "result": replace(
                    run.result or Result(),
                    final_response=event.final_response,
                    structured_output=event.structured_output,
                    usage=event.usage,
                ),
            }
        case RunFailed():
            return {
                "status": RunStatus.FAILED,
                "summary": shorten(f"Run failed: {event.message}"),
                "error": RunError(message=event.message, reason=event.reason),
                "result": _with_usage(run.result, event.usage),
            }
        case Rejected():
            return {
                "status": RunStatus.REJECTED,
                "summary": shorten(f"Rejected: {event.message}"),
                "error": RunError(message=event.message, reason=event.reason),
            }
        case AgentMessage(text=text):
            return {"summary": shorten(text)} if text.strip() else {}
        case CommandStarted(command=command):
            return {"summary": shorten(f"command_started: {command or ''}")}
        case FileChanged(changes=changes):
            return {"summary": f"Updated {len(changes)} file(s)"}
        case _:
            return {}


def _with_usage(result: Result | None, usage: JsonObject | None) -> Result | None:
    return result if usage is None else replace(result or Result(), usage=usage)


def _status_change(run: Run, event: StatusChanged, at: int) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if event.resolved is not None:
        left = tuple(item for item in run.pending if item.request_id != event.resolved)
        changed["pending"] = left
        if run.status is RunStatus.INPUT_REQUIRED:
            changed["status"] = RunStatus.INPUT_REQUIRED if left else RunStatus.RUNNING
            changed["summary"] = f"Request {event.how or 'resolved'}: {event.resolved}"
        return changed
    if event.cancel_requested_at is not None:
        return {"cancel_requested_at": at, "summary": "Cancel requested"}
    # Only these two move a run: waiting and the other ends have events of their own.
    if event.status == RunStatus.RUNNING and not run.pending:
        return {"status": RunStatus.RUNNING}
    if event.status == RunStatus.CANCELLED:
        error = RunError(
            message=event.message or "cancelled", reason=event.reason or "cancelled_by_caller"
        )
        return {"status": RunStatus.CANCELLED, "summary": "Status: cancelled", "error": error}
    return {}
