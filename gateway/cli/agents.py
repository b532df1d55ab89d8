"""`a2a-gateway agents …`: the agents that the gateway can give runs to.

Asks the gateway's /registry; what an agent is and whether it works is found out there.
"""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any, Final, cast

import typer

from gateway.cli import completion, options, plain, screen
from gateway.cli.errors import REFUSED, USAGE, CommandError
from gateway.cli.link import Link
from gateway.cli.options import HomeOption, JsonOption, NoStartOption
from gateway.cli.plain import objects, string
from gateway.core.json import JsonObject, as_object

COLUMNS: Final = ("NAME", "KIND", "STATE", "RUNS", "POOL", "URL")
WORKING: Final = frozenset({"healthy", "unknown"})

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Agents: add, list, look at, check, remove, switch on and off.",
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", autocompletion=completion.registered)]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token", help="Bearer token: env:NAME or file:/path, read at each use, or - for stdin."
    ),
]
HeaderOption = Annotated[
    list[str] | None, typer.Option("--header", metavar="K=V", help="Sent with each request.")
]
LabelOption = Annotated[list[str] | None, typer.Option("--label", "-l", metavar="K=V")]


@app.command()
def add(  # noqa: PLR0913 - each is an option
    name: Annotated[str, typer.Argument(metavar="NAME", help="What runs call it.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Its base URL.")],
    token: TokenOption = None,
    header: HeaderOption = None,
    card_path: Annotated[str | None, typer.Option(help="Path of its card, if unusual.")] = None,
    label: LabelOption = None,
    pool: Annotated[str | None, typer.Option(help="Name it shares its runs under.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Even if it does not answer now.")] = False,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Register an agent. Its card is fetched and checked at once."""
    body: dict[str, Any] = {
        "name": name,
        "agent_url": url,
        "agent_card_path": card_path,
        "headers": options.pairs(header, "--header") or None,
        "auth_token": _token(token),
        "labels": options.pairs(label, "--label") or None,
        "pool": pool,
        "force": force or None,
    }
    body = {key: value for key, value in body.items() if value is not None}
    added = Link(home, start=not no_start).registry("POST", body=body)
    _show(added, as_json=as_json)


def _token(given: str | None) -> str | None:
    """A token itself is not taken as an argument: every process of the machine sees those."""
    if given is None or given.startswith(("env:", "file:")):
        return given
    if given != "-":
        raise CommandError("--token takes env:NAME, file:/path, or - to read it from stdin", USAGE)
    if sys.stdin.isatty():
        # Inline: questions are rare, and take 150 ms to import.
        from gateway.cli import asking  # noqa: PLC0415

        return asking.secret("Token")
    if not (said := sys.stdin.read().strip()):
        raise CommandError("the token on stdin is empty", USAGE)
    return said


@app.command("list")
def list_(
    pool: Annotated[str | None, typer.Option(help="Only the agents of this pool.")] = None,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """All agents and how they are."""
    answer = Link(home, start=not no_start).registry("GET")
    found = [one for one in objects(answer.get("agents")) if pool in (None, one.get("pool"))]
    problems = cast("list[Any]", answer.get("problems") or [])
    if as_json:
        screen.out().json({"agents": found, "problems": problems})
        return
    for problem in problems:
        screen.err().say(f"problem: {plain.line(str(problem))}")
    if found:
        screen.out().table(COLUMNS, [_row(agent) for agent in found])
    else:
        screen.err().say("no agents; add one: a2a-gateway agents add NAME URL")


def state_of(agent: JsonObject) -> str:
    return plain.line(string(as_object(agent.get("health")).get("state")) or "unknown")


def _row(agent: JsonObject) -> tuple[str, ...]:
    return (
        plain.line(string(agent.get("name"))),
        plain.line(string(agent.get("kind"))),
        state_of(agent),
        str(agent.get("active_runs", "")),
        plain.line(string(agent.get("pool"))),
        plain.line(string(agent.get("url"))),
    )


@app.command()
def show(
    name: NameArgument,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """One agent: its health, its card, its skills."""
    _show(Link(home, start=not no_start).registry("GET", name), as_json=as_json)


@app.command()
def check(
    name: NameArgument,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask an agent now. Exits with 1 when it does not work."""
    agent = Link(home, start=not no_start).registry("POST", name, "/check")
    _show(agent, as_json=as_json)
    if state_of(agent) not in WORKING:
        raise typer.Exit(REFUSED)


@app.command()
def remove(
    name: NameArgument,
    force: Annotated[bool, typer.Option("--force", help="Even while it has runs.")] = False,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Forget an agent. Refused while it has active runs."""
    gone = Link(home, start=not no_start).registry("DELETE", name, "?force=true" if force else "")
    screen.show(gone or {"removed": name}, f"agent {plain.line(name)} was removed", as_json=as_json)


@app.command()
def change(
    name: NameArgument,
    token: TokenOption = None,
    header: HeaderOption = None,
    label: LabelOption = None,
    pool: Annotated[str | None, typer.Option(help="Its pool; '' for none.")] = None,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give an agent other credentials, labels or another pool. What is not named stays."""
    body: dict[str, Any] = {
        "auth_token": _token(token),
        "headers": options.pairs(header, "--header") or None,
        "labels": options.pairs(label, "--label") or None,
    }
    body = {key: value for key, value in body.items() if value is not None}
    if pool is not None:
        body["pool"] = pool or None
    if not body:
        raise CommandError("say what to change: --token, --header, --label or --pool", USAGE)
    _show(Link(home, start=not no_start).registry("PATCH", name, body=body), as_json=as_json)


@app.command()
def enable(
    name: NameArgument,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let an agent have runs again."""
    _switch(name, home, start=not no_start, enabled=True, as_json=as_json)


@app.command()
def disable(
    name: NameArgument,
    home: HomeOption = None,
    no_start: NoStartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give an agent no new runs."""
    _switch(name, home, start=not no_start, enabled=False, as_json=as_json)


def _switch(name: str, home: Any, *, start: bool, enabled: bool, as_json: bool) -> None:
    agent = Link(home, start=start).registry("PATCH", name, body={"enabled": enabled})
    word = "enabled" if enabled else "disabled"
    screen.show(agent, f"agent {plain.line(name)} is {word}", as_json=as_json)


def _show(agent: JsonObject, *, as_json: bool) -> None:
    if as_json:
        screen.out().json(agent)
        return
    for line in portrait(agent, datetime.now(UTC)):
        screen.out().say(line)


def portrait(agent: JsonObject, now: datetime) -> list[str]:
    """An agent as a person wants to see it, in safe lines."""
    health, card = as_object(agent.get("health")), as_object(agent.get("card"))
    labels = [
        f"{plain.line(k)}={plain.line(str(v))}" for k, v in as_object(agent.get("labels")).items()
    ]
    told = [
        ("agent", plain.line(string(agent.get("name")))),
        ("kind", plain.line(string(agent.get("kind")))),
        ("url", plain.line(string(agent.get("url")) + string(agent.get("card_path")))),
        ("state", _state(agent, health, now)),
        ("pool", plain.line(string(agent.get("pool")))),
        ("labels", ", ".join(labels)),
        ("login", plain.line(string(agent.get("credentials")) or "none")),
        ("runs", f"{agent.get('active_runs', 0)} active"),
        ("card", _card(card)),
    ]
    shown = [f"{name:<10}{text}" for name, text in told if text]
    for skill in objects(card.get("skills")):
        about = ": ".join(
            plain.line(string(skill.get(k)), 100) for k in ("name", "description") if skill.get(k)
        )
        shown.append(f"{'skill':<10}{plain.line(string(skill.get('id')))} ({about})")
    extensions: list[Any] = card.get("extensions") or []
    return [*shown, *(f"{'extension':<10}{plain.line(str(one))}" for one in extensions)]


def _state(agent: JsonObject, health: JsonObject, now: datetime) -> str:
    told = [state_of(agent)]
    if agent.get("enabled") is False and told != ["disabled"]:
        told.append("disabled")
    if checked := health.get("checked_at"):
        told.append(f"checked {plain.age(str(checked), now)} ago")
    if isinstance(latency := health.get("latency_ms"), int | float):
        told.append(f"{latency:.0f} ms")
    if error := health.get("error"):
        told.append(plain.line(str(error), 300))
    if retry := health.get("retry_at"):
        told.append(f"tried again at {plain.line(str(retry))}")
    return ", ".join(told)


def _card(card: JsonObject) -> str:
    if not card:
        return "not read yet"
    about = " ".join(
        plain.line(string(card.get(key)), 100) for key in ("name", "version") if card.get(key)
    )
    speaks = f"A2A {plain.line(str(card.get('protocol')))} {plain.line(str(card.get('binding')))}"
    more = [
        word
        for key, word in (("streaming", "streaming"), ("coding_run", "coding-run"))
        if card.get(key)
    ]
    return ", ".join([about, speaks, *more])
