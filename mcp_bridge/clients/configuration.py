"""The configuration that makes an MCP client start the bridge, ready to paste.

Standard library only; knows no gateway.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from mcp_bridge.within import RUN_VARIABLES

NAME: Final = "a2a-gateway"
START_S: Final = 30  # a cold gateway on a loaded machine
CALL_S: Final = 120  # poll_events waits at most 30 s
# Codex hands its MCP servers a few variables only. A gateway it starts needs the agents' own: their
# logins, and the ways to their models.
CODEX_ENV_VARS: Final = (
    "XDG_STATE_HOME",
    "CODEX_HOME",
    "CODEX_API_KEY",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_ORGANIZATION",
    "OPENAI_PROJECT",
    "CLAUDE_CONFIG_DIR",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_MODEL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    *RUN_VARIABLES,
)


class Entry(NamedTuple):
    """How the bridge is started: the command, its arguments, its environment."""

    command: str
    args: Sequence[str]
    env: Mapping[str, str]


def claude(entry: Entry) -> str:
    """JSON for Claude Code: `.mcp.json`, or `claude mcp add-json`. `alwaysLoad` puts the tools
    into the first prompt instead of behind a search."""
    server = {
        "type": "stdio",
        "command": entry.command,
        "args": list(entry.args),
        "env": dict(entry.env),
        "alwaysLoad": True,
    }
    return json.dumps({"mcpServers": {NAME: server}}, indent=2, ensure_ascii=False)


def codex(entry: Entry) -> str:
    """TOML for Codex's config.toml. Without `required` a slow start costs the first turn its
    tools; without the omission the tools stand behind a search, their names too (0.163); without
    the approval mode `codex exec` refuses every tool that writes."""
    lines = [
        f"[mcp_servers.{NAME}]",
        f"command = {_toml(entry.command)}",
        f"args = {_toml_list(entry.args)}",
        "required = true",
        'omit_tools_from = ["deferred"]',
        f"startup_timeout_sec = {START_S}",
        f"tool_timeout_sec = {CALL_S}",
        'default_tools_approval_mode = "approve"',
        f"env_vars = {_toml_list(CODEX_ENV_VARS)}",
    ]
    if entry.env:
        lines += ["", f"[mcp_servers.{NAME}.env]"]
        lines += [f"{key} = {_toml(value)}" for key, value in entry.env.items()]
    return "\n".join(lines)


CLIENTS: Final[Mapping[str, Callable[[Entry], str]]] = {"claude": claude, "codex": codex}


def _toml(text: str) -> str:
    # A JSON string is a TOML basic string, but for the delete character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_list(items: Sequence[str]) -> str:
    return f"[{', '.join(_toml(item) for item in items)}]"
