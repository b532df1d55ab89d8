"""What is played with the real Codex to see every row of its mapping.

Knows no recorder. A scenario is a script for the scripted model, and how its caller behaves.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from gateway.core.events import CommandStarted, CommandUpdated
from gateway.core.extension import Answer, PendingRequest
from gateway.core.messages import user_text
from tests.models.openai_script import PIXEL
from wrappers.adapter import AgentSession, Ask, Step

Reply: TypeAlias = Callable[[PendingRequest], Answer]
Act: TypeAlias = Callable[[AgentSession], Awaitable[None]]


def choose(option: str, message: str | None = None) -> Reply:
    """Every permission is answered so; whatever has questions or a form is filled in."""

    def reply(request: PendingRequest) -> Answer:
        answers: dict[str, Any] | None = None
        if request.kind == "question":
            answers = {
                question.id: question.options[0].label if question.options else "as you like"
                for question in request.questions
            }
        if request.kind == "form":
            answers = {"name": "Ada", "copies": 2, "ink": "blue"}
        chosen = None if answers else option
        return Answer(
            request_id=request.request_id, option=chosen, answers=answers, message=message
        )

    return reply


async def _cancel(session: AgentSession) -> None:
    await session.cancel()


async def _steer(session: AgentSession) -> None:
    await session.steer(user_text("m-2", "mind the gap"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`says` are the messages of as many runs in one context; `request` what each asks for.

    At the first step of the type `at` the caller does `act`.
    `desk`: the MCP server of tests/models/mcp_desk.py is there. `settings`: lines for the top of
    """

    says: tuple[str, ...]
    reply: Reply | None = field(default_factory=lambda: choose("allow"))
    at: type[Step] | None = None
    act: Act = _cancel
    request: Mapping[str, Any] = field(default_factory=dict[str, Any])
    desk: bool = False
    settings: str = ""
    features: tuple[str, ...] = ()


def _script(*lines: str) -> tuple[str, ...]:
    return ("\n".join(lines),)


def _kid(*lines: str) -> str:
    """A sub-agent that does the lines, and is waited for."""
    message = json.dumps({"message": "\n".join(lines)})
    return f"@ns multi_agent_v1 spawn_agent {message}\n{_WAIT}"


_WAIT: Final = '@ns multi_agent_v1 wait_agent {"targets": ["$agent"], "timeout_ms": 30000}'
_ASK: Final = {"permission_mode": "ask"}
_QUESTION: Final = {
    "id": "db",
    "header": "Storage",
    "question": "Which database?",
    "options": [
        {"label": "sqlite", "description": "a file"},
        {"label": "postgres", "description": "a server"},
    ],
}
_SLOW: Final = "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.1; done"
_MOVE: Final = (
    "*** Begin Patch\\n*** Update File: a.txt\\n*** Move to: b.txt\\n@@\\n-one\\n+two\\n"
    "*** End Patch"
)
_DELETE: Final = "*** Begin Patch\\n*** Delete File: b.txt\\n*** End Patch"
_UPDATE: Final = (
    "*** Begin Patch\\n*** Update File: a.txt\\n@@\\n one\\n-two\\n+three\\n*** Add File: c.txt\\n"
    "+new\\n*** End Patch"
)
_ADD: Final = "*** Begin Patch\\n*** Add File: a.txt\\n+one\\n*** End Patch"
_MISFIT: Final = "*** Begin Patch\\n*** Update File: no.txt\\n@@\\n-x\\n+y\\n*** End Patch"

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "plain": Scenario(says=_script("@say hello")),
    "stream": Scenario(says=_script("@stream 20 0.01 word")),
    "two_runs": Scenario(says=("@note on it\n@sh echo 1\n@say one", "@say two")),
    "reasoning": Scenario(says=_script("@reason why\\nand how", "@note on it", "@say because")),
    "command": Scenario(says=_script("@sh echo hi; echo ho >&2", "@say done")),
    "command_failing": Scenario(says=_script("@sh echo so; exit 3", "@say went on")),
    "command_output": Scenario(says=_script(f"@sh {_SLOW}", "@say done")),
    "command_background": Scenario(
        says=_script("@background 700 while echo up; do sleep 0.2; done", "@say done")
    ),
    "command_interrupted": Scenario(
        says=_script("@sh while echo up; do sleep 0.2; done", "@say no"),
        at=CommandUpdated,
    ),
    "command_input": Scenario(
        says=_script(
            '@tool exec_command {"cmd": "read line; echo heard $line", "tty": true,'
            ' "yield_time_ms": 300}',
            '@tool write_stdin {"session_id": $session, "chars": "go on\\n", "yield_time_ms": 1000}',
            "@say done",
        )
    ),
    "command_allowed": Scenario(says=_script("@sh touch made", "@say done"), request=_ASK),
    "command_allowed_session": Scenario(
        says=_script("@sh touch made", "@sh touch made", "@say done"),
        reply=choose("allow_session"),
        request=_ASK,
    ),
    "command_declined": Scenario(
        says=_script("@sh touch made", "@results"),
        reply=choose("deny", "use the other folder"),
        request=_ASK,
    ),
    "command_aborted": Scenario(
        says=_script("@sh touch made", "@say no"), reply=choose("abort"), request=_ASK
    ),
    "command_escalated": Scenario(says=_script("@escalate echo out", "@say done"), request=_ASK),
    "cancelled_asking": Scenario(
        says=_script("@sh touch made", "@say no"),
        reply=None,
        at=Ask,
        request=_ASK,
    ),
    "patch": Scenario(says=_script("@patch a.txt one\\ntwo", f"@rawpatch {_UPDATE}", "@say done")),
    "patch_moved": Scenario(
        says=_script("@patch a.txt one", f"@rawpatch {_MOVE}", f"@rawpatch {_DELETE}", "@say done")
    ),
    "patch_misfit": Scenario(says=_script(f"@rawpatch {_MISFIT}", "@say done")),
    "patch_allowed": Scenario(says=_script("@patch a.txt one", "@say done"), request=_ASK),
    "patch_declined": Scenario(
        says=_script("@patch a.txt one", "@say done"), reply=choose("deny"), request=_ASK
    ),
    "todo": Scenario(says=_script("@todo a|b|c 0", "@todo a|b|c 2", "@say done")),
    "plan": Scenario(
        says=_script("@say <proposed_plan>\\nFirst this.\\n</proposed_plan>"),
        request={"permission_mode": "plan"},
    ),
    "question": Scenario(
        says=_script(f"@input {json.dumps({'questions': [_QUESTION]})}", "@results")
    ),
    "orchestrator": Scenario(
        says=_script(
            '@tool ask_orchestrator {"question": "Colour?", "options": ["red", "blue"]}', "@results"
        )
    ),
    "permissions": Scenario(
        says=_script(
            '@tool request_permissions {"reason": "to fetch",'
            ' "permissions": {"network": {"enabled": true}}}',
            "@results",
        ),
        request=_ASK,
        features=("request_permissions_tool",),
    ),
    "mcp": Scenario(
        says=_script(
            '@ns mcp__desk echo {"text": "hi"}',
            '@ns mcp__desk count {"to": 2}',
            "@ns mcp__desk broken {}",
            "@say done",
        ),
        desk=True,
    ),
    "mcp_unasked": Scenario(
        says=_script('@ns mcp__desk book {"room": "r1"}', "@say done"), desk=True
    ),
    "mcp_allowed": Scenario(
        says=_script('@ns mcp__desk book {"room": "r1"}', "@say done"), desk=True, request=_ASK
    ),
    "mcp_declined": Scenario(
        says=_script('@ns mcp__desk book {"room": "r1"}', "@say done"),
        reply=choose("deny"),
        desk=True,
        request=_ASK,
    ),
    "mcp_form": Scenario(says=_script('@ns mcp__desk sign {"who": "Ada"}', "@say done"), desk=True),
    "mcp_page": Scenario(
        says=_script('@ns mcp__desk visit {"url": "https://desk.test/login"}', "@say done"),
        desk=True,
        request=_ASK,
    ),
    "mcp_resources": Scenario(says=_script("@tool list_mcp_resources {}", "@say done"), desk=True),
    "mcp_missing": Scenario(
        says=_script("@say done"),
        settings='mcp_servers.gone = { command = "/nowhere/server" }',
    ),
    "sub_agent": Scenario(
        says=_script(_kid("@sh echo kid", "@patch kid.txt hi", "@say kid done"), "@say all done")
    ),
    "sub_agent_asking": Scenario(
        says=_script(_kid("@sh touch made", "@say kid done"), "@say all done"), request=_ASK
    ),
    "sub_agent_left": Scenario(
        says=_script(_kid("@sh while echo up; do sleep 0.2; done", "@say kid done"), "@say no"),
        at=CommandUpdated,
    ),
    "sub_agent_team": Scenario(
        says=_script(
            '@ns collaboration spawn_agent {"task_name": "look", "message": "@say found",'
            ' "fork_turns": "none"}',
            '@ns collaboration wait_agent {"timeout_ms": 10000}',
            "@say all done",
        ),
        features=("multi_agent_v2",),
    ),
    "code_mode": Scenario(
        says=_script(
            '@js text((await tools.exec_command({cmd: "echo hi"})).output);',
            f"@js await tools.apply_patch(`{_ADD}`);",
            '@js await tools.update_plan({plan: [{step: "a", status: "in_progress"}]});',
            "@say done",
        ),
        request={"model": "gpt-6-sol"},
    ),
    "steered": Scenario(
        says=_script("@sh sleep 0.5; echo up", "@results"), at=CommandStarted, act=_steer
    ),
    "searched": Scenario(says=_script("@search the weather", "@say rain")),
    "image_viewed": Scenario(
        says=_script(
            f"@sh echo {PIXEL} | base64 -d > dot.png",
            '@tool view_image {"path": "dot.png"}',
            "@say a dot",
        )
    ),
    "compacted": Scenario(
        says=("@tokens 9000\n@say one", "@say two"),
        settings="model_auto_compact_token_limit = 8000",
    ),
    "retried": Scenario(says=_script("@note half", "@cut 1", "@say whole")),
    "cut": Scenario(says=_script("@note half", "@cut")),
    "refused": Scenario(says=_script("@http 401")),
    "rate_limited": Scenario(says=_script("@http 429")),
    "context_full": Scenario(says=_script("@fail context_length_exceeded too long")),
    "quota": Scenario(says=_script("@fail insufficient_quota no credit")),
    "model_unknown": Scenario(says=_script("@say hello"), request={"model": "no-such-model"}),
    "structured": Scenario(
        says=_script('@say {"n": 3}'),
        request={"output_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    ),
}
