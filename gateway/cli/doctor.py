"""`a2a-gateway doctor`: whether this machine, the gateway and its agents can work, line by line.

Knows how findings are shown; what is looked at is `checks`. Another agent's health is
`doctor_agent`.
"""

from typing import Annotated, Final

import typer

from gateway.cli import checks, screen
from gateway.cli.checks import Finding
from gateway.cli.doctor_agent import Asked, doctor_agent
from gateway.cli.errors import REFUSED
from gateway.cli.options import HomeOption, JsonOption, seconds
from gateway.cli.settings import home_of

STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


AgentOption = Annotated[
    str | None, typer.Option("--agent", metavar="URL", help="Score the A2A agent there instead.")
]
TokenOption = Annotated[
    str | None, typer.Option("--token", help="Its token: env:NAME or file:/path (--agent).")
]
AskOption = Annotated[
    str | None, typer.Option("--ask", help="A prompt that makes it ask (--agent).")
]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", help="A prompt that is soon done (--agent).")
]
BusyOption = Annotated[
    str | None, typer.Option("--busy", help="A prompt that keeps it at work (--agent).")
]
FolderOption = Annotated[
    str | None, typer.Option("--cwd", help="Where it is to work; here, if left out (--agent).")
]
PatienceOption = Annotated[
    str | None, typer.Option("--patience", help="For its work on one message: 2m (--agent).")
]


def doctor(  # noqa: PLR0913  # the options of a command
    home: HomeOption = None,
    as_json: JsonOption = False,
    agent: AgentOption = None,
    token: TokenOption = None,
    ask: AskOption = None,
    prompt: PromptOption = None,
    busy: BusyOption = None,
    cwd: FolderOption = None,
    patience: PatienceOption = None,
) -> None:
    """Look for what could keep runs from working, or score an agent. Exits with 1 when something
    has to be mended."""
    if agent is not None:
        patience_s = seconds(patience)
        asked = Asked(
            url=agent,
            token=token,
            ask=ask,
            prompt=prompt,
            busy=busy,
            cwd=cwd,
            patience_s=patience_s,
        )
        doctor_agent(asked, as_json=as_json)
        return
    found: list[Finding] = []
    out = screen.out()
    for finding in checks.everything(home_of(home)):
        found.append(finding)
        if not as_json:
            out.say(finding.line(), STYLES[finding.verdict] if finding.verdict != "ok" else "")
    failed = sum(finding.verdict == "fail" for finding in found)
    if as_json:
        out.json({"ok": not failed, "findings": [finding.to_json() for finding in found]})
    else:
        out.say("")
        out.say(f"{failed} of these must be mended first." if failed else "Runs can work here.")
    if failed:
        raise typer.Exit(REFUSED)
