"""Codex: where it keeps its MCP servers, and what the bridge's entry there is.

Checked with 0.163 to 0.169. Keys that it does not know it ignores without a word.
"""

from pathlib import Path
from typing import Final

from mcp_bridge.clients.client import (
    NAME,
    Client,
    Entry,
    Scope,
    Server,
    Surroundings,
    Way,
)
from mcp_bridge.within import RUN_VARIABLES

START_S: Final = 30  # a cold gateway on a loaded machine
CALL_S: Final = 120  # poll_events waits at most 30 s
# A page of 65,536 bytes, as JSON: beyond some 12,000 tokens Codex cuts the middle out of an answer.
PAGE_TOKENS: Final = 40_000
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


def _place(around: Surroundings, scope: Scope) -> Path:
    if scope == "project":
        return around.folder / ".codex" / "config.toml"
    given = around.variables.get("CODEX_HOME")
    return (Path(given) if given else around.home() / ".codex") / "config.toml"


def _server(way: Way) -> Server:
    """Without `required` a slow start costs the first turn its tools; without the omission the
    tools stand behind a search, their names too (0.163); without the approval mode `codex exec`
    refuses every tool that writes."""
    stdio = isinstance(way, Entry)
    reached: Server = {}
    if stdio:
        reached = {"command": way.command, "args": list(way.args)}
    else:
        reached = {"url": way.url}
        if way.helper is not None:
            # Not by a variable: agents that are Codex too have this server in their configuration,
            # and none of our variables; being required, it would end their every run.
            reached["http_headers_helper"] = way.helper
    server = reached | {
        "required": True,
        "omit_tools_from": ["deferred"],
        "startup_timeout_sec": START_S,
        "tool_timeout_sec": CALL_S,
        "default_tools_approval_mode": "approve",
        "tools": {"get_event_artifact": {"output_token_limit": PAGE_TOKENS}},
    }
    if not stdio:
        return server
    return server | {"env_vars": list(CODEX_ENV_VARS), "env": dict(way.env)}


CODEX = Client(
    name="codex",
    title="Codex",
    servers="mcp_servers",
    language="toml",
    place=_place,
    server=_server,
    line=lambda way, scope: None,  # `codex mcp add` sets neither approval nor limits of time
    remove=lambda scope: f"codex mcp remove {NAME}" if scope == "user" else None,
    then={
        "user": "start Codex anew",
        "project": "start Codex anew in this folder, which it has to trust",
    },
)
