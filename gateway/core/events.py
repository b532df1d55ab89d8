"""The 18 event types of a run as frozen values, and their JSON form.

Pure. An event carries what the core itself reads as fields; every other key of the contract's
data (it differs by vendor) travels in `extra` and is neither renamed nor dropped. The fields that
are None are absent from the JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Literal, TypeAlias

from gateway.core.json import JsonObject

HOW_RESOLVED: TypeAlias = Literal["answered", "expired", "withdrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    type: ClassVar[str]
    extra: JsonObject = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(_Event):
    """The agent took the run up. `extra` says with what (thread, session, model, remote_ref)."""

    type: ClassVar[str] = "run_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged(_Event):
    """The status, or something said beside it (a reason, a resolved request, a cancel request).

    `resolved` is a request id of `pending`; `how` it went away; `by` the principal who answered.
    `cancel_requested_at` is an ISO time: the run is asked to stop and has not confirmed it yet.
    `status: cancelled` is the terminal event of a cancelled run.
    """

    type: ClassVar[str] = "status_changed"
    status: str
    reason: str | None = None
    message: str | None = None
    resolved: str | None = None
    how: HOW_RESOLVED | None = None
    by: str | None = None
    cancel_requested_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMessage(_Event):
    """A whole message of the agent."""

    type: ClassVar[str] = "agent_message"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAdded(_Event):
    """A message that is not the agent's own word: a caller's follow-up, a sub-agent's, a raw one.

    `message` is the A2A 1.0 JSON form where there is one.
    """

    type: ClassVar[str] = "message_added"
    role: str
    text: str | None = None
    message: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning(_Event):
    type: ClassVar[str] = "reasoning"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStarted(_Event):
    type: ClassVar[str] = "command_started"
    command: str | None = None
    tool_use_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandUpdated(_Event):
    """Output since the last update (at most one event per 200 ms and item), or a sign of life."""

    type: ClassVar[str] = "command_updated"
    command: str | None = None
    output: str | None = None
    tool_use_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFinished(_Event):
    """`status` is completed, failed, declined, interrupted or background; `output` the whole."""

    type: ClassVar[str] = "command_finished"
    command: str | None = None
    output: str | None = None
    status: str | None = None
    exit_code: int | None = None
    tool_use_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChanged(_Event):
    """`changes` is a list of {path, kind: add|update|delete, diff?}."""

    type: ClassVar[str] = "file_changed"
    changes: list[JsonObject]
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(_Event):
    type: ClassVar[str] = "tool_started"
    tool: str
    tool_use_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(_Event):
    type: ClassVar[str] = "tool_finished"
    tool: str
    status: str | None = None
    tool_use_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactAdded(_Event):
    """`parts` are A2A 1.0 parts; `text` their text where there is one."""

    type: ClassVar[str] = "artifact_added"
    artifact_id: str
    name: str | None = None
    description: str | None = None
    parts: list[JsonObject]
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TodoUpdated(_Event):
    """`items` is the whole list of {text, completed}."""

    type: ClassVar[str] = "todo_updated"
    items: list[JsonObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRequired(_Event):
    """A request was added: `pending` is the whole list (`extension.PendingRequest` as JSON)."""

    type: ClassVar[str] = "input_required"
    text: str
    pending: list[JsonObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthRequired(_Event):
    """Credentials are missing or refused; `text` names the command or URL to log in with."""

    type: ClassVar[str] = "auth_required"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(_Event):
    """Terminal: the agent would not do it (a refusal, a full queue)."""

    type: ClassVar[str] = "rejected"
    message: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCompleted(_Event):
    """Terminal: `final_response` is the agent's last answer; `usage` counts this run alone."""

    type: ClassVar[str] = "run_completed"
    final_response: str | None = None
    structured_output: Any = None
    usage: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed(_Event):
    """Terminal: `reason` is a stable code (`agent_unreachable`, `interrupted`, `deadline`, …)."""

    type: ClassVar[str] = "run_failed"
    message: str
    reason: str | None = None
    usage: JsonObject | None = None


Event: TypeAlias = (
    RunStarted
    | StatusChanged
    | AgentMessage
    | MessageAdded
    | Reasoning
    | CommandStarted
    | CommandUpdated
    | CommandFinished
    | FileChanged
    | ToolStarted
    | ToolFinished
    | ArtifactAdded
    | TodoUpdated
    | InputRequired
    | AuthRequired
    | Rejected
    | RunCompleted
    | RunFailed
)

_CLASSES: Final[tuple[type[Event], ...]] = (
    RunStarted,
    StatusChanged,
    AgentMessage,
    MessageAdded,
    Reasoning,
    CommandStarted,
    CommandUpdated,
    CommandFinished,
    FileChanged,
    ToolStarted,
    ToolFinished,
    ArtifactAdded,
    TodoUpdated,
    InputRequired,
    AuthRequired,
    Rejected,
    RunCompleted,
    RunFailed,
)
EVENT_TYPES: Final[Mapping[str, type[Event]]] = {cls.type: cls for cls in _CLASSES}
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    cls.type: tuple(f.name for f in fields(cls) if f.name != "extra") for cls in _CLASSES
}


class UnknownEventTypeError(ValueError):
    """The type is none of the 18; keep the item as `message_added` with its raw payload."""

    def __init__(self, type_: str) -> None:
        super().__init__(f"unknown event type {type_!r}")


def encode(event: Event) -> JsonObject:
    """The `data` object of an event: its fields that are set, then its `extra`."""
    data: JsonObject = {}
    for name in _FIELDS[event.type]:
        value = getattr(event, name)
        if value is not None:
            data[name] = value
    data.update(event.extra)
    return data


def decode(type_: str, data: Mapping[str, Any]) -> Event:
    """The event of a type and its data. Raises: UnknownEventTypeError, TypeError (a field missing)."""
    cls = EVENT_TYPES.get(type_)
    if cls is None:
        raise UnknownEventTypeError(type_)
    known = _FIELDS[type_]
    return cls(
        **{name: data[name] for name in known if data.get(name) is not None},
        extra={key: value for key, value in data.items() if key not in known},
    )
