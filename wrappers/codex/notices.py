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
WARNING: Final = "warning"  # the reason of their events
# Known, and nothing to a run: other features, other clients, or said by an item as well.
IGNORED: Final = frozenset(
    {
        "autoApprovalReview/strictReviewRequired",
        "item/agentMessage/delta",
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
    return [_said(status, "retrying", text, author)]


def _progress(params: JsonObject, author: str | None, status: str) -> list[Event]:
    text = str(params.get("message") or "")
    return [_said(status, "progress", text, author, item_id=params.get("itemId"))]


def _warning(params: JsonObject, author: str | None, status: str) -> list[Event]:
    text = params.get("message") or params.get("summary") or params.get("reason") or "unspecified"
    return [_said(status, WARNING, str(text), author)]


def _rerouted(params: JsonObject, author: str | None, status: str) -> list[Event]:
    text = f"model {params.get('fromModel')} was replaced by {params.get('toModel')}"
    why = params.get("reason")
    return [_said(status, WARNING, f"{text} ({why})" if why else text, author)]


def _mcp_startup(params: JsonObject, author: str | None, status: str) -> list[Event]:
    if params.get("status") != "failed":
        return []
    why = params.get("error")
    name = params.get("name")
    text = f"MCP server {name} did not start" + (f": {why}" if why else "")
    if params.get("failureReason") == "reauthenticationRequired":
        text += f"; log in to it with `codex mcp login {name}`"
    return [_said(status, WARNING, text, author)]


def sub_agent_ended(turn: JsonObject, author: str, status: str) -> list[Event]:
    """What the end of a sub-agent's turn tells: its failure, which is not the run's."""
    if turn.get("status") != "failed":
        return []
    why = as_object(turn.get("error")).get("message") or "no reason given"
    return [_said(status, WARNING, f"a sub-agent failed: {why}", author)]


def unpermitted(params: JsonObject, author: str | None, status: str) -> list[Event]:
    """An MCP server's tool needs a permission that nobody is asked for in this run's mode."""
    server, tool = params.get("serverName"), as_object(params.get("_meta")).get("tool_name")
    text = (
        f"tool {tool} of MCP server {server} needs permission and was refused; run with "
        f"permission_mode ask, or approve it in codex's config (mcp_servers.{server})"
    )
    return [_said(status, WARNING, text, author)]


def _said(
    status: str, reason: str, text: str, author: str | None, item_id: str | None = None
) -> Event:
    extra = merge_null({"item_id": item_id, "agent": author})
    return StatusChanged(status=status, reason=reason, message=text, extra=extra)


HANDLED: Final[Mapping[str, ToEvents]] = {
    "error": _error,
    "item/mcpToolCall/progress": _progress,
    "mcpServer/startupStatus/updated": _mcp_startup,
    "turn/plan/updated": _todo,
    **dict.fromkeys(WARNINGS, _warning),
    "model/rerouted": _rerouted,
}
