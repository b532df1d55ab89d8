"""Gemini CLI: where it keeps its MCP servers, and what the bridge's entry there is.

Checked with 0.61.0. Its settings may hold comments, but no trailing commas.
"""

import re
import shlex
from pathlib import Path

from mcp_bridge.clients.client import (
    NAME,
    TOKEN_VARIABLE,
    Client,
    Entry,
    Scope,
    Server,
    Surroundings,
    Way,
)
from mcp_bridge.clients.jsonc import Dialect


def _place(around: Surroundings, scope: Scope) -> Path:
    folder = around.folder if scope == "project" else around.home()
    return folder / ".gemini" / "settings.json"


def _server(way: Way) -> Server:
    if isinstance(way, Entry):
        return {"command": way.command, "args": list(way.args), "env": dict(way.env)}
    # `httpUrl` alone is the older word for it; 0.61 calls it deprecated.
    reached: Server = {"url": way.url, "type": "http"}
    if way.helper is None:
        return reached
    return reached | {"headers": {"Authorization": f"Bearer ${TOKEN_VARIABLE}"}}


def _line(way: Way, scope: Scope) -> str | None:
    if not isinstance(way, Entry):
        return None  # `gemini mcp add` would write the variable's value, the token itself
    environment = [text for pair in way.env.items() for text in ("-e", "=".join(pair))]
    words = ["gemini", "mcp", "add", "--scope", scope, *environment, NAME, way.command]
    return shlex.join([*words, *(["--", *way.args] if way.args else [])])


GEMINI = Client(
    name="gemini",
    title="Gemini CLI",
    servers="mcpServers",
    language=Dialect(comments=True),
    place=_place,
    server=_server,
    line=_line,
    expands=re.compile(r"\$(?:\w+|\{[^}]+\})"),
    then={
        "user": "start Gemini CLI anew, in a folder that it trusts",
        "project": "start Gemini CLI anew in this folder, which it has to trust",
    },
)
