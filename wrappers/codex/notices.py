"""Notifications that say something beside the work -> events; which of Codex's we let pass.

Pure. A notification that Codex did not have when this was written is shown with its raw form.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from gateway.core.events import Event, StatusChanged, TodoUpdated
from gateway.core.json import JsonObject, as_object, merge_null
from wrappers.codex.wire import Incoming

STEP_STATUSES: Final[Mapping[str, str]] = {
    "pending": "pending",
    "inProgress": "in_progress",
    "completed": "completed",
}
WARNINGS: Final = frozenset(
    {"configWarning", "deprecationNotice", "guardianWarning", "model/rerouted", "warning"}
)
# Known, and nothing to a run: other features, other clients, or said by an item as well.
IGNORED: Final = frozenset(
    {
        "autoApprovalReview/strictReviewRequired",
        "item/agentMessage/delta",
        "item/commandExecution/terminalInteraction",
        "item/fileChange/outputDelta",
        "item/fileChange/patchUpdated",
        "item/plan/delta",
        "item/reasoning/summaryPartAdded",
        "item/reasoning/summaryTextDelta",
        "item/reasoning/textDelta",
        "mcpServer/oauthLogin/completed",
        "model/safetyBuffering/updated",
        "model/verification",
        "turn/moderationMetadata",
    }
)
IGNORED_PREFIXES: Final = (
    "account/",
    "app/",
    "command/exec/",
    "externalAgentConfig/",
    "fs/",
    "fuzzyFileSearch/",
    "hook/",
    "item/autoApprovalReview/",
    "mcpServer/event/",
    "modelProvider/",
    "process/",
    "project/",
    "rawResponse",
    "remoteControl/",
    "skills/",
    "thread/",
    "windows",
)

# parameters, the sub-agent that speaks, the run's present status
ToEvents: TypeAlias = Callable[[JsonObject, "str | None", str], list[Event]]


def read(message: Incoming, author: str | None, status: str) -> list[Event]:
    """What a notification tells; `status` is the run's present one."""
    method = message.method
    if (to_events := HANDLED.get(method)) is not None:
        return to_events(message.params, author, status)
    if method in IGNORED or method.startswith(IGNORED_PREFIXES):
        return []
    raw: JsonObject = {"method": method, "params": message.params}
    return [StatusChanged(status=status, reason="unknown_notice", extra={"raw": raw})]


def _todo(params: JsonObject, author: str | None, status: str) -> list[Event]:
    entries: list[JsonObject] = []
    for step in map(as_object, params.get("plan") or ()):
        state = STEP_STATUSES.get(str(step.get("status")), str(step.get("status")))
        entry: JsonObject = {"text": step.get("step"), "completed": state == "completed"}
        entries.append({**entry, "status": state})
    extra = merge_null({"explanation": params.get("explanation"), "agent": author})
    return [TodoUpdated(items=entries, extra=extra)]


def _error(params: JsonObject, author: str | None, status: str) -> list[Event]:
    if not params.get("willRetry"):
        return []  # `turn/completed` brings it again
    text = str(as_object(params.get("error")).get("message") or "the model did not answer")
    return [StatusChanged(status=status, reason="retrying", message=text)]


def _progress(params: JsonObject, author: str | None, status: str) -> list[Event]:
    extra = merge_null({"item_id": params.get("itemId"), "agent": author})
    text = str(params.get("message") or "")
    return [StatusChanged(status=status, reason="progress", message=text, extra=extra)]


def _warning(params: JsonObject, author: str | None, status: str) -> list[Event]:
    text = params.get("message") or params.get("summary") or params.get("reason") or "unspecified"
    return [StatusChanged(status=status, reason="warning", message=str(text))]


def _mcp_startup(params: JsonObject, author: str | None, status: str) -> list[Event]:
    if params.get("status") != "failed":
        return []
    text = f"MCP server {params.get('name')} did not start"
    return [StatusChanged(status=status, reason="warning", message=text)]


HANDLED: Final[Mapping[str, ToEvents]] = {
    "error": _error,
    "item/mcpToolCall/progress": _progress,
    "mcpServer/startupStatus/updated": _mcp_startup,
    "turn/plan/updated": _todo,
    **dict.fromkeys(WARNINGS, _warning),
}
