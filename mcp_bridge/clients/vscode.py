"""VS Code: where it keeps its MCP servers, and what the bridge's entry there is.

From its documentation (MCP configuration reference) and `code --help`. The user's file is that of
the default profile.
"""

import json
import re
import shlex
from pathlib import Path

from mcp_bridge.clients.client import (
    NAME,
    TOKEN_INPUT,
    Client,
    Entry,
    Scope,
    Server,
    Surroundings,
    Way,
)
from mcp_bridge.clients.jsonc import Dialect


def _place(around: Surroundings, scope: Scope) -> Path:
    if scope == "project":
        return around.folder / ".vscode" / "mcp.json"
    if around.platform == "darwin":
        settings = around.home() / "Library" / "Application Support"
    else:
        given = around.variables.get("XDG_CONFIG_HOME")
        settings = Path(given) if given else around.home() / ".config"
    return settings / "Code" / "User" / "mcp.json"


def _server(way: Way) -> Server:
    if isinstance(way, Entry):
        reached: Server = {"type": "stdio", "command": way.command, "args": list(way.args)}
        return reached | {"env": dict(way.env)}
    reached = {"type": "http", "url": way.url}
    if way.helper is None:
        return reached
    return reached | {"headers": {"Authorization": f"Bearer ${{input:{TOKEN_INPUT}}}"}}


def _inputs(way: Way) -> list[Server]:
    """What VS Code asks once, and keeps with its secrets."""
    if isinstance(way, Entry) or way.helper is None:
        return []
    asked = "Token of the a2a-gateway (the file token in its home)"
    return [{"type": "promptString", "id": TOKEN_INPUT, "description": asked, "password": True}]


def _line(way: Way, scope: Scope) -> str | None:
    if scope == "project" or _inputs(way):
        return None  # it adds to the user's file, and no inputs
    server = json.dumps({"name": NAME} | _server(way), ensure_ascii=False)
    return f"code --add-mcp {shlex.quote(server)}"


VSCODE = Client(
    name="vscode",
    title="VS Code",
    servers="servers",
    language=Dialect(comments=True, trailing_commas=True),
    place=_place,
    server=_server,
    line=_line,
    inputs=_inputs,
    expands=re.compile(r"\$\{[^}]+\}"),
    then={
        "user": "run MCP: List Servers in VS Code, start the server and say that you trust it",
        "project": "run MCP: List Servers in VS Code, start the server and say that you trust it",
    },
)
