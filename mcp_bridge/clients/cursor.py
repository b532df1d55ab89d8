"""Cursor: where it keeps its MCP servers, and what the bridge's entry there is.

From its documentation (cursor.com/docs/mcp). The editor and its command line read the same file.
"""

import base64
import json
import re
from pathlib import Path
from urllib.parse import urlencode

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
    return (around.folder if scope == "project" else around.home()) / ".cursor" / "mcp.json"


def _server(way: Way) -> Server:
    if isinstance(way, Entry):
        reached: Server = {"type": "stdio", "command": way.command, "args": list(way.args)}
        return reached | {"env": dict(way.env)}
    if way.helper is None:
        return {"url": way.url}
    return {
        "url": way.url,
        "headers": {"Authorization": f"Bearer ${{env:{TOKEN_VARIABLE}}}"},
    }


def _line(way: Way, scope: Scope) -> str | None:
    """A link that Cursor opens, for the user's own file."""
    if scope == "project":
        return None
    server = base64.b64encode(json.dumps(_server(way)).encode()).decode()
    query = urlencode({"name": NAME, "config": server})
    return f"cursor://anysphere.cursor-deeplink/mcp/install?{query}"


CURSOR = Client(
    name="cursor",
    title="Cursor",
    servers="mcpServers",
    language=Dialect(comments=True, trailing_commas=True),
    place=_place,
    server=_server,
    line=_line,
    expands=re.compile(r"\$\{[^}]+\}"),
    then={
        "user": "look at Settings, Tools & MCP: the server is to be on",
        "project": "look at Settings, Tools & MCP: the server is to be on",
    },
)
