"""The real Claude Code asks: permissions, questions and plans reach the caller, answers get back."""

import pytest
from claude_agent_sdk import PermissionResultAllow, PermissionUpdate, ToolPermissionContext
from claude_agent_sdk.types import PermissionRuleValue

from gateway.core.events import CommandFinished, RunCompleted, StatusChanged
from gateway.core.extension import (
    ABORT,
    ALLOW,
    ALLOW_SESSION,
    DENY,
    Answer,
    PendingRequest,
)
from gateway.core.json import JsonObject
from gateway.core.status import RunStatus
from tests.wrappers.claude_case import Case, Reply, end, lines, of, only
from wrappers.adapter import AgentSession, Ask, Step
from wrappers.claude.asks import pending_request, verdict


def choose(option: str, message: str | None = None) -> Reply:
    def reply(request: PendingRequest) -> Answer:
        return Answer(request_id=request.request_id, option=option, message=message)

    return reply


async def test_an_allowed_command_runs(claude: Case) -> None:
    steps = await claude.run(
        lines("@sh touch made", "@say ok"), reply=choose(ALLOW), permission_mode="ask"
    )

    request = only(steps, Ask).request
    assert (request.kind, request.tool) == ("permission", "Bash")
    assert request.text.startswith("Run a command: touch made")
    assert request.input is not None
    assert request.input["command"] == "touch made"
    assert only(steps, CommandFinished).status == "completed"
    assert (claude.cwd / "made").exists()


async def test_a_denied_command_is_declined_and_the_agent_hears_why(claude: Case) -> None:
    steps = await claude.run(
        lines("@sh touch made", "@results"),
        reply=choose(DENY, "not in this folder"),
        permission_mode="ask",
    )

    assert only(steps, CommandFinished).status == "declined"
    assert "not in this folder" in (end(steps, RunCompleted).final_response or "")
    assert not (claude.cwd / "made").exists()


async def test_allowing_for_the_session_asks_once_and_leaves_no_settings(claude: Case) -> None:
    script = lines("@sh touch made", "@sh touch made", "@write a.txt a", "@write b.txt b", "@say k")
    steps = await claude.run(script, reply=choose(ALLOW_SESSION), permission_mode="ask")
    later = await claude.run("@sh touch made", permission_mode="ask")

    assert [ask.request.tool for ask in of(steps, Ask)] == ["Bash", "Write"]
    assert not of(later, Ask)
    assert not (claude.cwd / ".claude").exists()


async def test_another_input_can_be_allowed_instead(claude: Case) -> None:
    def reply(request: PendingRequest) -> Answer:
        changed = {"command": "touch other", "description": "instead"}
        return Answer(request_id=request.request_id, option=ALLOW, updated_input=changed)

    await claude.run("@sh touch made", reply=reply, permission_mode="ask")

    assert (claude.cwd / "other").exists()
    assert not (claude.cwd / "made").exists()


async def test_deny_and_stop_cancels_the_run_and_keeps_the_session(claude: Case) -> None:
    steps = await claude.run(
        lines("@sh touch made", "@say never"), reply=choose(ABORT), permission_mode="ask"
    )
    after = await claude.run("@say here", permission_mode="ask")

    assert end(steps, StatusChanged).status == RunStatus.CANCELLED
    assert only(steps, CommandFinished).status == "declined"
    assert end(after, RunCompleted).final_response == "here"


async def test_two_sub_agents_can_ask_at_once(claude: Case) -> None:
    asked: list[str] = []

    async def answer_when_both_ask(step: Step, session: AgentSession) -> None:
        if isinstance(step, Ask):
            asked.append(step.request.request_id)
            if len(asked) == 2:
                for request_id in reversed(asked):
                    await session.answer(Answer(request_id=request_id, option=ALLOW))

    steps = await claude.run(
        lines("@agent @sh touch one", "&@agent @sh touch two", "@say ok"),
        on_step=answer_when_both_ask,
        permission_mode="ask",
    )

    assert len(set(asked)) == 2
    assert end(steps, RunCompleted).final_response == "ok"
    assert (claude.cwd / "one").exists()
    assert (claude.cwd / "two").exists()


async def test_questions_reach_the_caller_in_auto_mode(claude: Case) -> None:
    def reply(request: PendingRequest) -> Answer:
        assert request.kind == "question"
        first, second = request.questions
        assert [option.label for option in first.options] == ["SQLite", "Postgres"]
        answers = {first.id: "Postgres", second.id: ["Docs", "Tests"]}
        return Answer(request_id=request.request_id, answers=answers)

    steps = await claude.run(
        lines("@question Which database?|SQLite|Postgres ;; What more?|Docs|Tests", "@results"),
        reply=reply,
    )

    said = end(steps, RunCompleted).final_response or ""
    assert '"Which database?"="Postgres"' in said
    assert '"What more?"="Docs, Tests"' in said


async def test_a_question_takes_free_text(claude: Case) -> None:
    def reply(request: PendingRequest) -> Answer:
        return Answer(request_id=request.request_id, message="neither of them")

    steps = await claude.run(lines("@question Which?|a|b", "@results"), reply=reply)

    assert "neither of them" in (end(steps, RunCompleted).final_response or "")


async def test_an_approved_plan_is_worked_on_with_questions(claude: Case) -> None:
    steps = await claude.run(
        lines("@plan 1. touch it", "@sh touch made", "@say ok"),
        reply=choose(ALLOW),
        permission_mode="plan",
    )

    plan, permission = [ask.request for ask in of(steps, Ask)]
    assert (plan.kind, plan.text) == ("plan", "1. touch it")
    assert (permission.kind, permission.tool) == ("permission", "Bash")
    assert (claude.cwd / "made").exists()


async def test_a_plan_can_be_approved_for_work_without_questions(claude: Case) -> None:
    steps = await claude.run(
        lines("@plan 1. touch it", "@sh touch made", "@say ok"),
        reply=choose(ALLOW_SESSION),
        permission_mode="plan",
    )
    asked_anew = await claude.run("@sh touch more", reply=choose(DENY), permission_mode="ask")

    assert only(steps, Ask).request.kind == "plan"
    assert (claude.cwd / "made").exists()
    assert only(asked_anew, Ask).request.kind == "permission"


async def test_a_rejected_plan_goes_back_to_planning(claude: Case) -> None:
    steps = await claude.run(
        lines("@plan 1. delete it", "@results"),
        reply=choose(DENY, "think again"),
        permission_mode="plan",
    )

    assert "think again" in (end(steps, RunCompleted).final_response or "")


# -- without a process -------------------------------------------------------------------------


def told(tool: str, arguments: JsonObject, suggestions: list[PermissionUpdate]) -> PermissionUpdate:
    """The permission that allowing for the session gives."""
    request = pending_request("r", tool, arguments, ToolPermissionContext())
    answer = Answer(request_id="r", option=ALLOW_SESSION)
    result = verdict(request, arguments, answer, suggestions=suggestions, modes={})
    assert isinstance(result, PermissionResultAllow)
    assert result.updated_permissions is not None
    (update,) = result.updated_permissions
    return update


def test_of_the_suggestions_only_rules_are_taken_and_only_for_the_session() -> None:
    rule = PermissionRuleValue(tool_name="Bash", rule_content="touch *")
    suggestions = [
        PermissionUpdate(
            type="addRules", rules=[rule], behavior="allow", destination="localSettings"
        ),
        PermissionUpdate(type="setMode", mode="acceptEdits", destination="session"),
    ]

    update = told("Bash", {"command": "touch a"}, suggestions)
    assert (update.type, update.rules, update.destination) == ("addRules", [rule], "session")


@pytest.mark.parametrize(
    ("tool", "arguments", "rule"),
    [("Bash", {"command": "rm a"}, "rm a"), ("WebFetch", {"url": "http://x"}, None)],
)
def test_without_a_suggested_rule_a_command_is_allowed_alone_and_a_tool_as_a_whole(
    tool: str, arguments: JsonObject, rule: str | None
) -> None:
    update = told(tool, arguments, [])

    assert update.rules == [PermissionRuleValue(tool_name=tool, rule_content=rule)]
