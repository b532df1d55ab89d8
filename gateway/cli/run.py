"""`a2a-gateway run`: a run started and followed in the foreground, its answer alone on stdout.

Knows how a run is asked for; how it is followed is `foreground`.
"""

import sys
import uuid
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.cli import completion, options, references, screen
from gateway.cli.errors import DETACHED, EXIT_CODES, USAGE, CommandError
from gateway.cli.foreground import Foreground, Shown
from gateway.cli.link import GoneError, Link, LostError
from gateway.cli.options import HomeOption, LinesOption, NoStartOption
from gateway.cli.plain import string
from gateway.core.json import JsonObject, as_object

HELP: Final = f"""Start a run and follow it: progress on stderr, the answer alone on stdout.

AGENT is codex, claude_code, a registered agent's name, or a URL. The prompt is also taken from
--file or stdin. Questions are asked at the terminal; without one the command exits with 7 and says
how to answer. Ctrl+C offers to cancel the run, to leave it, or to go on.

With --json: spawn_run's answer, then every event, then the whole run, one JSON object a line.

{EXIT_CODES}"""


def run(  # noqa: PLR0913 - each is an option
    agent: Annotated[str, typer.Argument(metavar="AGENT", autocompletion=completion.agents)],
    prompt: Annotated[list[str] | None, typer.Argument(metavar="PROMPT…")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="File of the prompt.")] = None,
    cwd: Annotated[Path | None, typer.Option(help="Folder to work in; the current one.")] = None,
    role: Annotated[str, typer.Option(help="planner, worker or reviewer.")] = "worker",
    name: Annotated[str | None, typer.Option(help="Name of the agent in this folder.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Job description: a shipped name or a .md or .txt file.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="File with the JSON Schema of the answer.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(help="Session (id) whose conversation goes on.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The agent's model.")] = None,
    effort: Annotated[str | None, typer.Option(help="minimal, low, medium, high, xhigh.")] = None,
    sandbox: Annotated[
        str | None,
        typer.Option(help="read-only, workspace-write, workspace-write+git or danger-full-access."),
    ] = None,
    permission_mode: Annotated[str | None, typer.Option(help="auto, ask or plan.")] = None,
    deadline: Annotated[
        str | None, typer.Option(help="Longest time at work: 90s, 15m, 1h30m.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="K=V", help="To find it by.")
    ] = None,
    request_key: Annotated[
        str | None, typer.Option(help="Your id of this call: repeated under it, it runs once.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Print the run's id and leave it.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: LinesOption = False,
) -> None:
    settings = {
        "model": model,
        "effort": effort,
        "sandbox": sandbox,
        "permission_mode": permission_mode,
        "limits": None if deadline is None else {"deadline_s": options.seconds(deadline)},
    }
    labels = options.pairs(label, "--label")
    arguments = {
        "role": role,
        "prompt": _prompt(prompt, file),
        "cwd": str((cwd or Path.cwd()).absolute()),
        "nickname": name,
        "profile": profile,
        "output_schema": None if schema is None else _schema(schema),
        "session_mode": "new" if session is None else "resume",
        "session_id": session,
        "labels": labels or None,
        "request_key": request_key or str(uuid.uuid4()),
        **_agent(agent, settings),
    }
    link = Link(home, start=not no_start)
    spawned = _spawned(link, arguments)
    if detach:
        screen.show(spawned, string(spawned["run_id"]), as_json=as_json)
        return
    if as_json:
        screen.out().json(spawned)
    shown: Shown = "json" if as_json else "answer" if schema is None else "structured"
    raise typer.Exit(Foreground(link, spawned, shown, quiet=quiet).code())


def _spawned(link: Link, arguments: dict[str, Any]) -> JsonObject:
    """The run that was asked for; asked again where the answer was lost: its key runs it once."""
    try:
        try:
            return link.tool("spawn_run", **arguments)
        except GoneError:
            raise
        except LostError:
            return link.tool("spawn_run", **arguments)
    except KeyboardInterrupt:
        text = "interrupted; the run may have started: a2a-gateway runs list"
        raise CommandError(text, DETACHED) from None


def _prompt(words: list[str] | None, file: Path | None) -> str:
    if words and words != ["-"]:
        if file is not None:
            raise CommandError("give the prompt as words or as --file, not both", USAGE)
        return " ".join(words)
    if file is not None and str(file) != "-":
        return options.read_file(file)
    if sys.stdin.isatty():
        raise CommandError("give a prompt: as words, with --file, or on stdin", USAGE)
    said = sys.stdin.read()
    if not said.strip():
        raise CommandError("the prompt on stdin is empty", USAGE)
    return said


def _schema(path: Path) -> JsonObject:
    return options.json_object(options.read_file(path), f"--schema {path}")


def _agent(said: str, settings: JsonObject) -> dict[str, Any]:
    """The arguments that say which agent, with the settings of its run."""
    found = references.agent_arguments(said)
    config = {key: value for key, value in settings.items() if value is not None}
    config |= as_object(found.get("backend_config"))
    return {**found, "backend_config": config or None}
