"""What Claude Code says beside its work -> run events: a table by the subtype of system messages, and
the messages that are no turn's.

Pure; each row speaks for itself, without what was said before.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from claude_agent_sdk import ConversationResetMessage, RateLimitEvent, StreamEvent

from gateway.core.events import Event, Reasoning, StatusChanged
from gateway.core.json import JsonObject, merge_null
from gateway.core.status import RunStatus

Row: TypeAlias = Callable[[JsonObject], list[Event]]

# System messages that say what other messages say too, or nothing a caller could use.
SILENT: Final = frozenset(
    {
        "thinking_tokens",
        "task_updated",
        "hook_started",
        "hook_progress",
        "hook_response",
        "background_tasks_changed",
        "commands_changed",
        "session_title_changed",
    }
)


def running(detail: str, **facts: Any) -> StatusChanged:
    """The run goes on; `detail` says what happened beside it."""
    return StatusChanged(status=RunStatus.RUNNING, extra={"detail": detail, **facts})


def notice(data: JsonObject) -> list[Event]:
    """A system message by its row; one that nobody knows is kept whole."""
    subtype = str(data.get("subtype"))
    if subtype in SILENT:
        return []
    row = _ROWS.get(subtype)
    if row is None:
        return [Reasoning(text=f"system/{subtype}", extra={"raw_message": data})]
    return row(data)


def beside(message: RateLimitEvent | ConversationResetMessage | StreamEvent) -> list[Event]:
    match message:
        case RateLimitEvent():
            return [running("rate_limit", rate_limit_info=message.rate_limit_info.raw)]
        case ConversationResetMessage():
            return [running("conversation_reset", session=message.new_conversation_id)]
        case StreamEvent():
            return []  # parts of whole messages that follow; not asked for


def _compacted(data: JsonObject) -> list[Event]:
    facts = {"compact_metadata": data.get("compact_metadata")}
    return [Reasoning(text="Compacted the conversation", extra=facts)]


def _informed(data: JsonObject) -> list[Event]:
    text = str(data.get("content") or data.get("text") or "")
    keys = ("level", "priority")
    return [Reasoning(text=text, extra=merge_null({key: data.get(key) for key in keys}))]


def _other_model(data: JsonObject) -> list[Event]:
    keys = ("content", "trigger", "original_model", "fallback_model")
    return [running("model_fallback", **merge_null({key: data.get(key) for key in keys}))]


_ROWS: Final[Mapping[str, Row]] = {
    "compact_boundary": _compacted,
    "informational": _informed,
    "notification": _informed,
    "model_fallback": _other_model,
    "model_refusal_fallback": _other_model,
    "model_consent_fallback": _other_model,
}
