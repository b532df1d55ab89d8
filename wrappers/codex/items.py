"""Codex thread items -> run events, by one table; the names of Codex's enums in ours.

Pure. An item of a type that is not in the table becomes a message with its raw form.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from gateway.core.events import (
    AgentMessage,
    CommandFinished,
    CommandStarted,
    Event,
    FileChanged,
    MessageAdded,
    Reasoning,
    ToolFinished,
    ToolStarted,
)
from gateway.core.json import JsonObject, as_object, merge_null

STATUSES: Final[Mapping[str, str]] = {
    "inProgress": "in_progress",
    "completed": "completed",
    "failed": "failed",
    "declined": "declined",
    "interrupted": "interrupted",
}
KILLED: Final = -1  # exit code of a command that was stopped with its turn

# What an item becomes; `author` is the sub-agent's thread, None for the agent itself.
ToEvents: TypeAlias = Callable[[JsonObject, "str | None"], list[Event]]


def started(item: JsonObject, author: str | None) -> list[Event]:
    """The events of an item that begins."""
    return _STARTED.get(str(item.get("type")), _nothing)(item, author)


def finished(item: JsonObject, author: str | None) -> list[Event]:
    """The events of an item that is complete: the truth about it."""
    return _FINISHED.get(str(item.get("type")), _unknown)(item, author)


def left_open(item: JsonObject, author: str | None, status: str) -> list[Event]:
    """The end of an item whose turn ended before it did: `background` or `interrupted`."""
    match item.get("type"):
        case "commandExecution":
            output = str(item.get("aggregatedOutput") or "")
            return [
                CommandFinished(
                    command=item.get("command"),
                    output=output,
                    status=status,
                    tool_use_id=item.get("id"),
                    extra=_by(author),
                )
            ]
        case "fileChange":
            return [FileChanged(changes=changes(item), status=status, extra=_by(author))]
        case kind if kind in _TOOLS:
            return [_tool_finished(item, author, status)]
        case _:
            return []


def changes(item: JsonObject) -> list[JsonObject]:
    """The changes of a patch as {path, kind, diff, move_path?}."""
    found: list[JsonObject] = []
    for change in map(as_object, item.get("changes") or ()):
        kind = as_object(change.get("kind"))
        found.append(
            merge_null(
                {
                    "path": change.get("path"),
                    "kind": kind.get("type"),
                    "diff": change.get("diff"),
                    "move_path": kind.get("move_path"),
                }
            )
        )
    return found


def status_of(item: JsonObject) -> str | None:
    """Codex's status in our words; one that is unknown as it is."""
    status = item.get("status")
    return STATUSES.get(status, status) if isinstance(status, str) else None


def _by(author: str | None, **more: Any) -> JsonObject:
    return merge_null({"agent": author, **more})


def _nothing(item: JsonObject, author: str | None) -> list[Event]:
    return []


def _unknown(item: JsonObject, author: str | None) -> list[Event]:
    return [MessageAdded(role="agent", extra=_by(author, raw=item))]


def _agent_message(item: JsonObject, author: str | None) -> list[Event]:
    text = str(item.get("text") or "")
    extra = _by(
        author, item_id=item.get("id"), phase=item.get("phase"), questions=item.get("questions")
    )
    if author is not None or item.get("questions"):
        return [MessageAdded(role="agent", text=text, extra=extra)]
    return [AgentMessage(text=text, extra=extra)]


def _plan(item: JsonObject, author: str | None) -> list[Event]:
    extra = _by(author, item_id=item.get("id"), phase="plan")
    return [MessageAdded(role="agent", text=str(item.get("text") or ""), extra=extra)]


def _user_message(item: JsonObject, author: str | None) -> list[Event]:
    if author is None:  # what we said ourselves: the run's message, or one that steers it
        return []
    parts = map(as_object, item.get("content") or ())
    text = "\n".join(str(part["text"]) for part in parts if part.get("text"))
    extra = _by(author, item_id=item.get("id"))
    return [MessageAdded(role="user", text=text, extra=extra)] if text else []


def _reasoning(item: JsonObject, author: str | None) -> list[Event]:
    text = "\n".join(item.get("summary") or item.get("content") or ())
    return [Reasoning(text=text, extra=_by(author, item_id=item.get("id")))] if text else []


def _command_started(item: JsonObject, author: str | None) -> list[Event]:
    extra = _by(author, output="", status=status_of(item), cwd=item.get("cwd"))
    return [CommandStarted(command=item.get("command"), tool_use_id=item.get("id"), extra=extra)]


def _command_finished(item: JsonObject, author: str | None) -> list[Event]:
    code = item.get("exitCode")
    return [
        CommandFinished(
            command=item.get("command"),
            output=item.get("aggregatedOutput") or "",
            status="interrupted" if code == KILLED else status_of(item),
            exit_code=code,
            tool_use_id=item.get("id"),
            extra=_by(author, duration_ms=item.get("durationMs")),
        )
    ]


def _file_changed(item: JsonObject, author: str | None) -> list[Event]:
    extra = _by(author, tool_use_id=item.get("id"))
    return [FileChanged(changes=changes(item), status=status_of(item), extra=extra)]


# Items that are a tool's call: type -> (server, tool) where the item does not say it itself.
_TOOLS: Final[Mapping[str, tuple[str, str]]] = {
    "mcpToolCall": ("", ""),
    "dynamicToolCall": ("codex", ""),
    "functionCallOutput": ("codex", ""),
    "webSearch": ("codex", "web_search"),
    "imageView": ("codex", "view_image"),
    "imageGeneration": ("codex", "image_generation"),
    "sleep": ("codex", "sleep"),
    "collabAgentToolCall": ("codex", "agent"),
    "subAgentActivity": ("codex", "agent"),
    "contextCompaction": ("codex", "compaction"),
    "enteredReviewMode": ("codex", "review"),
    "exitedReviewMode": ("codex", "review"),
}
# Members of tool items that are carried on under their own names, and those that make `result`.
_SHOWN: Final = ("prompt", "model", "agentThreadId", "receiverThreadIds", "kind", "success")
_RESULTS: Final = ("result", "contentItems", "results", "output", "savedPath", "review")


def _tool(item: JsonObject) -> tuple[str, JsonObject]:
    server, tool = _TOOLS[str(item["type"])]
    arguments = item.get("arguments")
    if arguments is None:
        asked = {key: item.get(key) for key in ("query", "path", "action", "durationMs")}
        arguments = merge_null(asked) or None
    shown = {_snake(key): item.get(key) for key in _SHOWN}
    return str(item.get("tool") or item.get("name") or tool), {
        "server": item.get("server") or server,
        "arguments": arguments,
        **shown,
    }


def _tool_started(item: JsonObject, author: str | None) -> list[Event]:
    name, extra = _tool(item)
    return [ToolStarted(tool=name, tool_use_id=item.get("id"), extra=_by(author, **extra))]


def _tool_finished(item: JsonObject, author: str | None, status: str | None = None) -> Event:
    name, extra = _tool(item)
    result = next((item[key] for key in _RESULTS if item.get(key) is not None), None)
    return ToolFinished(
        tool=name,
        status=status or status_of(item) or "completed",
        tool_use_id=item.get("id"),
        extra=_by(author, **extra, result=result, error=item.get("error")),
    )


def _tool_ended(item: JsonObject, author: str | None) -> list[Event]:
    return [_tool_finished(item, author)]


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


_STARTED: Final[Mapping[str, ToEvents]] = {
    "commandExecution": _command_started,
    **dict.fromkeys(_TOOLS, _tool_started),
}
_FINISHED: Final[Mapping[str, ToEvents]] = {
    "agentMessage": _agent_message,
    "plan": _plan,
    "userMessage": _user_message,
    "hookPrompt": _nothing,
    "reasoning": _reasoning,
    "commandExecution": _command_finished,
    "fileChange": _file_changed,
    **dict.fromkeys(_TOOLS, _tool_ended),
}
ITEM_TYPES: Final = frozenset(_FINISHED)
