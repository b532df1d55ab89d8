"""Claude Code: where it keeps its MCP servers, and what the bridge's entry there is.

Checked with 2.1.330. Its user file is its state too, plain JSON; `.mcp.json` is a project's.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Any, cast

from mcp_bridge.clients.client import NAME, Client, Entry, Scope, Server, Surroundings, Way
from mcp_bridge.clients.jsonc import Dialect


def _place(around: Surroundings, scope: Scope) -> Path:
    if scope == "project":
        return around.folder / ".mcp.json"
    given = around.variables.get("CLAUDE_CONFIG_DIR")
    folder = Path(given) if given else around.home() / ".claude"
    old = folder / ".config.json"  # it goes on using one that it has
    return old if old.exists() else (Path(given) if given else around.home()) / ".claude.json"


def _server(way: Way) -> Server:
    # Loaded at once, the tools stand in the first prompt instead of behind a search.
    if isinstance(way, Entry):
        reached: Server = {"type": "stdio", "command": way.command, "args": list(way.args)}
        return reached | {"env": dict(way.env), "alwaysLoad": True}
    helper: Server = {} if way.helper is None else {"headersHelper": way.helper}
    return {"type": "http", "url": way.url} | helper | {"alwaysLoad": True}


def _line(way: Way, scope: Scope) -> str:
    server = json.dumps(_server(way), ensure_ascii=False)
    return f"claude mcp add-json --scope {scope} {NAME} {shlex.quote(server)}"


def _hidden(document: Server, folder: Path) -> str | None:
    """A project's local entries are in the user's file too, and go before all others."""
    root = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)
    found: Any = document
    for key in ("projects", str(root), "mcpServers", NAME):
        found = cast("Server", found).get(key) if isinstance(found, dict) else None
    if found is None:
        return None
    return f"its own entry for {root} goes before it: claude mcp remove --scope local {NAME}"


CLAUDE = Client(
    name="claude",
    title="Claude Code",
    servers="mcpServers",
    language=Dialect(),
    place=_place,
    server=_server,
    line=_line,
    remove=lambda scope: f"claude mcp remove --scope {scope} {NAME}",
    hidden=_hidden,
    expands=re.compile(r"\$\{[^}]+\}"),
    then={
        "user": "start Claude Code anew",
        "project": "start Claude Code anew in this folder and approve the server when it asks",
    },
)
