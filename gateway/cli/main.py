"""a2a-gateway: the gateway's command line.

Knows settings and the home folder; the server is imported only by the command that runs it.
"""

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import httpx
import typer
from pydantic import ValidationError

from gateway.core.errors import CoreError
from gateway.core.extension import describe
from gateway.core.face.tokens import TokenError, ensure_token
from gateway.home import Home, Published
from gateway.settings import Settings, overridden

STOP_WAIT_S: Final = 20.0  # its wrappers stop their agents' trees first
HEALTH_S: Final = 5.0
NOT_RUNNING: Final = 1
USAGE: Final = 2

app = typer.Typer(
    name="a2a-gateway",
    help="Durable runs of coding agents, over MCP and A2A.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of all state (A2A_GATEWAY_HOME).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


def main() -> None:
    """The program."""
    app()


@app.command()
def serve(
    home: HomeOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; loopback only.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    idle_exit: Annotated[
        float | None, typer.Option(help="End after so many seconds without work or requests.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the gateway until Ctrl+C or SIGTERM."""
    settings = _settings(home=home, host=host, port=port, idle_exit_s=idle_exit)
    home_folder = _home(settings)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for chatty in ("httpx", "mcp"):  # a line a request at INFO
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Inline: `status` and `stop` answer without the server's 0.8 s of imports.
    from gateway.app import run_gateway  # noqa: PLC0415
    from gateway.core.face.serving import PortTakenError, run  # noqa: PLC0415

    def ready(url: str) -> None:
        about = {"url": url, "pid": os.getpid(), "token_file": str(home_folder.token_file)}
        _say(about, f"a2a-gateway answers at {url} (home {settings.home})", as_json)

    try:
        run(run_gateway(settings, ready))
    except (CoreError, PortTakenError, TokenError) as exc:
        _fail(str(exc))


@app.command()
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say whether a gateway runs, and where. Exits with 1 when none does."""
    settings = _settings(home=home)
    found = _home(settings).gateway()
    if found is None:
        _say({"running": False}, f"no gateway runs with home {settings.home}", as_json)
        raise typer.Exit(NOT_RUNNING)
    health = _health(found)
    about = {"running": True, "answers": health is not None, **found.to_json(), **(health or {})}
    word = "answers" if health is not None else "runs but does not answer"
    _say(about, f"a2a-gateway {word} at {found.url} (pid {found.process.pid})", as_json)
    if health is None:
        raise typer.Exit(NOT_RUNNING)


@app.command()
def stop(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Stop the gateway and its local agents. Remote runs go on, and are found again."""
    settings = _settings(home=home)
    found = _home(settings).gateway()
    if found is None:
        _say({"stopped": False}, f"no gateway runs with home {settings.home}", as_json)
        return
    os.kill(found.process.pid, signal.SIGTERM)
    until = time.monotonic() + STOP_WAIT_S
    while found.process.alive:
        if time.monotonic() > until:
            _fail(f"the gateway (pid {found.process.pid}) has not ended within {STOP_WAIT_S:g} s")
        time.sleep(0.05)
    _say({"stopped": True, "pid": found.process.pid}, "the gateway was stopped", as_json)


@app.command("register-token")
def register_token(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say which file holds the token that lets wrappers register here, and nothing else."""
    path = _home(_settings(home=home)).register_token_file
    try:
        ensure_token(path)
    except (OSError, TokenError) as exc:
        _fail(str(exc))
    _say({"register_token_file": str(path)}, str(path), as_json)


def _settings(**given: Any) -> Settings:
    try:
        return overridden(Settings(), **given)
    except ValidationError as exc:
        _fail(f"settings: {describe(exc)}", USAGE)


def _home(settings: Settings) -> Home:
    try:
        return Home(settings.home)
    except (CoreError, OSError) as exc:
        _fail(f"home: {exc}")


def _health(found: Published) -> dict[str, Any] | None:
    try:
        with httpx.Client(trust_env=False, timeout=HEALTH_S) as client:
            return client.get(f"{found.url}/healthz").raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None


def _say(about: dict[str, Any], text: str, as_json: bool) -> None:
    sys.stdout.write((json.dumps(about) if as_json else text) + "\n")
    sys.stdout.flush()


def _fail(text: str, code: int = 1) -> NoReturn:
    sys.stderr.write(f"a2a-gateway: {text}\n")
    raise typer.Exit(code)
