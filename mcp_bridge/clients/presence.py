"""Which clients of this person have the bridge, and whether it can be started there.

Knows no terminal; reads the person's own files only, and changes nothing.
"""

import shutil
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from mcp_bridge.clients import files, jsonc, toml
from mcp_bridge.clients.client import Client, Surroundings, ours
from mcp_bridge.clients.configuration import CLIENTS, entry_of
from mcp_bridge.clients.errors import ClientError


class Presence(NamedTuple):
    """`text`: what is wrong, where something is."""

    client: Client
    state: Literal["has it", "lacks it", "is wrong"]
    text: str = ""


def presences(around: Surroundings) -> Iterator[Presence]:
    """Of the clients that have a file here."""
    for client in CLIENTS.values():
        try:
            path = client.place(around, "user")
            found = files.found(path)
            if found.content is None:
                continue
            yield _presence(client, found)
        except ClientError as exc:
            yield Presence(client, "is wrong", str(exc))


def _presence(client: Client, found: files.Found) -> Presence:
    try:
        text = found.text
        document: Any = {}
        if client.language == "toml":
            document = toml.read(text)
        elif text.strip():
            document = jsonc.read(text, client.language)
        entry = entry_of(client, document)
    except ClientError as exc:
        return Presence(client, "is wrong", f"{found.path}: {exc}")
    if entry is None:
        return Presence(client, "lacks it")
    command = entry.get("command")
    if not ours(entry):
        return Presence(client, "is wrong", f"{found.path} has another server under our name")
    if isinstance(command, str) and shutil.which(command) is None:
        return Presence(client, "is wrong", f"{found.path} starts {command}, which is not there")
    return Presence(client, "has it")
