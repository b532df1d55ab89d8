"""The command line of start-a2a-agent: its options, its help, its exit statuses. Starts nothing."""

import argparse
from pathlib import Path
from typing import Final

DOCTOR: Final = "doctor"
FAILED: Final = 1
USAGE_ERROR: Final = 2
NAME_TAKEN: Final = 3  # the gateway waits for the other one then
INTERRUPTED: Final = 130

EXITS: Final = """\
exit status:
  0    ended by SIGINT, SIGTERM or idleness; a doctor that found nothing wrong
  1    it cannot start or go on: the last line on stderr says why; a doctor that found a failure
  2    a wrong command line or setting
  3    another wrapper of the same name runs; choose another --name
  130  no answer to the question which agent to wrap

A second signal kills what is still at work. Settings are read from the environment too
(A2A_AGENT_PORT for --port); options go before them."""


def parser() -> argparse.ArgumentParser:
    """Options have no defaults: what is not given stays for the environment."""
    made = argparse.ArgumentParser(
        prog="start-a2a-agent",
        usage="start-a2a-agent [AGENT ...] [options]\n       start-a2a-agent doctor [AGENT ...]"
        " [--json]",
        description="Serve coding agents over A2A until Ctrl+C, each at its own port; or look why "
        "that does not work (doctor).",
        epilog=EXITS,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "agents",
        nargs="*",
        default=[],
        metavar="AGENT",
        help="codex, claude_code or scripted; asked if left out",
    )
    _serving(made)
    _working(made)
    _registering(made)
    made.add_argument(
        "--json", action="store_true", default=False, help="say one line of JSON when ready"
    )
    return made


def _serving(made: argparse.ArgumentParser) -> None:
    option = made.add_argument_group("where it is served").add_argument
    option("--host", help="address to listen on (127.0.0.1)")
    option("--port", type=int, help="port to listen on; 0 takes any (default)")
    option("--public-url", metavar="URL", help="URL under which others reach it, if another")
    option("--token-file", type=Path, help="file of the bearer token (0600), made if missing")
    option("--no-auth", action="store_true", help="ask for no token; loopback only")
    option("--insecure-bind", action="store_true", help="serve an address that is not loopback")
    option("--launched", action="store_true", help=argparse.SUPPRESS)  # by a gateway of this home
    option("--require", action="append", metavar="URI",
           help="A2A extension that every caller must activate; may be repeated")  # fmt: skip
    option("--idle-exit", dest="idle_exit_s", type=float, metavar="SECONDS",
           help="end after so long without a request and without an active run")  # fmt: skip


def _working(made: argparse.ArgumentParser) -> None:
    option = made.add_argument_group("how the agent works").add_argument
    option("--name", help="name of this wrapper, the agent's by default")
    option("--root", dest="roots", action="append", type=Path, metavar="FOLDER",
           help="folder that runs may work in; may be repeated")  # fmt: skip
    option("--max-runs", type=int, help="runs at once")
    option("--codex-bin", type=Path, help="the codex program")
    option("--claude-bin", type=Path, help="the claude program")
    option("--run-as", metavar="USER", help="become this user first (needs root)")
    option("--allow-root", action="store_true",
           help="let Claude Code skip permissions as root; for containers only")  # fmt: skip


def _registering(made: argparse.ArgumentParser) -> None:
    option = made.add_argument_group("a gateway elsewhere").add_argument
    option("--register", dest="register_at", metavar="URL",
           help="register at this gateway, https or loopback")  # fmt: skip
    option("--register-token-file", type=Path, metavar="FILE",
           help="its register token (a2a-gateway register-token)")  # fmt: skip
