"""A turn's request -> how Claude Code is started: its flags, its settings, its environment.

Knows no run. What the CLI cannot honour is refused here, before a run is accepted.
"""

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import claude_agent_sdk
from claude_agent_sdk import CanUseTool, ClaudeAgentOptions, EffortLevel, PermissionMode
from claude_agent_sdk.types import SystemPromptPreset

from gateway.core import json
from gateway.core.extension import ALLOW, ALLOW_SESSION, CodingRequest
from gateway.core.extension import PermissionMode as AskedMode
from gateway.core.json import JsonObject
from wrappers.adapter import Context, Turn, UnsupportedError

SESSION_NAMESPACE: Final = uuid.UUID("c1d3f2a4-6f0e-4f53-9d1b-5a2f7f3f8a11")
LINE_MAX: Final = 64 * 1024 * 1024  # bytes; the SDK's default of 1 MiB dies of a longer answer

# Each measured against CLI 2.1.330. State events are the only true end of a run. Background tasks
# and cron jobs would start turns that no caller asked for. Without the last, three connections a
# start go to the vendor even with another base URL; memory files would be shared between contexts.
SWITCHES: Final = {
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_CRON": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}
# Tools that wake up by themselves or talk to other sessions.
WITHHELD: Final = ("ScheduleWakeup", "Monitor", "SendMessage", "ListAgents", "DesignSync")

MODES: Final[Mapping[AskedMode, PermissionMode]] = {
    "auto": "bypassPermissions",
    "ask": "default",
    "plan": "plan",
}
EFFORTS: Final[Mapping[str, EffortLevel]] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a process of the CLI is started with: another one of these, another process."""

    environment: Mapping[str, str]
    model: str | None = None
    effort: str | None = None
    schema: str | None = None  # JSON text
    max_turns: int | None = None
    budget: tuple[str, float] | None = None  # run id and USD: the CLI spends it once a process


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where this wrapper's Claude Code lives and what it may do."""

    cli: Path
    env: Mapping[str, str]
    home: Path
    allow_root: bool = False
    root: bool = field(default_factory=lambda: os.geteuid() == 0)

    @property
    def may_bypass(self) -> bool:
        """The CLI itself refuses to skip permissions as root, outside what calls itself a sandbox."""
        return self.allow_root or not self.root

    @property
    def config(self) -> Path:
        """Where the CLI keeps its sessions and its login."""
        named = self.env.get("CLAUDE_CONFIG_DIR")
        return Path(named) if named else Path(self.env.get("HOME", "/")) / ".claude"

    def check(self, request: CodingRequest) -> None:
        """Raises: UnsupportedError."""
        if MODES[request.permission_mode or "auto"] == "bypassPermissions" and not self.may_bypass:
            raise UnsupportedError(
                "permission_mode",
                "Claude Code does not skip permissions as root; start the wrapper with "
                "--run-as USER or, in a container, with --allow-root (A2A_AGENT_RUN_AS, "
                "A2A_AGENT_ALLOW_ROOT=true for one the gateway starts), or use permission_mode ask",
            )
        if request.sandbox not in (None, "danger-full-access"):
            raise UnsupportedError(
                "sandbox",
                f"claude_code has no sandbox {request.sandbox!r}; leave it out or use "
                "danger-full-access, and permission_mode ask to approve each action",
            )
        if request.isolation == "worktree":
            raise UnsupportedError(
                "isolation", "claude_code works in the folder itself; leave it out"
            )
        if request.effort is not None and request.effort not in EFFORTS:
            raise UnsupportedError(
                "effort", f"claude_code takes {' | '.join(EFFORTS)}, got {request.effort!r}"
            )
        if request.output_schema is not None and request.output_schema.get("type") != "object":
            raise UnsupportedError(
                "output_schema", 'claude_code needs "type": "object" at the top of the schema'
            )

    def approved(self) -> Mapping[str, PermissionMode]:
        """The mode in which an approved plan is worked on, by the option that approves it."""
        unasked: PermissionMode = "bypassPermissions" if self.may_bypass else "acceptEdits"
        return {ALLOW: "default", ALLOW_SESSION: unasked}

    def start(self, turn: Turn) -> Start:
        request = turn.request
        limits = request.limits
        environment = {**(turn.environment or self.env), **SWITCHES}
        environment["CLAUDE_CONFIG_DIR"] = str(self.config)
        if self.root and self.allow_root:
            environment["IS_SANDBOX"] = "1"
        cost = limits.max_cost_usd if limits else None
        return Start(
            environment=environment,
            model=request.model,
            effort=request.effort,
            schema=json.encode(request.output_schema) if request.output_schema else None,
            max_turns=limits.max_turns if limits else None,
            budget=None if cost is None else (turn.run_id, cost),
        )

    def has_session(self, session: str) -> bool:
        """Is there something to resume? A process killed in its first moments leaves nothing."""
        return any((self.config / "projects").glob(f"*/{session}.jsonl"))


def bundled_cli() -> Path:
    """The CLI that comes with claude-agent-sdk."""
    return Path(claude_agent_sdk.__file__).with_name("_bundled") / "claude"


def session_of(context: Context) -> str:
    """The vendor's session id, which must be a UUID; a context's id is any string."""
    return context.vendor_session or str(uuid.uuid5(SESSION_NAMESPACE, context.id))


def _system_prompt(profile: str | None) -> SystemPromptPreset:
    """Claude Code's own prompt, the profile below it (without a preset the prompt is empty)."""
    prompt: SystemPromptPreset = {"type": "preset", "preset": "claude_code"}
    if profile:
        prompt["append"] = profile
    return prompt


def options(
    start: Start,
    context: Context,
    installation: Installation,
    *,
    launcher: Path,
    can_use_tool: CanUseTool,
    stderr: Callable[[str], None],
    resume: bool,
) -> ClaudeAgentOptions:
    """The SDK's options. The permission mode is set once connected, so that one process serves
    runs of every mode; given here, the SDK warns that can_use_tool is not called, which is wrong
    for questions and plans."""
    session = session_of(context)
    extra_args: dict[str, str | None] = {}
    if installation.may_bypass:
        extra_args["allow-dangerously-skip-permissions"] = None
    schema: JsonObject | None = json.decode_object(start.schema) if start.schema else None
    known: dict[str, Any] = {"resume": session} if resume else {"session_id": session}
    return ClaudeAgentOptions(
        cwd=context.cwd,
        cli_path=launcher,
        model=start.model,
        effort=EFFORTS[start.effort] if start.effort else None,
        max_turns=start.max_turns,
        max_budget_usd=start.budget[1] if start.budget else None,
        system_prompt=_system_prompt(context.profile),
        tools={"type": "preset", "preset": "claude_code"},
        disallowed_tools=list(WITHHELD),
        # A repository's settings hold hooks and MCP servers that run without being asked for; a
        # prompt of a caller may hold /commands and @files: it is text.
        setting_sources=[],
        strict_mcp_config=True,
        verbatim_prompts=True,
        forward_subagent_text=True,
        max_buffer_size=LINE_MAX,
        can_use_tool=can_use_tool,
        stderr=stderr,
        output_format={"type": "json_schema", "schema": schema} if schema else None,
        extra_args=extra_args,
        **known,
    )
