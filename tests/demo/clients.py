"""The configuration that makes Claude Code and Codex use the gateway, as text to paste.

Knows no gateway: a command goes in, text comes out. The README shows the same.
"""

import json
from typing import Any


def claude_code_shell(command: str) -> str:
    return f"claude mcp add --scope user a2a-gateway -- {command}"


def claude_code_json(command: str) -> str:
    """`.mcp.json` of a project. `alwaysLoad` puts the tools before the model at once."""
    server: dict[str, Any] = {
        "type": "stdio",
        "command": command,
        "args": [],
        "alwaysLoad": True,
        "timeout": 120_000,
    }
    return json.dumps({"mcpServers": {"a2a-gateway": server}}, indent=2)


def codex_toml(command: str) -> str:
    """A section of `~/.codex/config.toml`.

    Without `required` Codex begins its first turn after a second, with or without the tools; without
    the approval mode `codex exec` refuses every tool that starts something.
    """
    return "\n".join(
        (
            "[mcp_servers.a2a-gateway]",
            f'command = "{command}"',
            "required = true",
            "startup_timeout_sec = 20",
            "tool_timeout_sec = 120",
            'default_tools_approval_mode = "approve"',
        )
    )
