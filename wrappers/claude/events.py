"""claude-agent-sdk messages -> run events, and what of them decides how the run ends.

Pure: knows no process; time is an argument. Each kind of message has one row in a table; a kind
nobody knows becomes a `reasoning` event with its raw payload.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from claude_agent_sdk import (
    AssistantMessage,
    ContentBlock,
    Message,
    ResultMessage,
    ServerToolResultBlock,
    ServerToolUseBlock,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from gateway.core.events import (
    AgentMessage,
    Event,
    FileChanged,
    MessageAdded,
    Reasoning,
    StatusChanged,
    ToolFinished,
    ToolStarted,
)
from gateway.core.json import JsonObject, merge_null
from gateway.core.status import RunStatus
from wrappers.claude.notices import beside, notice, running
from wrappers.claude.tools import AGENT_TOOLS, COMMAND_TOOL, Call, Calls, Todos

PROGRESS_S: Final = 0.2  # at most one event per item in this time (design: deltas are coalesced)
AUTH_ERRORS: Final = frozenset({"authentication_failed", "billing_error"})
AUTH_STATUSES: Final = frozenset({401, 403})
TAKEN_MAX: Final = 64  # messages that one result names at most (SDK, user_message_uuids)
# What the CLI writes into the conversation when it is interrupted; the run's end says the same.
_INTERRUPTED: Final = "[Request interrupted"

_Row: TypeAlias = Callable[[JsonObject, float], list[Event]]


@dataclass(slots=True)
class Reading:
    """What the messages of one run have said so far.

    `ended` alone is the end: a ResultMessage ends a turn, and the CLI starts further turns by
    itself (for a sub-agent that comes back, or a message said meanwhile).
    """

    todos: Todos
    mode: str | None = None
    calls: Calls = field(init=False)
    results: list[ResultMessage] = field(default_factory=list[ResultMessage])
    api_error: str | None = None  # of the last assistant message that is an error
    auth: JsonObject | None = None  # the API refused our credentials; retries are pointless
    refusal: JsonObject | None = None
    awaited: set[str] = field(default_factory=set[str])  # uuids of messages nobody has taken up
    idle: bool = False
    _init: JsonObject | None = None
    _progress: dict[str, float] = field(default_factory=dict[str, float])
    _rows: Mapping[str, _Row] = field(init=False)

    def __post_init__(self) -> None:
        self.calls = Calls(todos=self.todos)
        self._rows = {
            "init": self._began,
            "session_state_changed": self._state,
            "status": self._status,
            "api_retry": self._retry,
            "permission_denied": self._denied,
            "model_refusal_no_fallback": self._refused,
            "task_started": self._task_started,
            "task_progress": self._task_progress,
            "task_notification": self._task_ended,
        }

    @property
    def ended(self) -> bool:
        """A turn has its result, no other is owed, and every message was taken up."""
        return self.turn_over and not self.awaited

    @property
    def turn_over(self) -> bool:
        return self.idle and bool(self.results)

    def feed(self, message: Message, now: float) -> list[Event]:
        """The events of one message; `now` is a monotonic time in seconds."""
        match message:
            case AssistantMessage():
                return [event for block in message.content for event in self._said(block, message)]
            case UserMessage():
                return self._returned(message)
            case SystemMessage():
                return self._system(message, now)
            case ResultMessage():
                return self._turn_ended(message)
            case _:
                return beside(message)

    def _turn_ended(self, result: ResultMessage) -> list[Event]:
        self.results.append(result)
        taken = result.user_message_uuids or ()
        self.awaited -= {result.user_message_uuid, *taken}
        if result.is_error or len(taken) >= TAKEN_MAX:
            self.awaited.clear()  # error results need not name any, a full list not all
        return []

    def interrupt(self) -> list[Event]:
        """The ends of what is still open when the run is over."""
        return self.calls.interrupt()

    # -- what the agent says ---------------------------------------------------------------------

    def _said(self, block: ContentBlock, message: AssistantMessage) -> list[Event]:
        parent = message.parent_tool_use_id
        match block:
            case TextBlock(text=text):
                return self._text(text, message)
            case ThinkingBlock(thinking=thinking):
                extra = merge_null({"parent_tool_use_id": parent})
                return [Reasoning(text=thinking, extra=extra)] if thinking.strip() else []
            case ToolUseBlock() | ServerToolUseBlock():
                call = Call(id=block.id, tool=block.name, input=block.input, parent=parent)
                return self.calls.start(call)
            case ToolResultBlock():
                is_error = bool(block.is_error)
                return self.calls.finish(block.tool_use_id, block.content, is_error, None)
            case ServerToolResultBlock():
                return self.calls.finish(block.tool_use_id, None, False, block.content)

    def _text(self, text: str, message: AssistantMessage) -> list[Event]:
        if message.error is not None:
            if message.parent_tool_use_id is None:  # else the sub-agent's failure, not the run's
                self.api_error = message.error  # the result repeats the text
            return []
        if message.parent_tool_use_id is None:
            self.api_error = None
        else:
            extra = {"parent_tool_use_id": message.parent_tool_use_id}
            return [Reasoning(text=text, extra=extra)]
        extra = merge_null({"message_id": message.message_id})
        return [AgentMessage(text=text, extra=extra)] if text.strip() else []

    def _returned(self, message: UserMessage) -> list[Event]:
        if isinstance(message.content, str):
            return self._noted(message.content, message)
        events: list[Event] = []
        for block in message.content:
            match block:
                case ToolResultBlock():
                    is_error = bool(block.is_error)
                    events += self.calls.finish(
                        block.tool_use_id, block.content, is_error, message.tool_use_result
                    )
                case TextBlock(text=text):
                    events += self._noted(text, message)
                case _:
                    pass  # images of tool results and the like
        return [event for event in events if not self._writes_the_plan(event)]

    def _writes_the_plan(self, event: Event) -> bool:
        """The plan is a file of the CLI's own, outside the folder; it is asked about whole."""
        if self.mode != "plan" or not isinstance(event, FileChanged):
            return False
        folder, _, _ = str(event.changes[0].get("path")).rpartition("/")
        cwd = str((self._init or {}).get("cwd"))
        return folder.endswith("/plans") and not f"{folder}/".startswith(f"{cwd}/")

    def _noted(self, text: str, message: UserMessage) -> list[Event]:
        """Text that the CLI put into the conversation itself."""
        # With a parent it is the prompt of a sub-agent, which its tool_started already holds.
        if message.parent_tool_use_id is not None or text.startswith(_INTERRUPTED):
            return []
        return [MessageAdded(role="system", text=text)]

    # -- system messages -------------------------------------------------------------------------

    def _system(self, message: SystemMessage, now: float) -> list[Event]:
        row = self._rows.get(message.subtype)
        return notice(message.data) if row is None else row(message.data, now)

    def _began(self, data: JsonObject, now: float) -> list[Event]:
        """`init`, repeated with every turn: told once, and again when it says something else."""
        facts = merge_null(
            {
                "backend_session_id": data.get("session_id"),
                "model": data.get("model"),
                "permission_mode": data.get("permissionMode"),
                "tools": data.get("tools"),
                "cwd": data.get("cwd"),
                "api_key_source": data.get("apiKeySource"),
                "version": data.get("claude_code_version"),
                "fast_mode_requested": False,
                "fast_mode_state": data.get("fast_mode_state"),
            }
        )
        self.mode = data.get("permissionMode", self.mode)
        if facts == self._init:
            return []
        self._init = facts
        return [StatusChanged(status=RunStatus.RUNNING, extra=facts)]

    def _state(self, data: JsonObject, now: float) -> list[Event]:
        self.idle = data.get("state") == "idle"
        return []

    def _status(self, data: JsonObject, now: float) -> list[Event]:
        if data.get("status") == "compacting":
            return [Reasoning(text="Compacting the conversation")]
        mode = data.get("permissionMode")
        told, self.mode = self.mode, mode or self.mode
        if self._init is None or mode is None or mode == told:
            return []  # ours, made before the turn; init repeats it
        return [running("permission_mode", permission_mode=mode)]

    def _retry(self, data: JsonObject, now: float) -> list[Event]:
        keys = ("attempt", "max_retries", "retry_delay_ms", "error_status", "error")
        facts = merge_null({key: data.get(key) for key in keys})
        if facts.get("error") in AUTH_ERRORS or facts.get("error_status") == 401:
            self.auth = facts
        return [running("api_retry", **facts)]

    def _denied(self, data: JsonObject, now: float) -> list[Event]:
        """Denied by a rule or mode, without asking; the result that follows is not a failure."""
        self.calls.declined.add(str(data.get("tool_use_id")))
        return []

    def _refused(self, data: JsonObject, now: float) -> list[Event]:
        self.refusal = merge_null(
            {
                "category": data.get("api_refusal_category"),
                "explanation": data.get("api_refusal_explanation"),
            }
        )
        return []

    def _task_started(self, data: JsonObject, now: float) -> list[Event]:
        facts = _task_facts(data, "description", "task_type", "prompt")
        call = str(data.get("tool_use_id"))
        if self.calls.note(call, {"task_id": data.get("task_id")}):
            return []
        return [ToolStarted(tool="Agent", tool_use_id=data.get("tool_use_id"), extra=facts)]

    def _task_progress(self, data: JsonObject, now: float) -> list[Event]:
        task = str(data.get("task_id"))
        if now - self._progress.get(task, -PROGRESS_S) < PROGRESS_S:
            return []  # a sign of life, not content: the latest of a burst is not owed
        self._progress[task] = now
        facts = _task_facts(data, "tool_use_id", "usage", "last_tool_name")
        facts["parent_tool_use_id"] = data.get("tool_use_id")
        return [Reasoning(text=str(data.get("description") or "working"), extra=facts)]

    def _task_ended(self, data: JsonObject, now: float) -> list[Event]:
        facts = _task_facts(data, "summary", "usage", "output_file")
        call = str(data.get("tool_use_id"))
        tool = self.calls.open[call].tool if call in self.calls.open else None
        if tool == COMMAND_TOOL:
            return []
        if tool in AGENT_TOOLS and self.calls.note(call, facts):
            return []  # the call's own result comes next
        status = str(data.get("status") or "completed")
        tool_use_id = data.get("tool_use_id")
        return [ToolFinished(tool="Agent", status=status, tool_use_id=tool_use_id, extra=facts)]


def _task_facts(data: JsonObject, *keys: str) -> JsonObject:
    return merge_null({key: data.get(key) for key in ("task_id", *keys)})
