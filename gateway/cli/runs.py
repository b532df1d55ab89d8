"""`a2a-gateway runs …`: the runs that are kept, looked at, answered, continued and stopped.

Knows the tools by their arguments; the gateway checks them.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli import answers, completion, options, plain, portrait, screen
from gateway.cli.errors import DETACHED, ENDS, EXIT_CODES, USAGE, CommandError
from gateway.cli.following import Following, whole_run
from gateway.cli.foreground import Foreground, Shown
from gateway.cli.link import Link
from gateway.cli.narration import Narrator
from gateway.cli.options import CwdOption, HomeOption, JsonOption, LinesOption, NoStartOption
from gateway.cli.options import RunArgument as RunName
from gateway.cli.plain import objects, string
from gateway.cli.references import BACKENDS, REMOTE, find_run, run_arguments
from gateway.core.json import JsonObject

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=f"Runs: list, look, follow, answer, go on, stop.\n\n{EXIT_CODES}",
)

app.command()(answers.answer)


@app.command("list")
def list_(  # noqa: PLR0913 - each is an option
    status: Annotated[
        str | None, typer.Option("--status", "-s", help="active, queued, running, …")
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option("--agent", "-a", help="Agent.", autocompletion=completion.agents),
    ] = None,
    cwd: Annotated[Path | None, typer.Option(help="Exactly this folder.")] = None,
    session: Annotated[str | None, typer.Option(help="Session (id).")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the agent in its folder.")] = None,
    parent: Annotated[str | None, typer.Option(help="Run from within which they came.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", metavar="K=V")] = None,
    role: Annotated[str | None, typer.Option(help="planner, worker or reviewer.")] = None,
    since: Annotated[str | None, typer.Option(help="From then on: 2h, 3d or a time.")] = None,
    until: Annotated[str | None, typer.Option(help="Before then: 2h, 3d or a time.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most runs.")] = 20,
    skip: Annotated[int, typer.Option(min=0, help="Runs to leave out first: the next page.")] = 0,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Runs, newest first. The short id is the end of the id; any command takes it."""
    filters: dict[str, Any] = {
        "status": status,
        "cwd": None if cwd is None else str(cwd.absolute()),
        "session_id": session,
        "agent_name": name,
        "parent_run_id": parent,
        "labels": options.pairs(label, "--label") or None,
        "role": role,
        "since": options.time(since),
        "until": options.time(until),
        "backend": None if agent is None else BACKENDS.get(agent, REMOTE),
    }
    link = Link(home, start=not no_start)
    found = _of_agent(link.runs(**filters), agent)
    page = list(islice(found, skip, skip + limit + 1))
    shown, more = page[:limit], len(page) > limit
    if as_json:
        screen.out().json({"runs": shown, "has_more": more})
        return
    now = datetime.now(UTC)
    if shown:
        rows = [portrait.row(run, now) for run in shown]
        screen.out().table(portrait.COLUMNS, rows, portrait.WHOLE)
    else:
        screen.err().say("no runs" if not skip else "no more runs")
    if more:
        screen.err().say(f"more: --skip {skip + limit}")


def _of_agent(runs: Iterator[JsonObject], agent: str | None) -> Iterator[JsonObject]:
    """The runs of an agent; the tool's own filter knows its backend alone."""
    for run in runs:
        if agent in (None, REMOTE) or agent in BACKENDS or portrait.agent_of(run) == agent:
            yield run


@app.command()
def show(
    run: RunName,
    cwd: CwdOption = None,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """One run: its state, what it asks and how to answer, its outcome."""
    link = Link(home, start=not no_start)
    whole = whole_run(link, **run_arguments(link, run, cwd))
    if as_json:
        screen.out().json(whole)
        return
    for line in portrait.whole(whole, datetime.now(UTC)):
        screen.out().say(line)


@app.command()
def tail(
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the run ends.")] = False,
    after: Annotated[int, typer.Option(min=0, help="Events after this number only.")] = 0,
    brief: Annotated[bool, typer.Option("--brief", "-b", help="Cut long output.")] = False,
    cwd: CwdOption = None,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: LinesOption = False,
) -> None:
    """What a run did, from its first event on; with -f what it does, until its end.

    With -f the exit code is that of the run's end.
    """
    link = Link(home, start=not no_start)
    found = find_run(link, run, cwd)
    tell = screen.out().json if as_json else _teller(brief=brief)
    following = Following(link, string(found["run_id"]), tell, after=after)
    try:
        if follow:
            raise typer.Exit(ENDS[following.until_ended()])
        while following.page(wait_ms=0)["has_more"]:
            pass
    except KeyboardInterrupt:
        raise typer.Exit(DETACHED) from None
    if not as_json:
        for request in objects(found.get("pending")):
            for line in portrait.pending(found, request):
                screen.err().say(line)


@app.command()
def attach(
    run: RunName,
    after: Annotated[int, typer.Option(min=0, help="Events after this number only.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    cwd: CwdOption = None,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: LinesOption = False,
) -> None:
    """Follow a run as `run` does: its questions asked here, its answer alone on stdout."""
    link = Link(home, start=not no_start)
    found = find_run(link, run, cwd)
    shown: Shown = "json" if as_json else "answer"
    raise typer.Exit(Foreground(link, found, shown, quiet=quiet, after=after).code())


def _teller(*, brief: bool) -> Any:
    narrator, out = Narrator(brief=brief), screen.out()

    def tell(event: JsonObject) -> None:
        if (entry := narrator.entry(event)) is not None:
            clock = plain.line(string(event.get("ts")))[11:19]
            out.tell(entry, f"{event.get('seq'):>5} {clock} ")

    return tell


@app.command("continue")
def continue_(
    run: RunName,
    text: Annotated[list[str] | None, typer.Argument(metavar="TEXT…")] = None,
    request_key: Annotated[
        str | None, typer.Option(help="Repeated under it, it is done once.")
    ] = None,
    cwd: CwdOption = None,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell a running run something, or go on in an ended run's session with a new run.

    Prints the id of the run that goes on. The text is also taken from stdin.
    """
    said = " ".join(text or ())
    if not said and not sys.stdin.isatty():
        said = sys.stdin.read()
    if not said.strip():
        raise CommandError("say something: a2a-gateway runs continue RUN TEXT", USAGE)
    link = Link(home, start=not no_start)
    found = run_arguments(link, run, cwd)
    done = link.tool("continue_run", text=said, request_key=request_key, **found)
    screen.show(done, string(done["run_id"]), as_json=as_json)


@app.command()
def cancel(
    run: RunName,
    cwd: CwdOption = None,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Stop a run. Waits up to 5 s for its agent to confirm."""
    link = Link(home, start=not no_start)
    done = link.tool("cancel_run", **run_arguments(link, run, cwd))
    confirmed = done.get("cancelled_at") is not None
    word = "cancelled" if confirmed else "asked to stop; its agent has not confirmed yet"
    screen.show(done, f"run {done['run_id']} {word}", as_json=as_json)


@app.command()
def artifact(
    run: RunName,
    seq: Annotated[int, typer.Argument(min=1, help="Number of the event.")],
    pointer: Annotated[str, typer.Argument(help="Field of its data, such as /output.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write instead of stdout.")
    ] = None,
    cwd: CwdOption = None,
    home: HomeOption = None,
    no_start: NoStartOption = False,
) -> None:
    """The whole of a field that an event cut."""
    link = Link(home, start=not no_start)
    run_id = string(find_run(link, run, cwd)["run_id"])
    pieces = link.payload(run_id, seq, pointer)
    first = next(pieces, b"")  # a refusal makes no file
    if output is None:
        for piece in (first, *pieces):
            screen.out().raw(piece)
        return
    try:
        with output.open("wb") as file:
            file.write(first)
            for piece in pieces:
                file.write(piece)
    except OSError as exc:
        raise CommandError(f"{output} cannot be written: {exc.strerror}") from exc
