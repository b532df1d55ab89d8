"""`a2a-mcp-bridge config CLIENT` and `headers`: what is asked for, and the way to the gateway.

Standard library only. Imported when one of them is asked for and never on the way to serving.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from mcp_bridge.clients.client import (
    COMMAND,
    HOME_VARIABLE,
    NAME,
    TOKEN_VARIABLE,
    Client,
    Entry,
    Http,
    Scope,
    Surroundings,
    Way,
)
from mcp_bridge.clients.configuration import CLIENTS, printed
from mcp_bridge.clients.errors import ClientError
from mcp_bridge.clients.installing import installed, say
from mcp_bridge.relaying.endpoint import Gateway, GatewayGoneError, published, state_home

PORT_VARIABLE: Final = "A2A_GATEWAY_PORT"
TOOLSETS: Final = ("runs", "agents")  # the catalog's; it takes 0.2 s to import


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `config`."""
    parser.add_argument("client", choices=sorted(CLIENTS))
    parser.add_argument(
        "--http", action="store_true", help="by the gateway's URL instead of a process of its own"
    )
    parser.add_argument(
        "--scope",
        choices=("user", "project"),
        default="user",
        help="for all your projects, or for this folder",
    )
    parser.add_argument("--write", action="store_true", help="write it, after asking")
    parser.add_argument("--yes", action="store_true", help="write it without asking")


def configure(arguments: argparse.Namespace, environ: Mapping[str, str], query: str) -> int:
    """`config`: the exit code. `query`: what /mcp is asked for."""
    client = CLIENTS[arguments.client]
    scope = cast("Scope", arguments.scope)
    around = Surroundings(environ, Path.cwd(), sys.platform)
    try:
        again = _again(arguments, environ)
        _check_toolsets(arguments.toolsets)
        way = _http(arguments, environ, query) if arguments.http else _entry(arguments, environ)
        if not (arguments.write or arguments.yes):
            sys.stdout.write(printed(client, way) + "\n")
            sys.stdout.flush()
            _say_where(client, way, scope, around, again)
            code = 0
        else:
            line = [*again, "--write"]
            code = installed(client, way, scope, around, yes=arguments.yes, again=line)
        if code == 0:
            _say_of_way(client, way, scope, arguments, environ)
    except (ClientError, GatewayGoneError) as exc:
        sys.stderr.write(f"{COMMAND}: {exc}\n")
        return 1
    except KeyboardInterrupt:
        say("", "Nothing is written.")
        return 130
    return code


def headers(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """`headers`: those of a request to the gateway, as JSON, for clients that run a command to have
    them. Nothing is started, and a terminal is not shown the token."""
    if sys.stdout.isatty():
        sys.stderr.write(f"{COMMAND}: this prints the gateway's token, and not to a terminal\n")
        return 1
    gateway = Gateway(
        environ, url=arguments.gateway, token_file=_token_file(arguments), may_start=False
    )
    try:
        token = gateway.address().token
    except GatewayGoneError as exc:
        sys.stderr.write(f"{COMMAND}: {exc}\n")
        return 1
    found = {} if token is None else {"Authorization": f"Bearer {token}"}
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _check_toolsets(names: str | None) -> None:
    """Raises: ClientError, before a client is given what the gateway would refuse."""
    for name in (names or "").split(","):
        if name.strip() and name.strip() not in TOOLSETS:
            raise ClientError(f"no toolset {name!r}; the toolsets are {', '.join(TOOLSETS)}")


def _command() -> str:
    return str(Path(sys.executable).with_name(COMMAND))


def _token_file(arguments: argparse.Namespace) -> Path | None:
    return None if arguments.token_file is None else Path(arguments.token_file).absolute()


def _home(environ: Mapping[str, str]) -> str | None:
    """The gateway's home, where a variable says it: a client that is started from a desktop does
    not have it."""
    named = environ.get(HOME_VARIABLE) or environ.get("XDG_STATE_HOME")
    return str(state_home(environ)) if named else None


def _at_gateway(arguments: argparse.Namespace) -> list[str]:
    token_file = _token_file(arguments)
    flags = [] if arguments.gateway is None else ["--gateway", arguments.gateway]
    return flags + ([] if token_file is None else ["--token-file", str(token_file)])


def _flags(arguments: argparse.Namespace) -> list[str]:
    flags = _at_gateway(arguments)
    flags += ["--toolsets", arguments.toolsets] if arguments.toolsets else []
    return flags + (["--elicit"] if arguments.elicit else [])


def _entry(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Entry:
    home = _home(environ)
    return Entry(_command(), _flags(arguments), {} if home is None else {HOME_VARIABLE: home})


def _again(arguments: argparse.Namespace, environ: Mapping[str, str]) -> list[str]:
    """The command line that says the same once more."""
    home = _home(environ)
    line = [] if home is None else ["env", f"{HOME_VARIABLE}={home}"]
    line += [_command(), *_flags(arguments), "config", arguments.client]
    line += ["--http"] if arguments.http else []
    return line + (["--scope", "project"] if arguments.scope == "project" else [])


def _http(arguments: argparse.Namespace, environ: Mapping[str, str], query: str) -> Http:
    """Raises: ClientError when nobody knows the gateway's URL."""
    base, needed = arguments.gateway, arguments.token_file is not None
    if base is None:
        home, port = state_home(environ), environ.get(PORT_VARIABLE, "0")
        needed = True
        if (running := published(home)) is not None:
            base = running.url
        elif port.isdecimal() and port != "0":
            base = f"http://127.0.0.1:{port}"
        else:
            raise ClientError(
                f"no gateway runs for home {home}, so its URL is not known; start it with a port "
                f"that stays, {NAME} serve --port 8420, or name it: --gateway URL"
            )
    url = base.rstrip("/").removesuffix("/mcp") + "/mcp" + (f"?{query}" if query else "")
    return Http(url, _helper(arguments, environ) if needed else None)


def _helper(arguments: argparse.Namespace, environ: Mapping[str, str]) -> str:
    home = _home(environ)
    line = [] if home is None else ["env", f"{HOME_VARIABLE}={home}"]
    return shlex.join([*line, _command(), *_at_gateway(arguments), "headers"])


def _say_where(
    client: Client, way: Way, scope: Scope, around: Surroundings, again: Sequence[str]
) -> None:
    try:
        say(f"# {client.title}: the above is for {client.place(around, scope)}")
    except ClientError as exc:
        say(f"# {client.title}: {exc}")
    if (line := client.line(way, scope)) is not None:
        say("# or paste this line:", line)
    say("# or have it written there, beside what the file has:", shlex.join([*again, "--write"]))


def _say_of_way(
    client: Client,
    way: Way,
    scope: Scope,
    arguments: argparse.Namespace,
    environ: Mapping[str, str],
) -> None:
    """What the person has to know of it, and do for it."""
    if isinstance(way, Entry):
        if scope == "project":
            say(f"# {way.command} is a path of this machine: others of the project have another.")
        return
    if way.helper is not None:
        file = _token_file(arguments) or state_home(environ) / "token"
        _say_of_token(client, way, file)
    port = urlsplit(way.url).port
    if arguments.gateway is None and environ.get(PORT_VARIABLE) != str(port):
        say(
            f"# {way.url} holds as long as this gateway runs. For a port that stays, start it with",
            f"#   {NAME} serve --port {port}      (or {PORT_VARIABLE}={port} where it is started)",
        )
    if arguments.gateway is None:
        fails = "fails without it" if client.server(way).get("required") else "has no tools then"
        say(
            f"# {client.title} starts no gateway that it reaches by URL, and {fails}: run it before."
        )


def _say_of_token(client: Client, way: Http, file: Path) -> None:
    server: dict[str, Any] = client.server(way)
    helper = next((key for key in ("headersHelper", "http_headers_helper") if key in server), None)
    if helper is not None:
        say(f"# The token is not in it: the client runs the command of {helper} for it.")
    elif client.inputs(way):
        say(f"# {client.title} asks for the token once and keeps it; it is in {file}")
    else:
        say(
            "# The token is not in it; the client finds it in its environment:",
            f'#   export {TOKEN_VARIABLE}="$(cat {shlex.quote(str(file))})"',
        )
