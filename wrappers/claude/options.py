"""A turn's request -> how Claude Code is started: its flags, its settings, its environment.

Knows no run. What the CLI cannot honour is refused here, before a run is accepted.
"""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import claude_agent_sdk
from claude_agent_sdk import CanUseTool, ClaudeAgentOptions, EffortLevel, PermissionMode

from gateway.core import json
from gateway.core.extension import ALLOW, ALLOW_SESSION, DENY, CodingRequest
from gateway.core.extension import PermissionMode as AskedMode
from gateway.core.json import JsonObject
from gateway.core.structured import fault_of_schema
from wrappers.adapter import Context, Turn, UnsupportedError
from wrappers.runfile import RunFiles

SESSION_NAMESPACE: Final = uuid.UUID("c1d3f2a4-6f0e-4f53-9d1b-5a2f7f3f8a11")
TAIL: Final = 256 * 1024  # bytes of a transcript's end that hold what was said last
SCHEMA_MAX: Final = 128 * 1024 - 100  # bytes: it is one argument, which Linux bounds at 128 KiB

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
# Else plan mode has a check of the vendor's servers decide about commands and sub-agents; where that
# is out of reach (any other base URL), all of them are refused and nobody is asked.
SETTINGS: Final = {"useAutoModeDuringPlan": False}
SHELL: Final = """#!/bin/sh
unset ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_CUSTOM_HEADERS CLAUDE_CODE_OAUTH_TOKEN
unset OPENAI_API_KEY CODEX_API_KEY
case $1 in
*/snapshot-zsh-*) exec zsh -c "$1" ;;
*) exec bash -c "$1" ;;
esac
"""
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
    """What a process of the CLI is started with, beside its session: another one of these, another
    process."""

    cwd: Path
    environment: Mapping[str, str]
    profile: str | None = None
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

    @property
    def scratch(self) -> Path:
        """Where the CLI keeps outputs of commands; it never clears that, so we do, at our start."""
        return self.home / "tmp"

    @property
    def files(self) -> RunFiles:
        """Where the CLI's processes find the run that they work for."""
        return RunFiles(self.home / "claude-runs")

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
        if request.output_schema is not None:
            _check_schema(request.output_schema)

    def approved(self) -> Mapping[str, PermissionMode]:
        """The mode in which an approved plan is worked on, by the option that approves it."""
        unasked: PermissionMode = "bypassPermissions" if self.may_bypass else "acceptEdits"
        return {ALLOW: "default", ALLOW_SESSION: unasked}

    def mode(self, turn: Turn) -> PermissionMode:
        """The mode a turn works in; the answer to a plan from before a restart chooses it."""
        for item in turn.answered:
            if item.request.kind == "plan":
                return self.approved().get(item.answer.choice or DENY, "plan")
        return MODES[turn.request.permission_mode or "auto"]

    def start(self, turn: Turn, context: Context) -> Start:
        request = turn.request
        limits = request.limits
        environment = {**(turn.environment or self.env), **SWITCHES}
        environment["CLAUDE_CONFIG_DIR"] = str(self.config)
        environment["CLAUDE_CODE_SHELL_PREFIX"] = str(self.shell())
        environment["CLAUDE_CODE_TMPDIR"] = str(self.scratch)
        if self.root and self.allow_root:
            environment["IS_SANDBOX"] = "1"
        cost = limits.max_cost_usd if limits else None
        return Start(
            cwd=context.cwd,
            profile=context.profile,
            environment=environment,
            model=request.model,
            effort=request.effort,
            schema=json.encode(request.output_schema) if request.output_schema else None,
            max_turns=limits.max_turns if limits else None,
            budget=None if cost is None else (turn.run_id, cost),
        )

    def has_session(self, session: str) -> bool:
        """Is there something to resume? A process killed in its first moments leaves nothing."""
        return any(self._transcripts(session))

    def has_said(self, session: str, message_id: str) -> bool:
        """Is a message of the latest turn on the disk? The CLI writes every 100 ms."""
        for file in self._transcripts(session):
            with contextlib.suppress(OSError), file.open("rb") as opened:
                opened.seek(max(0, opened.seek(0, os.SEEK_END) - TAIL))
                if message_id.encode() in opened.read():
                    return True
        return False

    def _transcripts(self, session: str) -> Iterator[Path]:
        return (self.config / "projects").glob(f"*/{session}.jsonl")

    def shell(self) -> Path:
        """The program that commands are run by: without the keys that the CLI alone needs.

        They keep an agent from printing them; the CLI's own environment stays readable for its user.
        """
        file = self.home / "shell"
        if not file.exists():
            _write_private(file, SHELL, mode=0o700)
        return file

    def profile_file(self, profile: str) -> Path:
        """Where the CLI reads a profile: it may be longer than an argument (128 KiB), and those
        are seen by every user of the machine."""
        name = hashlib.sha256(profile.encode()).hexdigest()[:32]
        file = self.home / "profiles" / f"{name}.md"
        if not file.exists():
            _write_private(file, profile, mode=0o600)
        return file


def _write_private(file: Path, text: str, *, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_suffix(f".{uuid.uuid4().hex}")
    draft.touch(mode=mode)
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)


def _check_schema(schema: JsonObject) -> None:
    """Raises: UnsupportedError."""
    fault = fault_of_schema(schema)
    if fault is None and schema.get("type") != "object":
        fault = 'claude_code needs "type": "object" at the top of the schema'
    if fault is None and len(json.encode(schema).encode()) > SCHEMA_MAX:
        fault = f"claude_code takes a schema of at most {SCHEMA_MAX} bytes"
    if fault is not None:
        raise UnsupportedError("output_schema", fault)


def bundled_cli() -> Path:
    """The CLI that comes with claude-agent-sdk."""
    return Path(claude_agent_sdk.__file__).with_name("_bundled") / "claude"


def session_of(context: Context) -> str:
    """The vendor's session id, which must be a UUID; a context's id is any string."""
    return context.vendor_session or str(uuid.uuid5(SESSION_NAMESPACE, context.id))


def arguments(
    start: Start, installation: Installation, *, session: str, resume: bool
) -> list[str | Path]:
    """The command line. A value that callers choose is bound to its flag by `=`: it may look like
    a flag. The permission mode is set once connected, so one process serves runs of every mode."""
    flags: list[str | Path] = [
        installation.cli,
        *("--output-format", "stream-json", "--input-format", "stream-json", "--verbose"),
        *("--permission-prompt-tool", "stdio", "--tools", "default"),
        f"--disallowedTools={','.join(WITHHELD)}",
        # A repository's settings hold hooks and MCP servers that run without being asked for.
        *("--setting-sources=", "--strict-mcp-config"),
        f"--settings={json.encode(SETTINGS)}",
        f"--resume={session}" if resume else f"--session-id={session}",
    ]
    if installation.may_bypass:
        flags.append("--allow-dangerously-skip-permissions")
    if start.profile:
        flags.append(f"--append-system-prompt-file={installation.profile_file(start.profile)}")
    chosen: dict[str, object] = {
        "model": start.model,
        "effort": start.effort,
        "max-turns": start.max_turns,
        "max-budget-usd": start.budget[1] if start.budget else None,
        "json-schema": start.schema,
    }
    return flags + [f"--{name}={value}" for name, value in chosen.items() if value is not None]


def options(can_use_tool: CanUseTool) -> ClaudeAgentOptions:
    """What the SDK says once connected; all else is on the command line. A prompt of a caller may
    hold /commands and @files: it is text."""
    return ClaudeAgentOptions(
        can_use_tool=can_use_tool, verbatim_prompts=True, forward_subagent_text=True
    )
