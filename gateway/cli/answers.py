"""`a2a-gateway runs answer`: what a waiting run is told, from options or at the terminal.

Knows what requests look like; whether an answer fits is checked by the gateway.
"""

from typing import Annotated, Any

import typer

from gateway.cli import asking, options, plain, portrait, screen
from gateway.cli.asking import LaterError
from gateway.cli.errors import NEEDS_INPUT, WAITING, CommandError
from gateway.cli.link import Link
from gateway.cli.options import CwdOption, HomeOption, JsonOption, NoStartOption
from gateway.cli.options import RunArgument as RunName
from gateway.cli.plain import objects, string
from gateway.cli.references import find_run
from gateway.core.json import JsonObject


def answer(  # noqa: PLR0913 - each is an option
    run: RunName,
    request_id: Annotated[str | None, typer.Argument(help="Needed when several wait.")] = None,
    option: Annotated[str | None, typer.Option("--option", "-o", help="An option's id.")] = None,
    text: Annotated[
        str | None, typer.Option("--text", "-t", help="An answer in words, or a denial's reason.")
    ] = None,
    answers: Annotated[
        str | None, typer.Option(help="JSON: answers by question id, or a list of whole answers.")
    ] = None,
    cwd: CwdOption = None,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Answer what a run waits for; asked at the terminal when nothing is given."""
    link = Link(home, start=not no_start)
    found = find_run(link, run, cwd)
    run_id = string(found["run_id"])
    if option is None and text is None and answers is None:
        _answer_at_the_terminal(link, found, request_id)
        return
    given = _given(found, request_id, option, text, answers)
    done = link.tool("continue_run", run_id=run_id, **given)
    screen.show(done, f"run {run_id}: {plain.line(string(done.get('did')))}", as_json=as_json)


def _given(
    run: JsonObject,
    request_id: str | None,
    option: str | None,
    text: str | None,
    answers: str | None,
) -> dict[str, Any]:
    """The arguments of continue_run that say this. Raises: CommandError."""
    known = [string(request.get("request_id")) for request in objects(run.get("pending"))]
    if string(run.get("status")) not in WAITING:
        status = plain.line(string(run.get("status")))
        raise CommandError(
            f"run {run['run_id']} is {status} and asks nothing; runs continue tells it more"
        )
    if request_id is None and option is None and answers is None:
        return {"text": text}
    if answers is not None and answers.lstrip().startswith("["):
        data = {"responses": options.json_list(answers, "--answers")}
        return {"input_message": {"parts": [{"type": "data", "data": data}]}}
    if request_id is None:
        if len(known) != 1:
            raise CommandError(
                f"name the request; pending: {', '.join(map(plain.line, known)) or 'none'}"
            )
        request_id = known[0]
    said: dict[str, Any] = {"request_id": request_id, "option": option, "message": text}
    if answers is not None:
        said["answers"] = options.json_object(answers, "--answers")
    return {"answer": {key: value for key, value in said.items() if value is not None}}


def _answer_at_the_terminal(link: Link, run: JsonObject, request_id: str | None) -> None:
    requests = [
        request
        for request in objects(run.get("pending"))
        if request_id in (None, request.get("request_id"))
    ]
    if not requests:
        known = ", ".join(
            plain.line(string(one.get("request_id"))) for one in objects(run.get("pending"))
        )
        raise CommandError(f"run {run['run_id']} has no such request; pending: {known or 'none'}")
    if not screen.person_there():
        for line in portrait.pending(run, requests[0]):
            screen.err().say(line)
        raise CommandError("no terminal to ask at; give --option, --text or --answers", NEEDS_INPUT)
    try:
        for request in requests:
            for line in portrait.question(request):
                screen.err().say(line)
            said = asking.answer_to(request)
            link.tool("continue_run", run_id=run["run_id"], answer=said)
    except (KeyboardInterrupt, LaterError):
        raise typer.Exit(NEEDS_INPUT) from None
    screen.out().say(f"run {run['run_id']}: answered")
