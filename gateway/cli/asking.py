"""Puts an agent's requests to the person at the terminal, and makes answers of what they say.

Knows no gateway. questionary is imported at the first question: it takes 150 ms. Questions are
written to stderr, so that `x=$(a2a-gateway run …)` can ask.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

from gateway.cli import plain
from gateway.cli.plain import objects, string
from gateway.core.json import JsonObject, as_object

OTHER: Final = "(something else)"
LATER: Final = "(answer later: leave the run waiting)"
WithRun = Literal["cancel", "detach", "go on"]


class LaterError(Exception):
    """The person does not answer now."""


def answer_to(request: JsonObject) -> JsonObject:
    """The answer to one request. Raises: LaterError, KeyboardInterrupt."""
    answer: JsonObject = {"request_id": request["request_id"]}
    if options := objects(request.get("options")):
        return answer | _option(options)
    asked = objects(request.get("questions"))
    if asked:
        return answer | {"answers": {string(one.get("id")): _answer(one) for one in asked}}
    return answer | _free(request)


def _option(options: Sequence[JsonObject]) -> JsonObject:
    labels = {string(one.get("id")): string(one.get("label")) for one in options}
    chosen = choose("Your answer", [*labels.items(), (LATER, LATER)])
    if chosen == LATER:
        raise LaterError
    if chosen in ("deny", "abort"):
        reason = text("Why (may be empty)").strip()
        return {"option": chosen} | ({"message": reason} if reason else {})
    return {"option": chosen}


def _answer(asked: JsonObject) -> str | list[str]:
    says = plain.line(string(asked.get("question"))) or "Your answer"
    labels = [string(one.get("label")) for one in objects(asked.get("options"))]
    if not labels:
        return text(says)
    if asked.get("multi_select"):
        return several(says, labels) or [text("Then what")]
    chosen = choose(says, [(one, one) for one in [*labels, OTHER, LATER]])
    if chosen == LATER:
        raise LaterError
    return text("Then what") if chosen == OTHER else chosen


def _free(request: JsonObject) -> JsonObject:
    """A form takes its members one by one; anything else one text."""
    schema = as_object(as_object(request.get("input")).get("schema"))
    members = as_object(schema.get("properties"))
    if request.get("kind") != "form" or not members:
        return {"message": text("Your answer")}
    return {"answers": {name: _member(name, as_object(about)) for name, about in members.items()}}


def _member(name: str, about: JsonObject) -> Any:
    says = plain.line(string(about.get("title")) or name)
    if isinstance(about.get("enum"), list):
        values = {str(one): one for one in cast("list[Any]", about["enum"])}
        return values[choose(says, [(one, one) for one in values])]
    match about.get("type"):
        case "boolean":
            return choose(says, [("yes", "yes"), ("no", "no")]) == "yes"
        case "integer" | "number" as kind:
            return _number(text(says), whole=kind == "integer")
        case _:
            return text(says)


def _number(said: str, *, whole: bool) -> int | float | str:
    try:
        return int(said) if whole else float(said)
    except ValueError:
        return said  # the agent says what it wants instead


def with_run() -> WithRun:
    """What to do with a run that is left with Ctrl+C. Raises: KeyboardInterrupt at the second."""
    choices = [
        ("cancel", "Cancel the run"),
        ("detach", "Leave it: it goes on without this terminal"),
        ("go on", "Go on following it"),
    ]
    return cast("WithRun", choose("The run is at work", choices))


# -- one question each --------------------------------------------------------------------------


def choose(says: str, choices: Sequence[tuple[str, str]]) -> str:
    """The value of one choice of (value, label). Raises: KeyboardInterrupt."""
    # Inline, here and below: see the module's docstring.
    import questionary  # noqa: PLC0415

    shown = [questionary.Choice(plain.line(label) or value, value) for value, label in choices]
    return _asked(questionary.select(f"{says}:", shown, **_terminal()))


def several(says: str, labels: Sequence[str]) -> list[str]:
    import questionary  # noqa: PLC0415

    shown = [questionary.Choice(plain.line(label), label) for label in labels]
    return _asked(questionary.checkbox(f"{says}:", shown, **_terminal()))


def text(says: str) -> str:
    import questionary  # noqa: PLC0415

    return _asked(questionary.text(f"{says}:", **_terminal()))


def secret(says: str) -> str:
    import questionary  # noqa: PLC0415

    return _asked(questionary.password(f"{says}:", **_terminal()))


def _terminal() -> Mapping[str, Any]:
    from prompt_toolkit.output import create_output  # noqa: PLC0415 - as questionary

    return {"output": create_output(stdout=sys.stderr)}


def _asked(question: Any) -> Any:
    """`unsafe_ask`: Ctrl+C is KeyboardInterrupt, as everywhere else in a command."""
    try:
        return question.unsafe_ask()
    except EOFError as exc:
        raise LaterError from exc
