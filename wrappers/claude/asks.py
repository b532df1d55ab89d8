"""Claude Code's requests for permission, an answer or a plan's approval -> pending requests, and
answers -> its permission results.

Pure: knows no process and no run.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

from claude_agent_sdk import (
    PermissionMode,
    PermissionResultAllow,
    PermissionResultDeny,
    PermissionUpdate,
    ToolPermissionContext,
)
from claude_agent_sdk.types import PermissionRuleValue

from gateway.core.extension import (
    ABORT,
    ALLOW,
    ALLOW_SESSION,
    DENY,
    PERMISSION_OPTIONS,
    Answer,
    Option,
    PendingRequest,
    Question,
    QuestionOption,
)
from gateway.core.json import JsonObject, as_object
from wrappers.claude.tools import COMMAND_TOOL

Verdict: TypeAlias = PermissionResultAllow | PermissionResultDeny
# In which mode an approved plan is worked on, by the option that approves it.
Modes: TypeAlias = Mapping[str, PermissionMode]

QUESTION_TOOL: Final = "AskUserQuestion"
PLAN_TOOL: Final = "ExitPlanMode"
KINDS: Final[Mapping[str, Literal["question", "plan"]]] = {
    QUESTION_TOOL: "question",
    PLAN_TOOL: "plan",
}

PLAN_OPTIONS: Final = (
    Option(id=ALLOW, label="Approve; ask before each action"),
    Option(id=ALLOW_SESSION, label="Approve and work without asking"),
    Option(id=DENY, label="Keep planning"),
    Option(id=ABORT, label="Reject and stop"),
)
# The argument that says most about a tool call, by tool; else the first text among them.
_TELLING: Final = ("command", "file_path", "notebook_path", "url", "query", "pattern", "path")
_TELLING_MAX: Final = 500  # characters; the whole input travels beside the text


def pending_request(
    request_id: str, tool: str, arguments: JsonObject, context: ToolPermissionContext
) -> PendingRequest:
    """What the caller is asked when Claude Code asks its host about a tool call."""
    match KINDS.get(tool):
        case "question":
            questions = _questions(arguments)
            return PendingRequest(
                request_id=request_id,
                kind="question",
                title="Answer a question" if len(questions) == 1 else "Answer questions",
                text="\n".join(question.question for question in questions) or "Claude asks",
                tool=tool,
                questions=questions,
            )
        case "plan":
            plan = str(arguments.get("plan") or "").strip()
            return PendingRequest(
                request_id=request_id,
                kind="plan",
                title="Approve a plan",
                text=plan or "Claude wants to leave plan mode without a written plan",
                tool=tool,
                input=arguments,
                options=PLAN_OPTIONS,
            )
        case _:
            return PendingRequest(
                request_id=request_id,
                kind="permission",
                title=context.display_name or _title(tool),
                text=_permission_text(tool, arguments, context),
                tool=tool,
                input=arguments,
                options=PERMISSION_OPTIONS,
            )


def _title(tool: str) -> str:
    return "Run a command" if tool == COMMAND_TOOL else f"Use {tool}"


def _permission_text(tool: str, arguments: JsonObject, context: ToolPermissionContext) -> str:
    telling = next((str(arguments[key]) for key in _TELLING if arguments.get(key)), "")
    if len(telling) > _TELLING_MAX:
        telling = f"{telling[:_TELLING_MAX]}…"
    text = context.title or (f"{_title(tool)}: {telling}" if telling else f"{_title(tool)}?")
    reasons = [context.decision_reason, context.blocked_path and f"path {context.blocked_path}"]
    because = "; ".join(reason for reason in reasons if reason)
    return f"{text} ({because})" if because else text


def _questions(arguments: JsonObject) -> tuple[Question, ...]:
    raw: Sequence[Any] = arguments.get("questions") or ()
    return tuple(
        Question(
            id=f"q{number}",
            question=str(as_object(item).get("question") or ""),
            header=as_object(item).get("header"),
            options=tuple(
                QuestionOption(
                    label=str(option.get("label") or ""), description=option.get("description")
                )
                for option in as_object(item).get("options") or ()
            ),
            multi_select=bool(as_object(item).get("multiSelect")),
        )
        for number, item in enumerate(raw, start=1)
    )


# -- answers -----------------------------------------------------------------------------------


def verdict(
    request: PendingRequest,
    arguments: JsonObject,
    answer: Answer,
    *,
    suggestions: Sequence[PermissionUpdate],
    modes: Modes,
) -> Verdict:
    """What Claude Code is told; `arguments` are the call's own."""
    if answer.choice in (DENY, ABORT):
        message = answer.message or "The user declined this."
        return PermissionResultDeny(message=message, interrupt=answer.choice == ABORT)
    if request.kind == "question":
        answers = _answers(request, answer)
        return PermissionResultAllow(updated_input={**arguments, "answers": answers})
    changed = answer.updated_input if answer.updated_input is not None else arguments
    if request.kind == "plan":
        mode = modes.get(answer.choice or ALLOW, "default")
        updates = [PermissionUpdate(type="setMode", mode=mode, destination="session")]
        return PermissionResultAllow(updated_input=changed, updated_permissions=updates)
    updates = None
    if answer.choice == ALLOW_SESSION:
        updates = [_for_session(request, arguments, suggestions)]
    return PermissionResultAllow(updated_input=changed, updated_permissions=updates)


def _for_session(
    request: PendingRequest, arguments: JsonObject, suggestions: Sequence[PermissionUpdate]
) -> PermissionUpdate:
    """A rule that allows the like of this call until the session's process ends.

    The CLI's suggestions are alternatives, not a set: some write into the repository's settings,
    one switches the whole session to another mode. Only the rules among them are taken.
    """
    rules = [
        rule
        for update in suggestions
        if update.type == "addRules" and update.behavior == "allow"
        for rule in update.rules or ()
    ]
    if not rules:
        # The very same command, but any use of another tool: that is how the CLI asks in a terminal.
        content = str(arguments.get("command")) if request.tool == COMMAND_TOOL else None
        rules = [PermissionRuleValue(tool_name=request.tool or "", rule_content=content)]
    return PermissionUpdate(type="addRules", behavior="allow", rules=rules, destination="session")


def _answers(request: PendingRequest, answer: Answer) -> dict[str, str]:
    """Answers by question text, as the tool takes them; a question may be named by its text too."""
    given = answer.answers or {}
    answers: dict[str, str] = {}
    for question in request.questions:
        value = given.get(question.id, given.get(question.question))
        if value is not None:
            answers[question.question] = _label(value)
    free = answer.message or answer.choice
    if not answers and free and request.questions:
        answers[request.questions[0].question] = free
    return answers


def _label(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in cast("list[object]", value))
    return str(value)
