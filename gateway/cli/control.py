"""`a2a-gateway serve`, `status`, `stop`, `register-token`: the gateway's process.

Knows the home folder; the server is imported only by the command that runs it.
"""

import gc
import os
import signal
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from gateway.cli import screen
from gateway.cli.errors import REFUSED, USAGE, CommandError
from gateway.cli.options import HomeOption, JsonOption
from gateway.cli.settings import home_of
from gateway.core import json
from gateway.core.errors import CoreError
from gateway.core.json import JsonObject
from gateway.home import Home, Published, read_published

if TYPE_CHECKING:
    from gateway.settings import Settings

STOP_WAIT_S: Final = 20.0  # its wrappers stop their agents' trees first
HEALTH_S: Final = 5.0


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
    # The garbage collector finds nothing in modules that are being imported, and takes a sixth of
    # the time until the server answers; `serving.run` turns it on again.
    gc.disable()
    # Inline: other commands answer without the server's 0.6 s of imports.
    import logging  # noqa: PLC0415

    from gateway.app import run_gateway  # noqa: PLC0415
    from gateway.core.face.serving import PortTakenError, run  # noqa: PLC0415
    from gateway.core.face.tokens import TokenError  # noqa: PLC0415

    settings = _settings(home=home, host=host, port=port, idle_exit_s=idle_exit)
    home_folder = _made(settings.home)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for chatty in ("httpx", "mcp"):  # a line a request at INFO
        logging.getLogger(chatty).setLevel(logging.WARNING)

    def ready(url: str) -> None:
        about = {"url": url, "pid": os.getpid(), "token_file": str(home_folder.token_file)}
        text = f"a2a-gateway answers at {url} (home {settings.home})"
        screen.show(about, text, as_json=as_json)

    try:
        run(run_gateway(settings, ready))
    except (CoreError, PortTakenError, TokenError) as exc:
        raise CommandError(str(exc)) from exc


def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say whether a gateway runs, and where. Exits with 1 when none does."""
    folder = home_of(home)
    found = running(folder)
    if found is None:
        text = f"no gateway runs with home {folder}"
        screen.show({"running": False}, text, as_json=as_json)
        raise typer.Exit(REFUSED)
    health = answers(found)
    about = {"running": True, "answers": health is not None, **found.to_json(), **(health or {})}
    word = "answers" if health is not None else "runs but does not answer"
    text = f"a2a-gateway {word} at {found.url} (pid {found.process.pid})"
    screen.show(about, text, as_json=as_json)
    if health is None:
        raise typer.Exit(REFUSED)


def stop(
    home: HomeOption = None,
    keep_agents: Annotated[
        bool,
        typer.Option("--keep-agents", help="Leave its local agents at work for the next gateway."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop the gateway and its local agents. Remote runs go on, and are found again."""
    folder = home_of(home)
    found = running(folder)
    if found is None:
        text = f"no gateway runs with home {folder}"
        screen.show({"stopped": False}, text, as_json=as_json)
        return
    if keep_agents:
        _made(folder).ask_to_keep_agents(found.process)
    os.kill(found.process.pid, signal.SIGTERM)
    until = time.monotonic() + STOP_WAIT_S
    while found.process.alive:
        if time.monotonic() > until:
            pid = found.process.pid
            raise CommandError(f"the gateway (pid {pid}) has not ended within {STOP_WAIT_S:g} s")
        time.sleep(0.05)
    about = {"stopped": True, "pid": found.process.pid}
    screen.show(about, "the gateway was stopped", as_json=as_json)


def register_token(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say which file holds the token that lets wrappers register here, and nothing else."""
    # Inline: of no other command.
    from gateway.core.face.tokens import TokenError, ensure_token  # noqa: PLC0415

    path = _made(home_of(home)).register_token_file
    try:
        ensure_token(path)
    except (OSError, TokenError) as exc:
        raise CommandError(str(exc)) from exc
    screen.show({"register_token_file": str(path)}, str(path), as_json=as_json)


def running(folder: Path) -> Published | None:
    """The gateway of a home, if its process lives."""
    return read_published(folder / "gateway.json")


def answers(found: Published) -> JsonObject | None:
    """What it says of its health; None when it does not answer."""
    parts = urlsplit(found.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=HEALTH_S)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/healthz")
        response = connection.getresponse()
        return json.decode_object(response.read()) if response.status == 200 else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _settings(**given: Any) -> "Settings":
    # Inline: they take 0.1 s to import.
    from pydantic import ValidationError  # noqa: PLC0415

    from gateway.core.extension import describe  # noqa: PLC0415
    from gateway.settings import Settings, overridden  # noqa: PLC0415

    try:
        return overridden(Settings(), **given)
    except ValidationError as exc:
        raise CommandError(f"settings: {describe(exc)}", USAGE) from exc


def _made(folder: Path) -> Home:
    try:
        return Home(folder)
    except (CoreError, OSError) as exc:
        raise CommandError(f"home: {exc}") from exc
