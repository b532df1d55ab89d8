"""start-a2a-agent: asks or reads which agent to wrap, says that it is ready, ends on Ctrl+C.

Knows no adapter and no route; it imports the server only once the command line is understood, so
mistakes are answered at once.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from gateway.core.extension import describe
from wrappers.agents import AGENTS, AgentMissingError, agent_named
from wrappers.home import NameTakenError
from wrappers.settings import WrapperSettings, become, process_environment

QUESTION: Final = "Choose backend to wrap (`1`/`codex` or `2`/`claude_code`):"
WRONG_CHOICE: Final = "Invalid choice. Enter `1`, `codex`, `2`, or `claude_code`."
USAGE_ERROR: Final = 2
INTERRUPTED: Final = 130


class LaunchError(Exception):
    """The wrapper cannot start; the text says why and what to do, `status` is the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> None:
    """The program. Exits with 0 after a stop by signal, 2 for a wrong command line."""
    options = _parser().parse_args(arguments)
    try:
        _launch(options)
    except LaunchError as exc:
        sys.stderr.write(f"start-a2a-agent: {exc}\n")
        sys.exit(exc.status)


def _parser() -> argparse.ArgumentParser:
    """Options have no defaults: what is not given stays for the environment."""
    parser = argparse.ArgumentParser(
        prog="start-a2a-agent",
        description="Serve a coding agent over A2A until Ctrl+C.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    option = parser.add_argument
    option(
        "agent", nargs="?", default=None, help="codex, claude_code or scripted; asked if left out"
    )
    option("--host", help="address to listen on (127.0.0.1)")
    option("--port", type=int, help="port to listen on; 0 takes any (default)")
    option("--name", help="name of this wrapper, the agent's by default")
    option("--root", dest="roots", action="append", type=Path, metavar="FOLDER",
           help="folder that runs may work in; may be repeated")  # fmt: skip
    option("--token-file", type=Path, help="file of the bearer token, made if missing")
    option("--max-runs", type=int, help="runs at once")
    option("--codex-bin", type=Path, help="the codex program")
    option("--claude-bin", type=Path, help="the claude program")
    option("--run-as", metavar="USER", help="become this user first (needs root)")
    option("--allow-root", action="store_true",
           help="let Claude Code skip permissions as root; for containers only")  # fmt: skip
    option("--require", action="append", metavar="URI",
           help="A2A extension that every caller must activate; may be repeated")  # fmt: skip
    option("--no-auth", action="store_true", help="ask for no token; loopback only")
    option("--insecure-bind", action="store_true", help="serve an address that is not loopback")
    option("--json", action="store_true", default=False, help="say one line of JSON when ready")
    return parser


def _launch(options: argparse.Namespace) -> None:
    given = vars(options)
    chosen, as_json = given.pop("agent"), given.pop("json")
    name = _choose() if chosen is None else agent_named(chosen)
    if name is None:
        raise LaunchError(f"no agent {chosen!r}; there are: {', '.join(AGENTS)}", USAGE_ERROR)
    settings = _settings(given)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if not as_json else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    _serve(name, settings, as_json=as_json)


def _choose() -> str:
    """Ask the person at the terminal. Raises: LaunchError."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LaunchError(
            f"no agent named, and no terminal to ask on; name one: {', '.join(AGENTS)}", USAGE_ERROR
        )
    import questionary  # noqa: PLC0415 - 150 ms that only the question needs

    answer = questionary.text(QUESTION, validate=_valid_choice).ask()
    if answer is None:
        raise LaunchError("nothing chosen", INTERRUPTED)
    return agent_named(answer) or ""


def _valid_choice(text: str) -> bool | str:
    return agent_named(text) is not None or WRONG_CHOICE


def _settings(given: dict[str, Any]) -> WrapperSettings:
    try:
        settings = WrapperSettings(**given)
        if settings.run_as is None:
            return settings
        become(settings.run_as)
        return WrapperSettings(**given)  # again: the home may be that user's
    except ValidationError as exc:
        raise LaunchError(describe(exc), USAGE_ERROR) from exc
    except KeyError as exc:
        raise LaunchError(f"no user {given.get('run_as')!r} on this machine", USAGE_ERROR) from exc
    except PermissionError as exc:
        raise LaunchError("--run-as needs root") from exc


def _serve(name: str, settings: WrapperSettings, *, as_json: bool) -> None:
    # Half a second of imports that a wrong command line need not wait for.
    from gateway.core.errors import DatabaseUnusableError  # noqa: PLC0415
    from gateway.core.face.serving import PortTakenError, run  # noqa: PLC0415
    from gateway.core.face.tokens import TokenError  # noqa: PLC0415
    from wrappers.ready import Ready  # noqa: PLC0415
    from wrappers.serve import ExposureError, serve  # noqa: PLC0415

    def on_ready(ready: Ready) -> None:
        _say(ready.line() if as_json else ready.text())

    def on_stop(reason: str) -> None:
        if not as_json:
            _say(f"\nReceived {reason}, shutting down {name} A2A wrapper...")

    os.umask(0o077)
    try:
        run(serve(name, AGENTS[name], settings, process_environment(), on_ready, on_stop))
    except (
        AgentMissingError,
        DatabaseUnusableError,
        ExposureError,
        NameTakenError,
        PortTakenError,
        TokenError,
    ) as exc:
        raise LaunchError(str(exc)) from exc
    except PermissionError as exc:
        raise LaunchError(f"no permission for {exc.filename}; see A2A_GATEWAY_HOME") from exc


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
