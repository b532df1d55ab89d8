"""Claude Code's tool calls and their results -> run events.

Pure: knows no process and no time. A call's result comes in a later message, so the calls that are
open are kept here; what a tool returned beside its text (`tool_use_result`) is undocumented and
read leniently.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from gateway.core.events import (
    CommandFinished,
    CommandStarted,
    Event,
    FileChanged,
    TodoUpdated,
    ToolFinished,
    ToolStarted,
)
from gateway.core.json import JsonObject, as_object, merge_null

COMMAND_TOOL: Final = "Bash"
AGENT_TOOLS: Final = frozenset({"Agent", "Task"})
FILE_TOOLS: Final = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})
# What these return beside their text repeats whole files and prompts that other events have.
REPEATING_TOOLS: Final = FILE_TOOLS | AGENT_TOOLS | {"Read"}
TODO_TOOLS: Final = frozenset({"TodoWrite", "TaskCreate", "TaskUpdate", "TaskList"})
# Shown as pending requests and as the run's result, not as tools.
SILENT_TOOLS: Final = frozenset({"AskUserQuestion", "ExitPlanMode", "StructuredOutput"})

_EXIT_CODE: Final = re.compile(r"\A(?:Error: )?Exit code (\d+)\n?")
Content: TypeAlias = str | list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call without its result yet; `parent` is the call whose sub-agent made it."""

    id: str
    tool: str
    input: JsonObject
    parent: str | None = None

    @property
    def command(self) -> str | None:
        return self.input.get("command") if self.tool == COMMAND_TOOL else None

    def started(self) -> Event | None:
        if self.tool == COMMAND_TOOL:
            return CommandStarted(
                command=self.command,
                tool_use_id=self.id,
                extra=self.tags(description=self.input.get("description")),
            )
        if self.tool in SILENT_TOOLS or self.is_todo:
            return None
        return ToolStarted(
            tool=self.tool,
            tool_use_id=self.id,
            extra=merge_null({"input": self.input, "parent_tool_use_id": self.parent}),
        )

    @property
    def is_todo(self) -> bool:
        """Only the main agent's list is the run's; a sub-agent keeps its own."""
        return self.tool in TODO_TOOLS and self.parent is None

    def tags(self, **more: Any) -> JsonObject:
        """The keys that say which command this is."""
        return merge_null({"tool": self.tool, "parent_tool_use_id": self.parent, **more})


def text_of(content: Content) -> str:
    """The text of a tool result's content blocks."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(str(block.get("text") or "") for block in content if "text" in block)


@dataclass(slots=True)
class Todos:
    """The agent's list, of whichever of its two families of tools."""

    items: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])

    def apply(self, call: Call, result: JsonObject) -> TodoUpdated:
        match call.tool:
            case "TodoWrite":
                todos = _objects(result.get("newTodos") or call.input.get("todos"))
                self.items = {str(at): todo for at, todo in enumerate(todos)}
            case "TaskCreate":
                task = as_object(result.get("task"))
                self.items[str(task.get("id"))] = {**call.input, **task, "status": "pending"}
            case "TaskList":
                tasks = _objects(result.get("tasks"))
                self.items = {str(task.get("id")): task for task in tasks}
            case _:
                self._update(str(result.get("taskId")), call.input)
        return TodoUpdated(
            items=[
                {
                    "text": str(item.get("content") or item.get("subject") or f"task {key}"),
                    "completed": item.get("status") == "completed",
                }
                for key, item in self.items.items()
            ]
        )

    def _update(self, task: str, change: JsonObject) -> None:
        if change.get("status") == "deleted":
            self.items.pop(task, None)
            return
        known = {key: change[key] for key in ("status", "subject") if change.get(key)}
        self.items[task] = {**self.items.get(task, {}), **known}


@dataclass(slots=True)
class Calls:
    """The open tool calls of one run, in the order they were made."""

    todos: Todos
    open: dict[str, Call] = field(default_factory=dict[str, Call])
    declined: set[str] = field(default_factory=set[str])
    notes: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])

    def start(self, call: Call) -> list[Event]:
        self.open[call.id] = call
        event = call.started()
        return [] if event is None else [event]

    def note(self, call_id: str, facts: JsonObject) -> bool:
        """Something said about an open call before its result. False when none is open."""
        if call_id not in self.open:
            return False
        self.notes.setdefault(call_id, {}).update(facts)
        return True

    def finish(self, call_id: str, content: Content, is_error: bool, result: object) -> list[Event]:
        """The events of a tool's result; `result` is what the tool returned beside its text."""
        call = self.open.pop(call_id, None) or Call(id=call_id, tool="unknown", input={})
        text, details = text_of(content), as_object(result)
        if call.tool == COMMAND_TOOL:
            finished = self._command(call, text, is_error, details)
            return [finished, *_files_of_command(details)]
        if call.is_todo and not is_error:
            return [self.todos.apply(call, details)]
        if call.tool in SILENT_TOOLS and not is_error:
            return []
        if call.tool in SILENT_TOOLS and call_id in self.declined:
            return []
        changed = _file_of_tool(details) if call.tool in FILE_TOOLS and not is_error else []
        return [*changed, self._tool(call, text, is_error, result)]

    def interrupt(self) -> list[Event]:
        """The ends of calls whose results will not come any more."""
        events: list[Event] = []
        for call in list(self.open.values()):
            if call.tool == COMMAND_TOOL:
                status = self._status(call.id, is_error=True, interrupted=True)
                events.append(
                    CommandFinished(
                        command=call.command,
                        status=status,
                        tool_use_id=call.id,
                        extra=call.tags(interrupted=True),
                    )
                )
            elif call.started() is not None:
                extra = merge_null({"is_error": True, "parent_tool_use_id": call.parent})
                status = self._status(call.id, is_error=True, interrupted=True)
                events.append(
                    ToolFinished(tool=call.tool, status=status, tool_use_id=call.id, extra=extra)
                )
        self.open.clear()
        return events

    def _status(self, call_id: str, *, is_error: bool, interrupted: bool = False) -> str:
        if call_id in self.declined:
            return "declined"
        if interrupted:
            return "interrupted"
        return "failed" if is_error else "completed"

    def _command(self, call: Call, text: str, is_error: bool, details: JsonObject) -> Event:
        code = _EXIT_CODE.match(text) if is_error else None
        output = text[code.end() :] if code else str(details.get("stdout") or "")
        if not code and not details:  # an error without an exit code, or a sub-agent's command
            output = text
        interrupted = bool(details.get("interrupted"))
        status = self._status(call.id, is_error=is_error, interrupted=interrupted)
        background = details.get("backgroundTaskId")
        return CommandFinished(
            command=call.command,
            output=output,
            status="background" if background else status,
            exit_code=int(code.group(1)) if code else (None if is_error or background else 0),
            tool_use_id=call.id,
            extra=call.tags(
                is_error=is_error,
                stderr=details.get("stderr") or None,
                interrupted=interrupted or None,
                background_task_id=background,
                persisted_output_path=details.get("persistedOutputPath"),
                persisted_output_size=details.get("persistedOutputSize"),
            ),
        )

    def _tool(self, call: Call, text: str, is_error: bool, result: object) -> Event:
        notes = self.notes.pop(call.id, {})
        plain = call.tool in REPEATING_TOOLS or isinstance(result, str)
        if call.tool in AGENT_TOOLS and not is_error:
            text = str(notes.get("summary") or text)
        return ToolFinished(
            tool=call.tool,
            status=self._status(call.id, is_error=is_error),
            tool_use_id=call.id,
            extra=merge_null(
                {
                    "output": text,
                    "is_error": is_error,
                    "parent_tool_use_id": call.parent,
                    "raw_tool_use_result": None if plain else result,
                    **notes,
                }
            ),
        )


# -- files -------------------------------------------------------------------------------------


def _objects(value: object) -> list[JsonObject]:
    return [as_object(item) for item in cast("list[object]", value)] if _is_list(value) else []


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def diff_of(hunks: object) -> str:
    """Unified diff text, without file names, of `structuredPatch` hunks."""
    lines: list[str] = []
    for hunk in _objects(hunks):
        old = f"-{hunk.get('oldStart', 0)},{hunk.get('oldLines', 0)}"
        new = f"+{hunk.get('newStart', 0)},{hunk.get('newLines', 0)}"
        lines.append(f"@@ {old} {new} @@")
        lines += [str(line) for line in cast("Sequence[object]", hunk.get("lines") or ())]
    return "".join(f"{line}\n" for line in lines)


def _added(content: object) -> str:
    lines = str(content or "").splitlines()
    return "".join([f"@@ -0,0 +1,{len(lines)} @@\n", *(f"+{line}\n" for line in lines)])


def _file_of_tool(details: JsonObject) -> list[Event]:
    path = details.get("filePath") or details.get("notebook_path")
    if not path:
        return []
    if details.get("type") == "create":
        change = {"path": path, "kind": "add", "diff": _added(details.get("content"))}
    else:
        diff = diff_of(details.get("structuredPatch")) or None
        change = merge_null({"path": path, "kind": "update", "diff": diff})
    return [FileChanged(changes=[change], status="completed")]


def _files_of_command(details: JsonObject) -> list[Event]:
    """What Claude Code saw a command change in a git work tree."""
    changes = [
        merge_null(
            {
                "path": file.get("filePath"),
                "kind": "add" if file.get("created") else "update",
                "diff": diff_of(file.get("hunks")) or None,
            }
        )
        for file in _objects(as_object(details.get("bashEditDiff")).get("files"))
    ]
    return [FileChanged(changes=changes, status="completed")] if changes else []
