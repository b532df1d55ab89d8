"""Messages of claude-agent-sdk -> run events, without a process: tables and the odd cases."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    ContentBlock,
    Message,
    RateLimitEvent,
    RateLimitInfo,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from gateway.core.events import (
    AgentMessage,
    AuthRequired,
    CommandFinished,
    Event,
    FileChanged,
    MessageAdded,
    Reasoning,
    Rejected,
    RunCompleted,
    RunFailed,
    StatusChanged,
    TodoUpdated,
    ToolFinished,
    ToolStarted,
)
from gateway.core.json import JsonObject
from wrappers.claude.events import Reading
from wrappers.claude.notices import SILENT
from wrappers.claude.outcome import REASONS, Totals, conclude, totals_after, usage_of
from wrappers.claude.tools import Todos

RESULT = ResultMessage(
    subtype="success",
    duration_ms=10,
    duration_api_ms=5,
    is_error=False,
    num_turns=1,
    session_id="s",
    total_cost_usd=0.5,
    usage={"input_tokens": 3, "server_tool_use": {"web_search_requests": 1}, "speed": "standard"},
    result="fine",
    user_message_uuid="u-1",
    user_message_uuids=["u-1"],
)


def reading() -> Reading:
    return Reading(todos=Todos())


def said(*blocks: ContentBlock, parent: str | None = None, error: Any = None) -> AssistantMessage:
    return AssistantMessage(
        content=list(blocks), model="m", parent_tool_use_id=parent, error=error, message_id="m-1"
    )


def returned(call: str, content: Any, *, is_error: bool = False, result: Any = None) -> UserMessage:
    block = ToolResultBlock(tool_use_id=call, content=content, is_error=is_error)
    return UserMessage(content=[block], tool_use_result=result)


def system(subtype: str, **data: Any) -> SystemMessage:
    return SystemMessage(subtype=subtype, data={"subtype": subtype, **data})


def feed(what: Reading, *messages: Message) -> list[Event]:
    return [event for at, message in enumerate(messages) for event in what.feed(message, at)]


def call(tool: str, arguments: JsonObject, result: Message, parent: str | None = None) -> Event:
    """The last event of one tool call."""
    use = ToolUseBlock(id="t-1", name=tool, input=arguments)
    return feed(reading(), said(use, parent=parent), result)[-1]


def test_every_kind_of_message_can_be_read() -> None:
    samples: dict[str, Message] = {
        "UserMessage": UserMessage(content="[Request interrupted by user]"),
        "AssistantMessage": said(TextBlock(text="hello")),
        "SystemMessage": system("status"),
        "ResultMessage": RESULT,
        "RateLimitEvent": RateLimitEvent(
            rate_limit_info=RateLimitInfo(status="allowed_warning", raw={"status": "x"}),
            uuid="u",
            session_id="s",
        ),
    }
    kinds = {kind.__name__ for kind in get_args(Message)}
    assert kinds - set(samples) <= {"StreamEvent", "ConversationResetMessage"}
    for message in samples.values():
        reading().feed(message, 0)


def test_an_unknown_system_message_is_kept_with_its_payload() -> None:
    (event,) = feed(reading(), system("brand_new", colour="blue"))

    assert isinstance(event, Reasoning)
    assert event.extra["raw_message"] == {"subtype": "brand_new", "colour": "blue"}


@pytest.mark.parametrize("subtype", sorted(SILENT))
def test_system_messages_that_say_nothing_new_are_silent(subtype: str) -> None:
    assert feed(reading(), system(subtype)) == []


def test_texts_of_the_agent_and_of_its_helpers_are_told_apart() -> None:
    own, helper = feed(
        reading(), said(TextBlock(text="mine")), said(TextBlock(text="theirs"), parent="t-9")
    )

    assert own == AgentMessage(text="mine", extra={"message_id": "m-1"})
    assert helper == Reasoning(text="theirs", extra={"parent_tool_use_id": "t-9"})


def test_an_empty_thought_is_no_event() -> None:
    assert feed(reading(), said(ThinkingBlock(thinking="", signature="s"))) == []


def test_an_api_error_spoken_by_the_cli_is_no_message_of_the_agent() -> None:
    what = reading()

    assert feed(what, said(TextBlock(text="API Error: 400"), error="invalid_request")) == []
    assert what.api_error == "invalid_request"


@pytest.mark.parametrize(
    ("content", "is_error", "result", "expected"),
    [
        ("out", False, {"stdout": "out", "interrupted": False}, ("completed", 0, "out")),
        ("Exit code 3\nboom", True, "Error: Exit code 3\nboom", ("failed", 3, "boom")),
        ("Exit code 127", True, "Error: Exit code 127", ("failed", 127, "")),
        ("out", False, None, ("completed", 0, "out")),
        ("part", False, {"stdout": "part", "interrupted": True}, ("interrupted", None, "part")),
        ("on", False, {"stdout": "", "backgroundTaskId": "b"}, ("background", None, "")),
        (
            "The tool was rejected",
            True,
            "Error: rejected",
            ("failed", None, "The tool was rejected"),
        ),
    ],
)
def test_the_end_of_a_command(
    content: str, is_error: bool, result: Any, expected: tuple[str, int | None, str]
) -> None:
    event = call(
        "Bash", {"command": "x"}, returned("t-1", content, is_error=is_error, result=result)
    )

    assert isinstance(event, CommandFinished)
    assert (event.status, event.exit_code, event.output) == expected


def test_a_declined_call_is_declined_whatever_its_result_says() -> None:
    what = reading()
    feed(what, said(ToolUseBlock(id="t-1", name="Bash", input={"command": "x"})))
    what.calls.declined.add("t-1")
    (event,) = feed(what, returned("t-1", "no", is_error=True, result="Error: no"))

    assert isinstance(event, CommandFinished)
    assert event.status == "declined"


def test_files_that_a_command_changed_are_file_changes() -> None:
    hunk = {"oldStart": 1, "oldLines": 1, "newStart": 1, "newLines": 1, "lines": ["-a", "+b"]}
    files = [{"filePath": "/w/a", "created": False, "hunks": [hunk]}]
    result = {"stdout": "", "bashEditDiff": {"files": files}}
    event = call("Bash", {"command": "sed"}, returned("t-1", "", result=result))

    assert isinstance(event, FileChanged)
    assert event.changes == [
        {"path": "/w/a", "kind": "update", "diff": "@@ -1,1 +1,1 @@\n-a\n+b\n"}
    ]


def test_a_failed_edit_changes_no_file() -> None:
    event = call("Edit", {"file_path": "/w/a"}, returned("t-1", "no such text", is_error=True))

    assert isinstance(event, ToolFinished)
    assert (event.status, event.extra["output"]) == ("failed", "no such text")


def test_the_older_todo_tool_gives_the_same_list() -> None:
    todos = [{"content": "a", "status": "completed"}, {"content": "b", "status": "pending"}]
    event = call("TodoWrite", {"todos": todos}, returned("t-1", "ok", result={"newTodos": todos}))

    assert event == TodoUpdated(
        items=[{"text": "a", "completed": True}, {"text": "b", "completed": False}]
    )


def test_a_deleted_task_leaves_the_list_and_an_unknown_one_joins_it() -> None:
    todos = Todos(items={"1": {"subject": "a", "status": "pending"}})
    what = Reading(todos=todos)
    delete = ToolUseBlock(id="t-1", name="TaskUpdate", input={"taskId": "1", "status": "deleted"})
    finish = ToolUseBlock(id="t-2", name="TaskUpdate", input={"taskId": "7", "status": "completed"})
    events = feed(
        what,
        said(delete),
        returned("t-1", "ok", result={"taskId": "1"}),
        said(finish),
        returned("t-2", "ok", result={"taskId": "7"}),
    )

    assert events == [
        TodoUpdated(items=[]),
        TodoUpdated(items=[{"text": "task 7", "completed": True}]),
    ]


def test_a_helpers_own_list_is_a_tool() -> None:
    result = UserMessage(
        content=[ToolResultBlock(tool_use_id="t-1", content="ok")], parent_tool_use_id="t-0"
    )
    event = call("TaskCreate", {"subject": "a"}, result, parent="t-0")

    assert isinstance(event, ToolFinished)
    assert event.extra["parent_tool_use_id"] == "t-0"


def test_the_questions_tool_is_no_tool_to_the_caller() -> None:
    use = ToolUseBlock(id="t-1", name="AskUserQuestion", input={})

    assert feed(reading(), said(use), returned("t-1", "answered")) == []


def test_what_is_open_at_the_end_is_interrupted() -> None:
    what = reading()
    feed(
        what,
        said(ToolUseBlock(id="t-1", name="Bash", input={"command": "x"})),
        said(ToolUseBlock(id="t-2", name="WebFetch", input={"url": "u"})),
        said(ToolUseBlock(id="t-3", name="AskUserQuestion", input={})),
    )
    command, tool = what.interrupt()

    assert isinstance(command, CommandFinished)
    assert isinstance(tool, ToolFinished)
    assert (command.status, tool.status) == ("interrupted", "interrupted")
    assert what.interrupt() == []


def test_progress_of_a_helper_is_thinned_out() -> None:
    what = reading()
    progress = system("task_progress", task_id="a", description="reading")
    events = [event for at in (0.0, 0.05, 0.1, 0.25) for event in what.feed(progress, at)]

    assert len(events) == 2


def test_a_helper_nobody_called_for_still_starts_and_ends() -> None:
    started, finished = feed(
        reading(),
        system("task_started", task_id="a", tool_use_id=None, description="d", prompt="p"),
        system("task_notification", task_id="a", status="failed", summary="s", output_file="f"),
    )

    assert isinstance(started, ToolStarted)
    assert isinstance(finished, ToolFinished)
    assert (finished.status, finished.extra["summary"]) == ("failed", "s")


def test_init_is_told_once_and_a_later_mode_change_is_told() -> None:
    init = system("init", session_id="s", model="m", permissionMode="plan", tools=["Bash"])
    events = feed(
        reading(),
        system("status", permissionMode="plan"),
        init,
        init,
        system("status", permissionMode="default"),
    )

    first, second = events
    assert isinstance(first, StatusChanged)
    assert first.extra["tools"] == ["Bash"]
    assert isinstance(second, StatusChanged)
    assert second.extra == {"detail": "permission_mode", "permission_mode": "default"}


def test_what_the_cli_itself_adds_is_a_system_message() -> None:
    noted, nothing = UserMessage(content="limit hit"), UserMessage(content="[Request interrupted]")

    assert feed(reading(), noted, nothing) == [MessageAdded(role="system", text="limit hit")]


# -- the end -----------------------------------------------------------------------------------


def test_a_result_alone_is_not_the_end() -> None:
    what = reading()
    what.awaited.add("u-1")
    running, idle = (system("session_state_changed", state=state) for state in ("running", "idle"))

    feed(what, running, RESULT)
    assert not what.ended
    feed(what, idle)
    assert what.ended


def test_a_message_not_taken_up_yet_keeps_the_run_going() -> None:
    what = reading()
    what.awaited |= {"u-1", "u-2"}
    idle = system("session_state_changed", state="idle")

    feed(what, RESULT, idle)
    assert not what.ended
    feed(what, replace(RESULT, user_message_uuid="u-2", user_message_uuids=["u-2"]), idle)
    assert what.ended


def concluded(result: ResultMessage, *before: Message, schema: JsonObject | None = None) -> Event:
    what = reading()
    feed(what, *before, result)
    return conclude(what, schema=schema, before=Totals())[-1]


@pytest.mark.parametrize(("subtype", "reason"), sorted(REASONS.items()))
def test_every_failing_result_has_a_reason(subtype: str, reason: str) -> None:
    event = concluded(replace(RESULT, subtype=subtype, is_error=True, result=None, errors=["why"]))

    assert isinstance(event, RunFailed)
    assert (event.reason, event.message) == (reason, "why")


def test_success_by_name_is_no_success_when_it_is_an_error() -> None:
    event = concluded(replace(RESULT, is_error=True, api_error_status=529, result="API Error"))

    assert isinstance(event, RunFailed)
    assert event.reason == "api_error"


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_asked_for(status: int) -> None:
    event = concluded(replace(RESULT, is_error=True, api_error_status=status))

    assert isinstance(event, AuthRequired)


def test_an_empty_account_is_told_as_such() -> None:
    spoken = said(TextBlock(text="Credit balance is too low"), error="billing_error")
    event = concluded(replace(RESULT, is_error=True, result="Credit balance is too low"), spoken)

    assert isinstance(event, AuthRequired)
    assert "login" not in event.text


def test_a_refusal_is_a_rejection() -> None:
    event = concluded(replace(RESULT, is_error=True, stop_reason="refusal", result="no"))

    assert isinstance(event, Rejected)
    assert (event.message, event.reason) == ("no", "refusal")


def test_structured_output_that_is_missing_is_a_failure() -> None:
    event = concluded(RESULT, schema={"type": "object"})

    assert isinstance(event, RunFailed)
    assert event.reason == "schema_mismatch"


def test_the_last_result_speaks_for_the_run() -> None:
    event = concluded(replace(RESULT, result="last"), replace(RESULT, result="first"))

    assert isinstance(event, RunCompleted)
    assert event.final_response == "last"
    assert event.usage is not None
    assert event.usage["num_turns"] == 2


# -- usage -------------------------------------------------------------------------------------


def counted(cost: float, tokens: int) -> ResultMessage:
    model: Any = {"m": {"inputTokens": tokens, "costUSD": cost, "contextWindow": 200}}
    return replace(RESULT, total_cost_usd=cost, model_usage=model)


def test_a_run_uses_what_the_session_did_not_use_before() -> None:
    before = totals_after(Totals(), [counted(1.0, 100)])
    usage = usage_of([counted(1.5, 130)], before)

    assert usage is not None
    assert usage["total_cost_usd"] == 0.5
    assert usage["model_usage"] == {"m": {"inputTokens": 30, "costUSD": 0.5, "contextWindow": 200}}
    assert usage["usage"] == RESULT.usage


def test_totals_that_began_anew_are_the_runs_own() -> None:
    before = totals_after(Totals(), [counted(1.0, 100)])
    usage = usage_of([counted(0.25, 10)], before)

    assert usage is not None
    assert usage["total_cost_usd"] == 0.25
    assert usage["model_usage"]["m"]["inputTokens"] == 10


def test_counters_of_several_turns_are_added() -> None:
    usage = usage_of([counted(1.0, 100), counted(1.5, 130)], Totals())

    assert usage is not None
    assert usage["usage"]["input_tokens"] == 6
    assert usage["usage"]["server_tool_use"] == {"web_search_requests": 2}
    assert usage["duration_ms"] == 20
