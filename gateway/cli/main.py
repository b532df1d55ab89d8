"""a2a-gateway: the gateway's command line, put together of its commands.

Knows what commands there are and how their errors are told, and nothing of what they do.
"""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Final

import typer

from gateway.cli import agents, control, doctor, plain, run, runs
from gateway.cli.errors import DETACHED, EXIT_CODES, REFUSED, CommandError
from gateway.cli.settings import APPLICATION

HELP: Final = f"""Durable runs of coding agents, over MCP and A2A.

Commands that need the gateway start it when none runs.

{EXIT_CODES}"""

# Plain help and errors: rich's would take 60 ms, and draw boxes around one line.
app = typer.Typer(
    name=APPLICATION,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(control.serve)
app.command()(control.status)
app.command()(control.stop)
app.command()(doctor.doctor)
app.command(help=run.HELP, no_args_is_help=True)(run.run)
app.add_typer(runs.app, name="runs")
app.add_typer(agents.app, name="agents")
app.command("register-token")(control.register_token)


def main() -> None:
    """The program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name=APPLICATION)
    except CommandError as exc:
        sys.stderr.write(f"{APPLICATION}: {plain.line(str(exc))}\n")
        sys.exit(exc.code)
    except OSError as exc:  # of a stream of ours: commands say their own
        _let_go_of_stdout()
        sys.stderr.write(f"{APPLICATION}: stdout cannot be written: {exc.strerror}\n")
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        sys.exit(DETACHED)


def _let_go_of_stdout() -> None:
    """What is still buffered is lost; without this Python tries again at its end, and complains."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
