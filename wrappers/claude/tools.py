"""Claude Code's tool calls and their results -> run events.

Pure: knows no process and no time. A call's result comes in a later message, so the calls that are
open are kept here; what a tool returned beside its text (`tool_use_result`) is undocumented and
read leniently. The calls of a sub-agent come without it: there the text alone speaks.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from gateway.core.events import (
    CommandFinished,
    CommandStarted,
    Event,
    TodoUpdated,
    ToolFinished,
    ToolStarted,
)
from gateway.core.json import JsonObject, as_object, merge_null
from wrappers.claude.files import FILE_TOOLS, changed_by_command, changed_by_tool
from wrappers.claude.values import objects

COMMAND_TOOL: Final = "Bash"
AGENT_TOOLS: Final = frozenset({"Agent", "Task"})
# What these return beside their text repeats whole files and prompts that other events have.
REPEATING_TOOLS: Final = FILE_TOOLS | AGENT_TOOLS | {"Read"}
TODO_TOOLS: Final = frozenset({"TodoWrite", "TaskCreate", "TaskUpdate", "TaskList"})
# Shown as pending requests and as the run's result, not as tools.
SILENT_TOOLS: Final = frozenset({"AskUserQuestion", "ExitPlanMode", "StructuredOutput"})

_EXIT_CODE: Final = re.compile(r"\A(?:Error: )?Exit code (\d+)\n?")
# What the CLI puts around a tool's own words.
_ERROR: Final = re.compile(r"\A<tool_use_error>(.*)</tool_use_error>\Z", re.DOTALL)
_KEPT: Final = re.compile(
    r"\A<persisted-output>\n.*?Full output saved to: ([^\n]+)\n"
    r"|\AError: result \([^\n]+\) exceeds [^\n]*Output has been saved to ([^\n]+?)\.\n",
    re.DOTALL,
)
_NO_OUTPUT: Final = "(Bash completed with no output)"
_NOTE: Final = "<tools-used-before-summary>"  # beside a sub-agent's report
# The result of a call that was cut off, or that a refused permission ended with the whole turn.
_STOPPED: Final = "User rejected tool use"
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
        return None if self.tool in SILENT_TOOLS or self.is_todo else self.told()

    def told(self) -> Event:
        extra = merge_null({"input": self.input, "parent_tool_use_id": self.parent})
        return ToolStarted(tool=self.tool, tool_use_id=self.id, extra=extra)

    @property
    def is_todo(self) -> bool:
        """Only the main agent's list is the run's; a sub-agent keeps its own."""
        return self.tool in TODO_TOOLS and self.parent is None

    @property
    def by(self) -> JsonObject:
        """The keys that say whose doing a file's change is."""
        return merge_null({"tool_use_id": self.id, "parent_tool_use_id": self.parent})

    def tags(self, **more: Any) -> JsonObject:
        """The keys that say which command this is."""
        return merge_null({"tool": self.tool, "parent_tool_use_id": self.parent, **more})


def text_of(content: Content) -> str:
    """The text of a tool result's content blocks."""
    if content is None or isinstance(content, str):
        text = content or ""
    else:
        text = "\n".join(str(block.get("text") or "") for block in content if "text" in block)
    error = _ERROR.match(text)
    return error.group(1) if error else text


def beyond_text(content: Content) -> list[JsonObject] | None:
    """The content blocks of a tool result that holds more than text: images, documents."""
    if content is None or isinstance(content, str):
        return None
    return content if any(block.get("type") != "text" for block in content) else None


def kept_at(text: str, details: JsonObject) -> str | None:
    """The file in which the CLI keeps an output that was too long for the conversation."""
    found = _KEPT.match(text)
    return details.get("persistedOutputPath") or (found[1] or found[2] if found else None)


@dataclass(slots=True)
class Todos:
    """The agent's list, of whichever of its two families of tools."""

    items: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    _told: list[JsonObject] | None = None

    def apply(self, call: Call, result: JsonObject) -> list[Event]:
        """The whole list after a call; nothing when it says what was said before."""
        match call.tool:
            case "TodoWrite":
                todos = objects(result.get("newTodos") or call.input.get("todos"))
                self.items = {str(at): todo for at, todo in enumerate(todos)}
            case "TaskCreate":
                task = as_object(result.get("task"))
                self.items[str(task.get("id"))] = {**call.input, **task, "status": "pending"}
            case "TaskList":
                tasks = objects(result.get("tasks"))
                self.items = {str(task.get("id")): task for task in tasks}
            case _:
                self._update(str(result.get("taskId")), call.input)
        items: list[JsonObject] = [
            {
                "text": str(item.get("content") or item.get("subject") or f"task {key}"),
                "completed": item.get("status") == "completed",
            }
            for key, item in self.items.items()
        ]
        told, self._told = self._told, items
        return [] if items == told else [TodoUpdated(items=items)]

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
        stopped = is_error and result == _STOPPED
        if call.tool == COMMAND_TOOL:
            finished = self._command(call, text, is_error, details, stopped=stopped)
            return [finished, *changed_by_command(details, call.by)]
        if call.tool in SILENT_TOOLS and (not is_error or stopped or call_id in self.declined):
            return []
        if call.is_todo and details.get("success") is False:
            is_error = True  # no such task: only its text says so to the model
        if call.is_todo and not is_error:
            return self.todos.apply(call, details)
        changed: list[Event] = []
        if call.tool in FILE_TOOLS and not is_error:
            changed = changed_by_tool(call.tool, call.input, text, details, call.by)
        # What is silent while it works is told as a whole when it fails.
        begun = [] if call.started() is not None else [call.told()]
        return [*begun, *changed, self._tool(call, content, is_error, result, stopped=stopped)]

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

    def _command(
        self, call: Call, text: str, is_error: bool, details: JsonObject, *, stopped: bool
    ) -> Event:
        code = _EXIT_CODE.match(text) if is_error else None
        output: str | None = text[code.end() :] if code else str(details.get("stdout") or "")
        if not code and not details:  # an error without an exit code, or a sub-agent's command
            output = "" if text == _NO_OUTPUT else text
        if stopped:  # the text is the CLI's own, for the model; what was printed is lost
            output = None
        interrupted = stopped or bool(details.get("interrupted"))
        status = self._status(call.id, is_error=is_error, interrupted=interrupted)
        background = details.get("backgroundTaskId")
        unknown = is_error or interrupted or background
        return CommandFinished(
            command=call.command,
            output=output,
            status="background" if background else status,
            exit_code=int(code.group(1)) if code else (None if unknown else 0),
            tool_use_id=call.id,
            extra=call.tags(
                is_error=is_error,
                stderr=details.get("stderr") or None,
                interrupted=interrupted or None,
                background_task_id=background,
                persisted_output_path=kept_at(text, details),
                persisted_output_size=details.get("persistedOutputSize"),
            ),
        )

    def _tool(
        self, call: Call, content: Content, is_error: bool, result: object, *, stopped: bool
    ) -> Event:
        notes = self.notes.pop(call.id, {})
        text: str | None = text_of(content)
        kept = kept_at(text, {})
        # Not the same again beside the output: for a long one it would be as long.
        plain = call.tool in REPEATING_TOOLS or isinstance(result, str) or kept is not None
        if call.tool in AGENT_TOOLS and not is_error:
            text = _report(result) or notes.get("summary") or text
        return ToolFinished(
            tool=call.tool,
            status=self._status(call.id, is_error=is_error, interrupted=stopped),
            tool_use_id=call.id,
            extra=merge_null(
                {
                    "output": None if stopped else text,
                    "is_error": is_error,
                    "content": beyond_text(content),
                    "parent_tool_use_id": call.parent,
                    "raw_tool_use_result": None if plain else result,
                    "persisted_output_path": kept,
                    **notes,
                }
            ),
        )


def _report(result: object) -> str:
    """What a sub-agent handed back, whole; the CLI's note and its summary may cut it short."""
    blocks = objects(as_object(result).get("content"))
    texts = [str(block.get("text") or "") for block in blocks]
    return "\n".join(text for text in texts if text and not text.startswith(_NOTE))
