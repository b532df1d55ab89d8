"""The mapping of Codex's messages, without Codex: what is said, and what becomes of it."""

from typing import Any

import pytest

from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    AuthRequired,
    CommandFinished,
    CommandUpdated,
    Event,
    MessageAdded,
    Rejected,
    RunCompleted,
    RunFailed,
    RunStarted,
    StatusChanged,
    ToolFinished,
    ToolStarted,
    encode,
)
from gateway.core.extension import Answer, PendingRequest
from tests.models.openai_script import PIXEL
from wrappers.adapter import Ask, Step, Withdraw
from wrappers.codex import diffs, requests
from wrappers.codex.deltas import INTERVAL_S, Deltas
from wrappers.codex.events import TurnFold
from wrappers.codex.wire import Incoming

THREAD, TURN = "thread-1", "turn-1"
COMMAND = {"type": "commandExecution", "id": "i-1", "command": "make", "cwd": "/w"}


def message(
    method: str,
    /,
    thread: str = THREAD,
    turn: str | None = TURN,
    ask: int | None = None,
    **params: Any,
) -> Incoming:
    if turn is not None:
        params = {"turnId": turn, **params}
    return Incoming(method=method, params=params, thread=thread, request_id=ask)


def item(method: str, /, thread: str = THREAD, turn: str = TURN, **fields: Any) -> Incoming:
    return message(f"item/{method}", thread=thread, turn=turn, item=fields)


def ended(status: str, /, **error: Any) -> Incoming:
    turn = {"id": TURN, "status": status, "error": error or None}
    return Incoming(method="turn/completed", params={"turn": turn}, thread=THREAD)


def begun() -> TurnFold:
    fold = TurnFold(THREAD)
    fold.begin(TURN)
    return fold


def folded(*messages: Incoming, cancelled: bool = False, schema: Any = None) -> list[Step]:
    """The steps of a run with these messages, to its end."""
    fold = begun()
    steps = [step for said in messages for step in fold.take(said, 0.0)]
    return steps + fold.end(cancelled=cancelled, schema=schema)


def test_the_run_starts_once_however_many_turns_it_takes() -> None:
    started = Incoming(method="turn/started", params={"turn": {"id": TURN}}, thread=THREAD)
    steps = folded(started, started, ended("completed"))
    assert [type(step) for step in steps].count(RunStarted) == 1


def test_what_belongs_to_an_earlier_turn_is_not_this_runs() -> None:
    late = item("completed", turn="turn-0", **COMMAND, status="failed", exitCode=-1)
    steps = folded(late, ended("completed"))
    assert steps == [RunCompleted()]


def test_the_final_answer_is_the_last_one_that_is_no_commentary() -> None:
    steps = folded(
        item("completed", type="agentMessage", id="a", text="first", phase="final_answer"),
        item("completed", type="agentMessage", id="b", text="aside", phase="commentary"),
        item("completed", type="agentMessage", id="c", text="well?", questions=[{"title": "x"}]),
        ended("completed"),
    )
    assert steps[-1] == RunCompleted(final_response="first")
    assert isinstance(steps[-2], MessageAdded)


def test_with_commentary_alone_its_last_is_the_answer() -> None:
    aside = item("completed", type="agentMessage", id="b", text="aside", phase="commentary")
    assert folded(aside, ended("completed"))[-1] == RunCompleted(final_response="aside")


@pytest.mark.parametrize(
    ("text", "value"), [('{"a": 1}', {"a": 1}), ("[1]", [1]), ("no json", None)]
)
def test_an_answer_that_is_json_is_structured_without_a_schema_too(text: str, value: Any) -> None:
    said = item("completed", type="agentMessage", id="a", text=text, phase=None)
    end = folded(said, ended("completed"))[-1]
    assert isinstance(end, RunCompleted)
    assert end.structured_output == value


def test_items_left_open_are_closed_before_the_end() -> None:
    steps = folded(
        item("started", **COMMAND),
        item("started", type="mcpToolCall", id="i-2", server="s", tool="t", arguments={"a": 1}),
        ended("completed"),
    )
    command, tool = steps[-3], steps[-2]
    assert isinstance(command, CommandFinished)
    assert (command.command, command.status) == ("make", "background")
    assert isinstance(tool, ToolFinished)
    assert (tool.tool, tool.status, tool.extra["server"]) == ("t", "background", "s")
    assert isinstance(steps[-1], RunCompleted)


def test_a_cancelled_run_ends_cancelled_whatever_codex_says_of_it() -> None:
    for status in ("interrupted", "completed", "failed"):
        end = folded(item("started", **COMMAND), ended(status), cancelled=True)[-1]
        assert end == StatusChanged(status="cancelled", reason="cancelled_by_caller")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [("failed", -1, "interrupted"), ("failed", 137, "interrupted"), ("completed", 0, "completed")],
)
def test_a_command_that_is_killed_after_its_turn_is_interrupted(
    status: str, code: int, expected: str
) -> None:
    # With the sandbox the exit code of a killed command is -1 at one time and 137 at another.
    late = item("completed", **COMMAND, status=status, exitCode=code)
    steps = folded(item("started", **COMMAND), ended("interrupted"), late, cancelled=True)
    assert [step.status for step in steps if isinstance(step, CommandFinished)] == [expected]


def test_an_interruption_that_nobody_asked_for_is_a_failure_that_can_go_on() -> None:
    end = folded(ended("interrupted"))[-1]
    assert isinstance(end, RunFailed)
    assert end.reason == "interrupted"


def test_an_error_that_codex_retries_is_no_failure() -> None:
    steps = folded(
        message("error", error={"message": "Reconnecting... 1/2"}, willRetry=True),
        message("error", error={"message": "gone"}, willRetry=False),
        ended("completed"),
    )
    assert steps == [
        StatusChanged(status="running", reason="retrying", message="Reconnecting... 1/2"),
        RunCompleted(),
    ]


@pytest.mark.parametrize(
    ("info", "kind", "reason"),
    [
        ("contextWindowExceeded", RunFailed, "context_window_exceeded"),
        (
            {"responseTooManyFailedAttempts": {"httpStatusCode": 429}},
            RunFailed,
            "model_unreachable",
        ),
        ("somethingNew", RunFailed, "agent_error"),
        (None, RunFailed, "agent_error"),
        ("cyberPolicy", Rejected, "policy"),
        ("unauthorized", AuthRequired, None),
        ({"httpConnectionFailed": {"httpStatusCode": 401}}, AuthRequired, None),
        ({"responseStreamConnectionFailed": {"httpStatusCode": 403}}, AuthRequired, None),
    ],
)
def test_a_failed_turn_ends_by_its_kind(info: Any, kind: type[Event], reason: str | None) -> None:
    end = folded(ended("failed", message="no", codexErrorInfo=info))[-1]
    assert type(end) is kind
    assert getattr(end, "reason", None) == reason


def test_usage_is_the_difference_to_what_the_thread_had_before() -> None:
    def tokens(total: int, last: int) -> Incoming:
        counts = {"total": {"inputTokens": total}, "last": {"inputTokens": last}}
        return message("thread/tokenUsage/updated", tokenUsage=counts)

    end = folded(tokens(1100, 100), tokens(1350, 250), ended("completed"))[-1]
    assert isinstance(end, RunCompleted)
    assert end.usage is not None
    assert end.usage["input_tokens"] == 350


def test_sub_agents_speak_under_their_own_name() -> None:
    steps = folded(
        item("completed", thread="kid", turn="k", type="agentMessage", id="a", text="found it"),
        item("completed", thread="kid", turn="k", **COMMAND, status="completed", exitCode=0),
        item("started", type="collabAgentToolCall", id="x", tool="spawnAgent", prompt="look"),
        ended("completed"),
    )
    said, command, tool = steps[:3]
    assert isinstance(said, MessageAdded)
    assert (said.role, said.text, said.extra["agent"]) == ("agent", "found it", "kid")
    assert isinstance(command, CommandFinished)
    assert command.extra["agent"] == "kid"
    assert isinstance(tool, ToolStarted)
    assert (tool.tool, tool.extra["prompt"]) == ("spawnAgent", "look")
    assert isinstance(steps[-1], RunCompleted)
    assert steps[-1].final_response is None


def test_a_sub_agents_end_is_not_the_runs() -> None:
    fold = begun()
    kid = {"turn": {"id": "k", "status": "completed"}}
    fold.take(Incoming(method="turn/started", params=kid, thread="kid"), 0.0)
    assert fold.sub_turns == {"kid": "k"}
    fold.take(Incoming(method="turn/completed", params=kid, thread="kid"), 0.0)
    assert fold.sub_turns == {}
    assert fold.ended is None


def test_what_codex_did_not_have_yet_is_kept_raw() -> None:
    steps = folded(
        item("completed", type="hologram", id="h", shape="cube"),
        message("brand/new", what="ever"),
        ended("completed"),
    )
    unknown, notice = steps[:2]
    assert isinstance(unknown, MessageAdded)
    assert unknown.extra["raw"]["shape"] == "cube"
    assert isinstance(notice, StatusChanged)
    assert notice.extra["raw"]["method"] == "brand/new"


def test_an_mcp_tools_call_keeps_the_contracts_keys() -> None:
    call: dict[str, Any] = {"type": "mcpToolCall", "id": "t", "server": "docs", "tool": "search"}
    call |= {"arguments": {"q": "x"}, "result": {"content": []}, "error": None}
    (step, _) = folded(item("completed", **call, status="completed"), ended("completed"))
    assert isinstance(step, Event)
    assert encode(step) == {
        "tool": "search",
        "status": "completed",
        "tool_use_id": "t",
        "server": "docs",
        "arguments": {"q": "x"},
        "result": {"content": []},
    }


def test_a_picture_of_the_models_own_is_an_artifact_and_not_a_text() -> None:
    # No endpoint but OpenAI's own lets Codex make one: written after its schema.
    made = {"type": "imageGeneration", "id": "g", "revisedPrompt": "a dot", "result": PIXEL}
    tool, picture, _ = folded(
        item("completed", **made, status="completed", savedPath="/w/dot.png"), ended("completed")
    )
    assert isinstance(tool, ToolFinished)
    assert tool.extra["result"] == {"saved_path": "/w/dot.png", "artifact_id": "image-g"}
    assert isinstance(picture, ArtifactAdded)
    assert picture.parts == [{"raw": PIXEL, "mediaType": "image/png"}]
    assert picture.description == "a dot"


def test_a_picture_that_is_kept_elsewhere_is_named() -> None:
    made = {"type": "imageGeneration", "id": "g", "fileId": "file-1", "result": ""}
    (tool, _) = folded(item("completed", **made, status="completed"), ended("completed"))
    assert isinstance(tool, ToolFinished)
    assert tool.extra["result"] == {"file_id": "file-1"}


@pytest.mark.parametrize(
    ("kind", "text", "diff"),
    [
        ("add", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"),
        ("add", "a", "@@ -0,0 +1,1 @@\n+a\n\\ No newline at end of file\n"),
        ("add", "", ""),
        ("add", "\n", "@@ -0,0 +1,1 @@\n+\n"),
        ("delete", "a\n", "@@ -1,1 +0,0 @@\n-a\n"),
        ("update", "@@ -1 +1 @@\n-a\n+b\n", "@@ -1 +1 @@\n-a\n+b\n"),
        ("update", "@@ -1 +1 @@\n-a\n+b\n\n\nMoved to: /w/c", "@@ -1 +1 @@\n-a\n+b\n"),
    ],
)
def test_every_change_has_hunks_whatever_codex_says_of_it(kind: str, text: str, diff: str) -> None:
    change = {"path": "/w/a", "kind": {"type": kind, "move_path": "/w/c"}, "diff": text}
    (found,) = diffs.changes({"changes": [change]})
    assert found == {"path": "/w/a", "kind": kind, "diff": diff, "move_path": "/w/c"}


def test_the_diffs_of_a_runs_turns_are_one_and_a_sub_agents_its_own() -> None:
    fold = begun()

    def changed(diff: str, turn: str = TURN, thread: str = THREAD) -> None:
        fold.take(message("turn/diff/updated", thread=thread, turn=turn, diff=diff), 0.0)

    changed("first")
    changed("+one\n")
    changed("+kid\n", "k", "kid")
    fold.take(ended("completed"), 0.0)
    fold.begin("turn-2")
    changed("+two\n", "turn-2")
    fold.ended = {"status": "completed"}
    found = [step for step in fold.end(cancelled=False) if isinstance(step, ArtifactAdded)]
    assert [(step.artifact_id, step.text) for step in found] == [
        ("turn-diff", "+one\n+two\n"),
        ("turn-diff-kid", "+kid\n"),
    ]
    assert found[1].extra == {"agent": "kid"}


def test_what_is_said_before_the_run_starts_comes_after_its_start_and_a_warning_once() -> None:
    fold = TurnFold(THREAD)
    warning = message("warning", turn=None, message="careful")
    assert fold.take(warning, 0.0) == []
    fold.begin(TURN)
    steps = fold.take(
        Incoming(method="turn/started", params={"turn": {"id": TURN}}, thread=THREAD), 0.0
    )
    assert isinstance(steps[1], RunStarted)
    assert steps[-1] == StatusChanged(status="running", reason="warning", message="careful")
    assert fold.take(warning, 0.0) == []


def test_what_is_said_of_a_run_that_never_starts_is_not_lost() -> None:
    steps = folded(message("warning", message="careful"), ended("failed", message="no"))
    assert [type(step) for step in steps] == [StatusChanged, RunFailed]


def test_an_answer_that_is_cut_twice_is_told_once() -> None:
    cut = message("error", error={"message": "Reconnecting..."}, willRetry=True)

    def said(number: int, text: str) -> Incoming:
        return item(
            "completed", type="agentMessage", id=f"m-{number}", text=text, phase="commentary"
        )

    steps = folded(
        said(1, "a"),
        said(2, "b"),
        cut,
        said(3, "a"),
        cut,
        said(4, "a"),
        said(5, "b"),
        said(6, "a"),
        ended("completed"),
    )
    texts = [step.text for step in steps if isinstance(step, AgentMessage)]
    assert texts == ["a", "b", "a"]
    assert isinstance(steps[-1], RunCompleted)
    assert steps[-1].final_response == "a"


def test_the_same_words_in_another_answer_are_told() -> None:
    said = item("completed", type="agentMessage", id="m", text="a", phase="commentary")
    counts = message("thread/tokenUsage/updated", tokenUsage={"total": {}, "last": {}})
    cut = message("error", error={"message": "Reconnecting..."}, willRetry=True)
    steps = folded(said, counts, cut, said, ended("completed"))
    assert len([step for step in steps if isinstance(step, AgentMessage)]) == 2


def test_a_sub_agent_that_fails_is_a_warning() -> None:
    turn = {"id": "k", "status": "failed", "error": {"message": "no model"}}
    started = Incoming(method="turn/started", params={"turn": {"id": TURN}}, thread=THREAD)
    failed = Incoming(method="turn/completed", params={"turn": turn}, thread="kid")
    steps = folded(started, failed, ended("completed"))
    assert steps[-2] == StatusChanged(
        status="running",
        reason="warning",
        message="a sub-agent failed: no model",
        extra={"agent": "kid"},
    )


def test_an_mcp_server_that_needs_a_login_is_named_with_the_command() -> None:
    steps = folded(
        message(
            "mcpServer/startupStatus/updated",
            name="docs",
            status="failed",
            error="401",
            failureReason="reauthenticationRequired",
        ),
        ended("completed"),
    )
    assert isinstance(steps[0], StatusChanged)
    assert "`codex mcp login docs`" in (steps[0].message or "")


def test_an_mcp_tools_progress_is_told() -> None:
    # Neither 0.163 nor 0.169 passes on what the server says; the schema has it.
    progress = message("item/mcpToolCall/progress", itemId="i-2", message="half way")
    started = Incoming(method="turn/started", params={"turn": {"id": TURN}}, thread=THREAD)
    step = folded(started, progress, ended("completed"))[-2]
    assert step == StatusChanged(
        status="running", reason="progress", message="half way", extra={"item_id": "i-2"}
    )


# -- pieces ------------------------------------------------------------------------------------


def test_pieces_are_gathered_until_their_time_has_come() -> None:
    deltas: Deltas[str] = Deltas()
    deltas.add("a", "one ", 0.0)
    deltas.add("a", "two ", 0.1)
    deltas.add("b", "other", 0.15)
    assert deltas.due == INTERVAL_S
    assert deltas.ripe(0.19) == []
    assert deltas.ripe(INTERVAL_S) == [("a", "one two ")]
    assert deltas.rest() == [("b", "other")]
    assert deltas.due is None


def test_output_goes_on_after_a_piece_and_what_is_left_comes_with_the_whole() -> None:
    fold = begun()
    fold.take(item("started", **COMMAND), 0.0)
    delta = "item/commandExecution/outputDelta"
    assert fold.take(message(delta, itemId="i-1", delta="a"), 0.0) == []
    (update,) = fold.take(message(delta, itemId="i-1", delta="b"), INTERVAL_S)
    assert isinstance(update, CommandUpdated)
    assert (update.command, update.output) == ("make", "ab")
    fold.take(message(delta, itemId="i-1", delta="c"), INTERVAL_S)
    whole = item("completed", **COMMAND, status="completed", aggregatedOutput="abc", exitCode=0)
    (end,) = fold.take(whole, INTERVAL_S)
    assert isinstance(end, CommandFinished)
    assert end.output == "abc"
    assert fold.due is None


def test_what_is_gathered_when_the_turn_ends_is_not_lost() -> None:
    fold = begun()
    fold.take(item("started", **COMMAND), 0.0)
    fold.take(message("item/commandExecution/outputDelta", itemId="i-1", delta="tail"), 0.0)
    fold.take(ended("completed"), 0.0)
    update, finish, _ = fold.end(cancelled=False)
    assert isinstance(update, CommandUpdated)
    assert update.output == "tail"
    assert isinstance(finish, CommandFinished)


# -- requests ----------------------------------------------------------------------------------


def asked(method: str, /, **params: Any) -> requests.Asked:
    found = requests.ask(method, {"turnId": TURN, **params}, 7, changes=[])
    assert found is not None
    return found


def answer(option: str | None = None, **more: Any) -> Answer:
    return Answer(request_id="q", option=option, **more)


@pytest.mark.parametrize(
    ("option", "decision"),
    [
        ("allow", "accept"),
        ("allow_session", "acceptForSession"),
        ("deny", "decline"),
        ("abort", "cancel"),
    ],
)
def test_a_permissions_option_is_codexs_decision(option: str, decision: str) -> None:
    for method in ("item/commandExecution/requestApproval", "item/fileChange/requestApproval"):
        assert asked(method, command="ls").reply(answer(option)) == {"decision": decision}


def test_more_permissions_are_granted_as_they_were_asked_for_or_not_at_all() -> None:
    found = asked("item/permissions/requestApproval", permissions={"network": {"enabled": True}})
    granted = {"network": {"enabled": True}}
    assert found.reply(answer("allow")) == {"permissions": granted, "scope": "turn"}
    assert found.reply(answer("allow_session")) == {"permissions": granted, "scope": "session"}
    assert found.reply(answer("deny")) == {"permissions": {}, "scope": "turn"}


def test_questions_take_labels_lists_and_free_text() -> None:
    questions = [{"id": "a", "question": "A?", "header": "h", "options": None}]
    found = asked("item/tool/requestUserInput", questions=questions)
    assert found.pending.kind == "question"
    assert found.reply(answer(answers={"a": "x"})) == {"answers": {"a": {"answers": ["x"]}}}
    assert found.reply(answer(answers={"a": ["x", "y"]}))["answers"]["a"]["answers"] == ["x", "y"]
    assert found.reply(answer(message="so"))["answers"]["a"]["answers"] == ["so"]


def test_an_mcp_servers_tool_form_and_page_are_three_kinds() -> None:
    method = "mcpServer/elicitation/request"
    meta = {"codex_approval_kind": "mcp_tool_call", "tool_name": "rm", "tool_params": {"p": 1}}
    tool = asked(method, serverName="fs", mode="form", message="ok?", _meta=meta)
    form = asked(method, serverName="fs", mode="form", message="who?", requestedSchema={"a": 1})
    page = asked(method, serverName="fs", mode="url", message="go", url="https://x.test/")
    kinds = [found.pending.kind for found in (tool, form, page)]
    assert kinds == ["permission", "form", "url"]
    assert tool.pending.tool == "fs.rm"
    assert tool.reply(answer("allow_session"))["_meta"] == {"persist": "session"}
    assert form.reply(answer(answers={"name": "ada"}))["content"] == {"name": "ada"}
    assert form.reply(answer(message="no"))["action"] == "decline"
    assert page.reply(answer("allow"))["action"] == "accept"


def test_a_tool_that_needs_permission_is_refused_where_nobody_is_asked_for_any() -> None:
    fold = TurnFold(THREAD, permits=False)
    fold.begin(TURN)
    fold.take(Incoming(method="turn/started", params={"turn": {"id": TURN}}, thread=THREAD), 0.0)
    call: dict[str, Any] = {"type": "mcpToolCall", "id": "t", "server": "fs", "tool": "rm"}
    fold.take(item("started", **call, arguments={"p": 1}), 0.0)
    meta = {"codex_approval_kind": "mcp_tool_call", "tool_params": {"p": 1}}
    method = "mcpServer/elicitation/request"
    form = message(method, ask=1, serverName="fs", mode="form", message="who?", _meta=None)
    (ask,) = fold.take(form, 0.0)
    assert isinstance(ask, Ask)
    tool = message(method, ask=2, serverName="fs", mode="form", message="ok?", _meta=meta)
    (warning,) = fold.take(tool, 0.0)
    assert isinstance(warning, StatusChanged)
    assert "tool rm of MCP server fs" in (warning.message or "")
    (end,) = fold.take(item("completed", **call, arguments={"p": 1}, status="failed"), 0.0)
    assert isinstance(end, ToolFinished)
    assert end.status == "declined"


def test_a_request_that_is_answered_elsewhere_is_withdrawn() -> None:
    fold = begun()
    request = message("item/commandExecution/requestApproval", ask=4, itemId="i", command="rm x")
    (ask,) = fold.take(request, 0.0)
    assert isinstance(ask, Ask)
    assert fold.waiting == "input_required"
    steps = fold.take(message("serverRequest/resolved", turn=None, requestId=4), 0.0)
    assert steps == [Withdraw(request_id=ask.request.request_id)]
    assert fold.answered(Answer(request_id=ask.request.request_id, option="allow")) is None


def test_an_answered_request_is_not_withdrawn_as_well() -> None:
    fold = begun()
    request = message("item/commandExecution/requestApproval", ask=4, itemId="i", command="rm x")
    (ask,) = fold.take(request, 0.0)
    assert isinstance(ask, Ask)
    assert fold.answered(Answer(request_id=ask.request.request_id, option="allow")) is not None
    assert fold.take(message("serverRequest/resolved", turn=None, requestId=4), 0.0) == []
    assert fold.waiting == "running"


def test_requests_of_other_tools_and_unknown_methods_are_nobodys() -> None:
    fold = begun()
    assert fold.take(message("item/tool/call", ask=1, tool="other", arguments={}), 0.0) == []
    assert fold.take(message("item/telepathy/request", ask=2), 0.0) == []
    assert fold.asks == {}


def test_a_pending_request_round_trips_as_json() -> None:
    found = asked("item/tool/call", tool="ask_orchestrator", arguments={"question": "Why?"})
    assert PendingRequest.model_validate(found.pending.to_json()) == found.pending
    assert found.pending.text == "Why?"
