"""What is recorded of Claude Code: for each scene its script, its settings and who answers how.

Knows no recorder. A script is one of `tests.models.anthropic_script`.
"""

import base64
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.core import json
from gateway.core.events import CommandStarted
from gateway.core.extension import ABORT, ALLOW, ALLOW_SESSION, DENY, Answer, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import user_text
from tests.models import mcp_desk
from tests.wrappers.claude_case import Reply
from wrappers.adapter import AgentSession, Ask, Step

OnStep = Callable[[Step, AgentSession], Awaitable[None]]
SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"type": "string"}},
    "required": ["verdict"],
    "additionalProperties": False,
}


def _as_it_is(cwd: Path) -> None:
    del cwd


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """`before` are prompts of earlier runs in the same session; `prepare` gets the work folder;
    `arguments` are told to the CLI after those of the adapter."""

    script: tuple[str, ...]
    request: dict[str, Any] = field(default_factory=dict[str, Any])
    environment: dict[str, str] = field(default_factory=dict[str, str])
    before: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = _as_it_is
    reply: Reply | None = None
    on_step: OnStep | None = None

    @property
    def schema(self) -> JsonObject | None:
        return self.request.get("output_schema")


def scene(*script: str, **settings: Any) -> Scene:
    """`settings` are those of a Scene; the others are the request's."""
    own = {name: settings.pop(name) for name in tuple(settings) if name in _OWN}
    return Scene(script=script, request=settings, **own)


_OWN = ("environment", "before", "arguments", "prepare", "reply", "on_step")


# -- who answers -------------------------------------------------------------------------------


def choosing(choice: str, message: str | None = None) -> Reply:
    def reply(request: PendingRequest) -> Answer:
        return Answer(request_id=request.request_id, option=choice, message=message)

    return reply


def answering(**answers: Any) -> Reply:
    def reply(request: PendingRequest) -> Answer:
        return Answer(request_id=request.request_id, answers=answers)

    return reply


def saying(message: str) -> Reply:
    def reply(request: PendingRequest) -> Answer:
        return Answer(request_id=request.request_id, message=message)

    return reply


async def cancel_in_command(step: Step, session: AgentSession) -> None:
    if isinstance(step, CommandStarted):
        await session.cancel()


async def cancel_when_asked(step: Step, session: AgentSession) -> None:
    if isinstance(step, Ask):
        await session.cancel()


async def steer_in_command(step: Step, session: AgentSession) -> None:
    if isinstance(step, CommandStarted):
        await session.steer(user_text("m-2", "@say Turned left."))


# -- folders -----------------------------------------------------------------------------------


def repository(cwd: Path) -> None:
    (cwd / "note.txt").write_text("one\ntwo\n", "utf-8")
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for argv in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", *argv], cwd=cwd, check=True)


def notebook(cwd: Path) -> None:
    cell = '{"cell_type":"code","id":"c1","metadata":{},"outputs":[],"source":["x = 1"],'
    cells = f'{cell}"execution_count":null}}'
    rest = '"metadata":{"language_info":{"name":"python"}},"nbformat":4,"nbformat_minor":5'
    (cwd / "n.ipynb").write_text(f'{{"cells":[{cells}],{rest}}}', "utf-8")


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = (
    b"%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF\n"
)


def papers(cwd: Path) -> None:
    (cwd / "note.txt").write_text("one\ntwo\n", "utf-8")
    (cwd / "pixel.png").write_bytes(base64.b64decode(PIXEL))
    (cwd / "page.pdf").write_bytes(PDF)


HOOK = {"matcher": "*", "hooks": [{"type": "command", "command": "echo hooked"}]}
HOOKS = json.encode({"hooks": {"PostToolUse": [HOOK]}})
DESK = json.encode(
    {"mcpServers": {"desk": {"command": sys.executable, "args": [mcp_desk.__file__]}}}
)


# -- the scenes --------------------------------------------------------------------------------

# The task tools come without a search only with this model.
SMALL = "claude-haiku-4-5"
TOUCH = "@sh touch made"

SAYING = {
    "plain": scene("@say Hello."),
    "thinking": scene("@reason First I look.", "@say Done."),
    "stream": scene("@stream 20 0.01 word "),
    "cut_off": scene("@stop max_tokens Half of", "@say the rest"),
    "steered": scene("@sh sleep 0.5", "@say straight", on_step=steer_in_command),
    "compaction": scene(
        "@tokens 990000",
        "@sh echo full",
        "@say @say the word is plum",
        before=("@say The word is plum.",),
    ),
}
COMMANDS = {
    "command": scene("@sh echo out; echo err >&2", "@say ok"),
    "command_failed": scene("@sh echo boom; exit 3", "@say ok"),
    "command_interrupted": scene("@sh sleep 600", on_step=cancel_in_command),
    "command_long": scene("@sh sleep 4; echo slept", "@say ok"),
    "command_large": scene(
        "@sh seq 1 1000", "@say ok", environment={"BASH_MAX_OUTPUT_LENGTH": "1000"}
    ),
    "command_in_background": scene(
        '@tool Bash {"command": "echo behind", "run_in_background": true}', "@say ok"
    ),
    "command_image": scene(f"@sh printf data:image/png\\;base64,{PIXEL}", "@say ok"),
    "command_timeout": scene('@tool Bash {"command": "sleep 600", "timeout": 300}', "@say ok"),
    "command_in_repository": scene(
        "@sh sed -i s/two/2/ note.txt && echo new > new.txt",
        "@sh rm note.txt",
        "@say ok",
        prepare=repository,
    ),
}
FILES = {
    "files": scene(
        r"@write note.txt one\ntwo\n",
        "@edit note.txt two => 2",
        r"@write note.txt all\nnew\n",
        "@edit note.txt missing => 2",
        "@say ok",
    ),
    "notebook": scene(
        '@tool Read {"file_path": "n.ipynb"}',
        '@tool NotebookEdit {"notebook_path": "n.ipynb", "cell_id": "c1", "new_source": "x = 2"}',
        '@tool NotebookEdit {"notebook_path": "n.ipynb", "cell_id": "c1", "new_source": "y = 3",'
        ' "cell_type": "code", "edit_mode": "insert"}',
        "@say ok",
        prepare=notebook,
    ),
    "reading": scene(
        '@tool Read {"file_path": "note.txt"}',
        '@tool Read {"file_path": "pixel.png"}',
        '@tool Read {"file_path": "page.pdf"}',
        '@tool Read {"file_path": "missing.txt"}',
        "@say ok",
        prepare=papers,
    ),
}
TOOLS = {
    "web": scene(
        '@tool WebFetch {"url": "http://127.0.0.1:9/", "prompt": "what is it"}',
        '@tool WebSearch {"query": "plums"}',
        "@say ok",
    ),
    "unknown_tool": scene("@tool NoSuchTool {}", '@tool ScheduleWakeup {"delay": 1}', "@say ok"),
    "searching": scene(
        '@tool Grep {"pattern": "two", "output_mode": "content"}',
        '@tool Glob {"pattern": "*.txt"}',
        "@say ok",
        prepare=papers,
        arguments=("--tools=Grep,Glob",),
    ),
    "hooks": scene(
        "@sh true",
        "@say ok",
        arguments=(
            f"--settings={HOOKS}",
            "--include-hook-events",
        ),
    ),
    "mcp": scene(
        '@tool mcp__desk__echo {"text": "plums"}',
        "@tool mcp__desk__broken {}",
        '@tool mcp__desk__count {"to": 2}',
        "@say ok",
        model=SMALL,
        arguments=(f"--mcp-config={DESK}",),
    ),
    "todos": scene(
        "@todo Look|Change 1",
        "@say ok",
        environment={"CLAUDE_CODE_ENABLE_TASKS": "0"},
        arguments=("--tools=Bash,TodoWrite",),
    ),
    "tasks": scene("@todo Look|Change 1", "@tool TaskList {}", "@say ok", model=SMALL),
    "task_unknown": scene(
        '@tool TaskUpdate {"taskId": "9", "status": "completed"}',
        '@tool TaskUpdate {"taskId": 9}',
        "@say ok",
        model=SMALL,
    ),
    "agent": scene(
        r"@agent @reason hm ;; @sh echo inside ;; @write a.txt a\n ;; @say report", "@say ok"
    ),
    "agents": scene(
        "@agent @sh sleep 0.2; echo a ;; @say one",
        "&@agent @sh sleep 0.6; echo b ;; @say two",
        "@say ok",
    ),
    "agent_asks": scene(
        "@agent @sh touch inside ;; @say report",
        "@say ok",
        permission_mode="ask",
        reply=choosing(ALLOW),
    ),
    "agent_edits": scene(
        r"@agent @write b.txt one\ntwo\n ;; @edit b.txt two => 2 ;; @sh true ;; @sh seq 9; exit 3"
        " ;; @say edited",
        "@say ok",
    ),
    "agent_fails": scene("@agent @http 400", "@say ok"),
}
ASKING = {
    "permission_allowed": scene(TOUCH, "@say ok", permission_mode="ask", reply=choosing(ALLOW)),
    "permission_for_session": scene(
        TOUCH, TOUCH, "@say ok", permission_mode="ask", reply=choosing(ALLOW_SESSION)
    ),
    "permission_denied": scene(
        TOUCH, "@say ok", permission_mode="ask", reply=choosing(DENY, "not here")
    ),
    "permission_aborted": scene(TOUCH, "@say ok", permission_mode="ask", reply=choosing(ABORT)),
    "permission_cancelled": scene(TOUCH, permission_mode="ask", on_step=cancel_when_asked),
    "permission_to_write": scene(
        r"@write a.txt a\n", "@say ok", permission_mode="ask", reply=choosing(ALLOW)
    ),
    "permission_tool_denied": scene(
        r"@write a.txt a\n", "@say ok", permission_mode="ask", reply=choosing(DENY)
    ),
    "question": scene("@question Colour?|red|blue", "@results", reply=answering(q1="blue")),
    "questions": scene(
        "@question *Sizes?|s|m|l ;; Colour?|red|blue",
        "@results",
        reply=answering(q1=["s", "l"], q2="red"),
    ),
    "question_free": scene("@question Colour?|red|blue", "@results", reply=saying("mauve")),
    "question_declined": scene("@question Colour?|red|blue", "@results", reply=choosing(DENY)),
    "plan_approved": scene(
        "@plan First this.", TOUCH, "@say ok", permission_mode="plan", reply=choosing(ALLOW)
    ),
    "plan_command": scene(TOUCH, "@say ok", permission_mode="plan", reply=choosing(ALLOW)),
    "plan_check_out_of_reach": scene(
        TOUCH,
        "@say ok",
        permission_mode="plan",
        arguments=('--settings={"useAutoModeDuringPlan": true}',),
    ),
    "rule_denies": scene(
        TOUCH,
        r"@write a.txt a\n",
        "@say ok",
        arguments=('--settings={"permissions": {"deny": ["Bash(touch:*)", "Write"]}}',),
    ),
    "plan_write": scene(
        r"@write a.txt a\n", "@say ok", permission_mode="plan", reply=choosing(ALLOW)
    ),
    "plan_revised": scene(
        "@plan First this.",
        "@say ok",
        permission_mode="plan",
        reply=choosing(DENY, "first that"),
    ),
}
ENDS = {
    "retry_429": scene("@http 429 1", "@say through"),
    "retry_500": scene("@http 500 1", "@say through"),
    "overloaded_529": scene(
        "@http 529", "@say never", environment={"CLAUDE_CODE_MAX_RETRIES": "2"}
    ),
    "login_401": scene("@http 401", "@say never"),
    "login_403": scene("@http 403", "@say never"),
    "invalid_400": scene("@http 400", "@say never"),
    "no_model_404": scene("@http 404", "@say never", model="claude-nothing-1"),
    "credit": scene(
        "@http 400 Your credit balance is too low to access the Anthropic API", "@say never"
    ),
    "cut": scene("@cut", "@say Half of it"),
    "cut_once": scene("@cut 1", "@say Half of it"),
    "garbage": scene("@garbage", "@say Half of it"),
    "overloaded_within": scene("@overload 1", "@say Half of it"),
    "refusal": scene(*["@refuse I will not"] * 6),
    "max_turns": scene(*["@sh true"] * 3, "@say ok", limits={"max_turns": 2}),
    "budget": scene(*["@sh true"] * 3, "@say ok", limits={"max_cost_usd": 0.001}),
    "schema": scene('@schema {"verdict": "pass"}', output_schema=SCHEMA),
    "schema_late": scene(
        '@schema {"verdict": 1}', '@schema {"verdict": "pass"}', output_schema=SCHEMA
    ),
    "schema_missing": scene(*["@say no"] * 4, output_schema=SCHEMA),
    "schema_never": scene(*['@schema {"verdict": 1}'] * 12, output_schema=SCHEMA),
    "rate_limits": scene(
        "@header anthropic-ratelimit-unified-status allowed_warning",
        "@header anthropic-ratelimit-unified-reset 1900000000",
        "@header anthropic-ratelimit-unified-representative-claim five_hour",
        "@header anthropic-ratelimit-unified-5h-utilization 0.9",
        "@say ok",
        environment={"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-scripted"},
    ),
}
SCENES: dict[str, Scene] = SAYING | COMMANDS | FILES | TOOLS | ASKING | ENDS
