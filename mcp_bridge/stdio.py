"""`a2a-mcp-bridge`: the MCP server that clients start; it relays to the gateway and ends with them.

Standard library only (44 ms to start; the MCP SDK alone takes over 600), so an agent sees the
tools in its first turn. Runs live in the gateway: nothing is lost when this process goes.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

from mcp_bridge.relaying.endpoint import Gateway
from mcp_bridge.relaying.lines import lines_of
from mcp_bridge.relaying.relay import Relay
from mcp_bridge.within import within

# Another distribution, mcp-bridge, ships a package of this name; its modules have no such mark.
PRODUCT: Final = "a2a-gateway"


def main(argv: Sequence[str] | None = None, command: Sequence[str] | None = None) -> int:
    """The command's entry. `command` starts a gateway (default: `a2a-gateway serve`)."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    environ = dict(os.environ)  # read once, here
    token_file = None if arguments.token_file is None else Path(arguments.token_file).absolute()
    if arguments.action is not None:
        # Inline: a client that starts the relay does not wait for what writes its configuration.
        from mcp_bridge.clients import command as clients  # noqa: PLC0415

        if arguments.action == "headers":
            return clients.headers(arguments, environ)
        return clients.configure(arguments, environ, _query(arguments))
    gateway = Gateway(environ, url=arguments.gateway, token_file=token_file, command=command)
    with suppress(KeyboardInterrupt):
        query, elicit = _query(arguments), arguments.elicit
        relay = Relay(gateway, sys.stdout.buffer, within(environ), query, elicit=elicit)
        relay.serve(lines_of(sys.stdin.buffer))
    os._exit(0)  # calls under way have no reader any more; their threads need no farewell


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="a2a-mcp-bridge",
        description="MCP server (stdio) for runs of coding agents; relays to the a2a-gateway, "
        "which it starts when none answers.",
    )
    _add_way(parser)
    actions = parser.add_subparsers(dest="action")
    config = actions.add_parser("config", help="print a client's configuration, or write it")
    actions.add_parser("headers", help="print the headers of a request to the gateway, as JSON")
    if "config" in argv:
        # Inline: see above.
        from mcp_bridge.clients import command as clients  # noqa: PLC0415

        clients.add_arguments(config)
        _add_way(config, default=argparse.SUPPRESS)  # they may stand behind it too
    arguments = parser.parse_args(argv)
    if arguments.token_file is not None and arguments.gateway is None:
        parser.error("--token-file goes with --gateway")
    return arguments


def _add_way(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Which gateway, and what is asked of it."""

    def add(flag: str, metavar: str, says: str, kind: Callable[[str], str] = str) -> None:
        parser.add_argument(flag, metavar=metavar, help=says, type=kind, default=default)

    add("--gateway", "URL", "a gateway to use instead", _url)
    add("--token-file", "FILE", "bearer token for --gateway")
    add("--toolsets", "NAMES", "more tools than the seven: agents (comma-separated)")
    says = "let the client ask its person what a run asks"
    parser.add_argument("--elicit", action="store_true", help=says, default=default)


def _url(text: str) -> str:
    refused = argparse.ArgumentTypeError(f"{text!r} is no http(s) URL")
    try:
        parts = urlsplit(text)
        reached = bool(parts.hostname) and parts.port != 0  # a wrong port raises
    except ValueError:
        raise refused from None
    # A request's head is printable ASCII; what else is in a URL is written %XX, or xn-- in a name.
    if parts.scheme not in ("http", "https") or not reached or not _plain(text):
        raise refused
    if parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{text!r} has a query; use --toolsets and --elicit")
    return text


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _query(arguments: argparse.Namespace) -> str:
    """What the flags ask of the gateway's MCP side; it refuses what it does not know."""
    asked = {"toolsets": arguments.toolsets, "elicit": "true" if arguments.elicit else None}
    return urlencode({name: value for name, value in asked.items() if value}, safe=",")


if __name__ == "__main__":
    sys.exit(main())
