"""`a2a-gateway doctor`: whether this machine, the gateway and its agents can work, line by line.

Knows how findings are shown; what is looked at is `checks`.
"""

from typing import Final

import typer

from gateway.cli import checks, screen
from gateway.cli.checks import Finding
from gateway.cli.errors import REFUSED
from gateway.cli.options import HomeOption, JsonOption
from gateway.cli.settings import home_of

STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Look for what could keep runs from working. Exits with 1 when something has to be mended."""
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
