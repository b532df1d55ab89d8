"""What a client of the bridge is, and the two ways in which it reaches a gateway.

Knows no file and no client by name.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

from mcp_bridge.clients.errors import ClientError
from mcp_bridge.clients.jsonc import Dialect

NAME: Final = "a2a-gateway"
COMMAND: Final = "a2a-mcp-bridge"
MODULE: Final = "mcp_bridge.stdio"  # how a checkout starts it
HOME_VARIABLE: Final = "A2A_GATEWAY_HOME"
TOKEN_VARIABLE: Final = "A2A_GATEWAY_TOKEN"  # noqa: S105  # a name, which clients look up
TOKEN_INPUT: Final = "a2a-gateway-token"  # noqa: S105  # the id of a question
# Keys by which a request says who asks, in the words of the clients.
_ASKING: Final = frozenset(
    {"headers", "headersHelper", "http_headers", "http_headers_helper", "bearer_token_env_var"}
)
# The keys that say how a server is reached: those of one way make no sense beside the other's.
_BY_URL: Final = _ASKING | {"url", "httpUrl"}
_REACHING: Final = _BY_URL | {"type", "command", "args", "env", "env_vars", "cwd", "envFile"}

Server: TypeAlias = dict[str, Any]  # one server, as the client's file has it
Scope: TypeAlias = Literal["user", "project"]


class Entry(NamedTuple):
    """How the bridge is started: the command, its arguments, its environment."""

    command: str
    args: Sequence[str]
    env: Mapping[str, str]


class Http(NamedTuple):
    """A gateway's /mcp. `helper`: a shell command that prints the headers; None where no token is
    needed."""

    url: str
    helper: str | None


Way: TypeAlias = Entry | Http


class Surroundings(NamedTuple):
    """Where the person is: their environment, their folder, their system (`sys.platform`)."""

    variables: Mapping[str, str]
    folder: Path
    platform: str

    def home(self) -> Path:
        """The person's home folder. Raises: ClientError."""
        try:
            given = self.variables.get("HOME")
            return Path(given) if given else Path("~").expanduser()
        except RuntimeError as exc:
            raise ClientError("HOME is not set; set it, or use --scope project") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """`servers`: the key under which its file has its servers. `language`: of that file.
    `expands`: what it would replace in a text. `line`: a command of its own that installs the
    bridge, None where it has none that says all; `remove`: one that takes it out again, and nothing
    else. `hidden`: what of its document keeps a folder from the entry. `then`: how the tools come
    to be seen.
    """

    name: str
    title: str
    servers: str
    language: Dialect | Literal["toml"]
    place: Callable[[Surroundings, Scope], Path]
    server: Callable[[Way], Server]
    line: Callable[[Way, Scope], str | None]
    then: Mapping[Scope, str]
    remove: Callable[[Scope], str | None] = lambda _: None
    hidden: Callable[[Server, Path], str | None] = lambda document, folder: None
    expands: "re.Pattern[str] | None" = None
    inputs: Callable[[Way], list[Server]] = lambda _: []


def checked(client: Client, way: Way) -> Server:
    """The server as the client's file is to have it. Raises: ClientError for a text that the client
    would replace."""
    if client.expands is not None:
        texts = (
            (way.command, *way.args, *way.env.values()) if isinstance(way, Entry) else (way.url,)
        )
        for text in texts:
            if (found := client.expands.search(text)) is not None:
                raise ClientError(
                    f"{client.title} would replace {found.group()} in {text!r} by a variable's "
                    "value; use a path without it"
                )
    return client.server(way)


def merged(present: Server, wanted: Server) -> Server:
    """`wanted` over an entry of ours: what the person added to it stays."""
    gone = _BY_URL if "command" in present and "command" in wanted else _REACHING
    kept = {key: value for key, value in present.items() if key in wanted or key not in gone}
    result = kept | wanted
    for key in ("env", "headers"):
        if isinstance(present.get(key), dict) and key in wanted:
            added = cast("Server", present[key])
            result[key] = {k: v for k, v in added.items() if k != HOME_VARIABLE} | wanted[key]
    if isinstance(present.get("tools"), dict) and "tools" in wanted:
        tools = cast("dict[str, Server]", present["tools"])
        result["tools"] = tools | {k: {**tools.get(k, {}), **v} for k, v in wanted["tools"].items()}
    if isinstance(present.get("env_vars"), list) and "env_vars" in wanted:
        names = cast("list[Any]", present["env_vars"])
        result["env_vars"] = wanted["env_vars"] + [n for n in names if n not in wanted["env_vars"]]
    return result


def ours(present: Server) -> bool:
    """Whether the entry under our name starts the bridge or reaches a gateway."""
    command, args, url = present.get("command"), present.get("args"), present.get("url")
    if isinstance(command, str):
        listed = cast("list[Any]", args) if isinstance(args, list) else []
        return PurePath(command).name == COMMAND or MODULE in listed
    if not isinstance(url, str):
        return False
    text = json.dumps(present, default=str)
    marked = any(mark in text for mark in (TOKEN_VARIABLE, TOKEN_INPUT, COMMAND))
    return urlsplit(url).path.endswith("/mcp") and (marked or not present.keys() & _ASKING)
