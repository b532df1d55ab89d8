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
)
from gateway.core.json import JsonObject, as_object, merge_null
from wrappers.codex import diffs, tools

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


def left_open(item: JsonObject, author: str | None, status: str, output: str = "") -> list[Event]:
    """The end of an item whose turn ended before it did: `background` or `interrupted`.

    `output` is what a command was heard to say.
    """
    match item.get("type"):
        case "commandExecution":
            return [
                CommandFinished(
                    command=item.get("command"),
                    output=str(item.get("aggregatedOutput") or output),
                    status=status,
                    tool_use_id=item.get("id"),
                    extra=_by(author),
                )
            ]
        case "fileChange":
            return _file_changed({**item, "status": status}, author)
        case kind if kind in tools.TOOLS:
            return tools.finished(item, _by(author), status)
        case _:
            return []


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
    return [FileChanged(changes=diffs.changes(item), status=status_of(item), extra=extra)]


def _tool_started(item: JsonObject, author: str | None) -> list[Event]:
    return tools.started(item, _by(author))


def _tool_ended(item: JsonObject, author: str | None) -> list[Event]:
    return tools.finished(item, _by(author), status_of(item) or "completed")


_STARTED: Final[Mapping[str, ToEvents]] = {
    "commandExecution": _command_started,
    **dict.fromkeys(tools.TOOLS, _tool_started),
}
_FINISHED: Final[Mapping[str, ToEvents]] = {
    "agentMessage": _agent_message,
    "plan": _plan,
    "userMessage": _user_message,
    "hookPrompt": _nothing,
    "reasoning": _reasoning,
    "commandExecution": _command_finished,
    "fileChange": _file_changed,
    **dict.fromkeys(tools.TOOLS, _tool_ended),
}
ITEM_TYPES: Final = frozenset(_FINISHED)
