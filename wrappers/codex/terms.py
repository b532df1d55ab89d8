"""A run's settings -> the parameters of Codex's thread and turn calls.

Pure. Everything a run may set is stated in every call: a resumed thread forgets its sandbox and
takes config.toml's (seen with `danger-full-access` there), a loaded one ignores what resume says.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from gateway.core import json
from gateway.core.extension import CodingRequest, EnvPolicy, PermissionMode, Sandbox
from gateway.core.json import JsonObject
from gateway.core.messages import DataPart, FilePart, Message, Part, TextPart
from gateway.core.structured import fault_of_schema
from wrappers.adapter import Context, Turn, UnsupportedError

ASK_TOOL: Final = "ask_orchestrator"
QUESTION_ID: Final = "answer"  # of the one question that `ask_orchestrator` asks

# Nothing is asked for permission, as with Codex's own `never`; that one answers what an MCP server
# asks (a form, a page to visit) with a no by itself, and such questions are the caller's.
_UNASKED: Final[JsonObject] = {
    "granular": {
        "sandbox_approval": False,
        "rules": False,
        "skill_approval": False,
        "request_permissions": False,
        "mcp_elicitations": True,
    }
}
# `ask` is Codex's strictest policy: only commands it knows to read are run without a question. What
# is allowed begins in the sandbox, and is tried again outside it where the sandbox stops it.
APPROVALS: Final[Mapping[PermissionMode, str | JsonObject]] = {
    "auto": _UNASKED,
    "ask": "untrusted",
    "plan": _UNASKED,
}
SANDBOXES: Final[Mapping[Sandbox, str]] = {  # the simple modes that thread calls know
    "read-only": "read-only",
    "workspace-write": "workspace-write",
    "workspace-write+git": "workspace-write",
    "danger-full-access": "danger-full-access",
}
DEFAULT_MODE: Final[PermissionMode] = "auto"
DEFAULT_SANDBOX: Final[Sandbox] = "workspace-write"
INHERIT: Final[Mapping[EnvPolicy, str]] = {"core": "core", "none": "core", "all": "all"}
BARE: Final = ("PATH", "HOME", "TMPDIR", "LANG")  # without these no command works: policy `none`
# Commands never see what looks like a credential, whatever the policy (Codex prints its own
# provider's key to `env` otherwise).
SECRETS: Final = ("*KEY*", "*SECRET*", "*TOKEN*", "*PASSWORD*", "*CREDENTIAL*")

_ASK_TOOL_SPEC: Final[JsonObject] = {
    "type": "function",
    "name": ASK_TOOL,
    "description": (
        "Ask the orchestrator (the agent or person who gave you this task) a question and wait "
        "for the answer. Use it when a decision is not yours to take or something is missing."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {
            "question": {"type": "string", "description": "The question, complete in itself."},
            "options": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Answers to choose from, if there are such.",
            },
        },
        "required": ["question"],
        "additionalProperties": False,
    },
}


def refuse_unsupported(request: CodingRequest) -> None:
    """Raises: UnsupportedError for a limit that Codex cannot keep, or a schema that is none."""
    limits = request.limits
    if request.isolation == "worktree":
        raise UnsupportedError("isolation", "codex works in the folder itself; leave it out")
    if limits is not None and limits.max_turns is not None:
        raise UnsupportedError("limits.max_turns", "codex cannot limit its turns; use deadline_s")
    if limits is not None and limits.max_cost_usd is not None:
        raise UnsupportedError("limits.max_cost_usd", "codex reports no cost; use deadline_s")
    if request.output_schema is not None and (wrong := fault_of_schema(request.output_schema)):
        raise UnsupportedError("output_schema", wrong)


def thread_start(context: Context, turn: Turn) -> JsonObject:
    """Parameters of `thread/start`."""
    profile = {"developerInstructions": context.profile} if context.profile else {}
    return {**_thread(context, turn), **profile, "dynamicTools": [_ASK_TOOL_SPEC]}


def thread_resume(context: Context, turn: Turn, thread: str) -> JsonObject:
    """Parameters of `thread/resume`; instructions and tools are kept with the thread."""
    return {**_thread(context, turn), "threadId": thread, "excludeTurns": True}


def _thread(context: Context, turn: Turn) -> JsonObject:
    cwd, request = str(context.cwd), turn.request
    return json.merge_null(
        {
            "cwd": cwd,
            "model": request.model,
            "approvalPolicy": APPROVALS[request.permission_mode or DEFAULT_MODE],
            "approvalsReviewer": "user",
            "sandbox": SANDBOXES[request.sandbox or DEFAULT_SANDBOX],
            "config": thread_config(cwd, turn),
        }
    )


def thread_config(cwd: str, turn: Turn) -> JsonObject:
    """The part of a thread's settings that is fixed while it is loaded."""
    policy = turn.request.env_policy or "core"
    environment: JsonObject = {
        "inherit": INHERIT[policy],
        "exclude": list(SECRETS),
        "set": dict(turn.environment),
    }
    if policy == "none":
        environment["include_only"] = [*BARE, *turn.environment]
    # Untrusted: neither is the user's config.toml edited, nor the repository's own one loaded.
    projects = {cwd: {"trust_level": "untrusted"}}
    return {"projects": projects, "shell_environment_policy": environment}


def turn_start(
    context: Context, turn: Turn, thread: str, *, git_dirs: tuple[str, ...] = ()
) -> JsonObject:
    """Parameters of `turn/start`, without its input."""
    request = turn.request
    mode = request.permission_mode or DEFAULT_MODE
    return json.merge_null(
        {
            "threadId": thread,
            "cwd": str(context.cwd),
            "approvalPolicy": APPROVALS[mode],
            "approvalsReviewer": "user",
            "sandboxPolicy": sandbox_policy(request.sandbox or DEFAULT_SANDBOX, git_dirs),
            "model": request.model,
            "effort": request.effort,
            "outputSchema": request.output_schema,
        }
    )


def collaboration(model: str | None, *, planning: bool) -> JsonObject:
    """Parameters of `turn/start` that make Codex plan first, or take that back: it is kept."""
    settings = {"model": model, "reasoning_effort": None, "developer_instructions": None}
    mode: JsonObject = {"mode": "plan" if planning else "default", "settings": settings}
    if not planning:
        return {"collaborationMode": mode}
    return {"collaborationMode": mode, "sandboxPolicy": sandbox_policy("read-only")}


def sandbox_policy(sandbox: Sandbox, git_dirs: tuple[str, ...] = ()) -> JsonObject:
    """The sandbox in full. `git_dirs` become writable with `workspace-write+git` alone."""
    if sandbox == "danger-full-access":
        return {"type": "dangerFullAccess"}
    if sandbox == "read-only":
        return {"type": "readOnly", "networkAccess": False}
    roots = list(git_dirs) if sandbox == "workspace-write+git" else []
    return {
        "type": "workspaceWrite",
        "writableRoots": roots,
        "networkAccess": False,
        # Compilers, test runners and the shell itself need a folder for temporary files.
        "excludeTmpdirEnvVar": False,
        "excludeSlashTmp": False,
    }


def turn_input(message: Message) -> list[JsonObject]:
    """A message as Codex's input items. Raises: UnsupportedError for a file it cannot take."""
    return [_input(part) for part in message.parts]


def text_input(text: str) -> JsonObject:
    return {"type": "text", "text": text, "text_elements": list[Any]()}


def _input(part: Part) -> JsonObject:
    match part:
        case TextPart(text=text):
            return text_input(text)
        case DataPart(data=data):
            return text_input(json.encode(data))
        case FilePart():
            return _file(part)


def _file(part: FilePart) -> JsonObject:
    media, name = part.media_type or "", part.name or "unnamed"
    if part.url is not None:
        if media.startswith("image/"):
            return {"type": "image", "url": part.url}
        return text_input(f"Attached file {name}: {part.url}")
    raw = part.raw or ""
    if media.startswith("image/"):
        return {"type": "image", "url": f"data:{media};base64,{raw}"}
    try:
        text = base64.b64decode(raw, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise UnsupportedError(
            "message.parts",
            f"codex takes text and images; put file {name!r} into the folder and name its path",
        ) from exc
    return text_input(f"Attached file {name}:\n{text}")
