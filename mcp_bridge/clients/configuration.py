"""The clients that can be configured, and what of the bridge their files are to hold.

Pure; knows no disk.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from mcp_bridge.clients import jsonc, toml
from mcp_bridge.clients.claude import CLAUDE
from mcp_bridge.clients.client import (
    HOME_VARIABLE,
    NAME,
    Client,
    Server,
    Way,
    checked,
    merged,
    ours,
)
from mcp_bridge.clients.codex import CODEX
from mcp_bridge.clients.cursor import CURSOR
from mcp_bridge.clients.errors import ClientError
from mcp_bridge.clients.gemini import GEMINI
from mcp_bridge.clients.vscode import VSCODE

CLIENTS: Final[Mapping[str, Client]] = {
    client.name: client for client in (CLAUDE, CODEX, CURSOR, GEMINI, VSCODE)
}
_MASKED: Final = "…"
_SHOWN_MAX: Final = 200  # characters of a value
# What a server's entry is shown by, and what may be secret there too: what stands behind a
# command's name; a URL's login, its path and what follows.
_WORDS: Final = re.compile(r"\s.*", re.DOTALL)
_SECRET: Final = {
    "type": _WORDS,
    "command": _WORDS,
    "url": re.compile(r"(?<=//)[^/?#@]*@|(?<=[^:/])[/?#].*", re.DOTALL),
}


class Plan(NamedTuple):
    """What a file is to become. `document`: what it holds; `present`: its entry under our name;
    `foreign`: that one is of another kind."""

    text: str
    document: dict[str, Any]
    present: Server | None
    wanted: Server
    foreign: bool

    @property
    def changes(self) -> list[str]:
        """Lines that begin with + or -; values that may be secrets are not shown."""
        before, after = self.present or {}, self.wanted
        gone = [
            (key, before[key]) for key in before if key not in after or after[key] != before[key]
        ]
        new = [(key, after[key]) for key in after if key not in before or before[key] != after[key]]
        lines = [f"- {key}: {self._lost(key, value)}" for key, value in gone]
        return lines + [f"+ {key}: {_shown(value, before.get(key))}" for key, value in new]

    def _lost(self, key: str, value: Any) -> str:
        if self.foreign and (key not in _SECRET or not isinstance(value, str)):
            return _MASKED
        if self.foreign or key == "url":
            value = _SECRET[key].sub(_MASKED, value)
        return _shown(value, value)


def printed(client: Client, way: Way) -> str:
    """The configuration, ready to paste. Raises: ClientError."""
    server = {key: value for key, value in checked(client, way).items() if value != {}}
    if client.language == "toml":
        return toml.table_text((client.servers, NAME), server).rstrip("\n")
    return jsonc.dumped(_document(client, way, server))


def planned(client: Client, way: Way, text: str) -> Plan:
    """What a file with this text is to become. Raises: ClientError when that cannot be without
    losing something of it."""
    wanted = checked(client, way)
    empty = not text.strip()
    if client.language == "toml":
        document: Any = toml.read(text)
    else:
        document = {} if empty else jsonc.read(text, client.language)
    present = entry_of(client, document)
    foreign = present is not None and not ours(present)
    if present is None or foreign:
        after = {key: value for key, value in wanted.items() if value != {}}
    else:
        after = merged(present, wanted)
        after = {key: value for key, value in after.items() if value != {} or key in present}
    if client.language == "toml":
        path = (client.servers, NAME)
        changed = (toml.replaced if foreign else toml.edited)(text, path, after)
    elif empty:
        changed = jsonc.dumped(_document(client, way, after)) + "\n"
    else:
        whole = _whole(client, way, document, after)
        changed = jsonc.edited(text, client.language, whole)
        if jsonc.read(changed, client.language) != whole:
            raise ClientError("it is written in a way that cannot be edited")
    return Plan(changed, document, present, after, foreign)


def entry_of(client: Client, document: Any) -> Server | None:
    """The entry under our name. Raises: ClientError when there is no room for one."""
    if not isinstance(document, dict):
        raise ClientError("it holds no object")
    servers = cast("dict[str, Any]", document).get(client.servers, {})
    if not isinstance(servers, dict):
        raise ClientError(f"its {client.servers} is no object")
    found = cast("dict[str, Any]", servers).get(NAME)
    if found is None or isinstance(found, dict):
        return cast("Server | None", found)
    raise ClientError(f"its {client.servers} has {NAME} as something else than an object")


def _document(client: Client, way: Way, server: Server) -> dict[str, Any]:
    inputs = client.inputs(way)
    document: dict[str, Any] = {client.servers: {NAME: server}}
    return document | ({"inputs": inputs} if inputs else {})


def _whole(client: Client, way: Way, document: dict[str, Any], server: Server) -> dict[str, Any]:
    """The document with the server, and with the inputs that it lacks."""
    result = {**document, client.servers: {**document.get(client.servers, {}), NAME: server}}
    given = document.get("inputs", [])
    if not (asked := client.inputs(way)):
        return result
    if not isinstance(given, list):
        raise ClientError("its inputs are no list")
    listed = cast("list[Any]", given)
    known = {cast("Server", one).get("id") for one in listed if isinstance(one, dict)}
    return {**result, "inputs": listed + [one for one in asked if one["id"] not in known]}


def _shown(value: Any, theirs: Any) -> str:
    """One line. What the person put into a table of ours is theirs, and may be a secret."""
    if isinstance(value, dict):
        known = cast("dict[str, Any]", theirs) if isinstance(theirs, dict) else {}
        pairs = cast("dict[str, Any]", value).items()
        value = {k: v if k == HOME_VARIABLE or known.get(k) != v else _MASKED for k, v in pairs}
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]} …"
