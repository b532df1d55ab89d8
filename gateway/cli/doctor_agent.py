"""`doctor --agent URL`: how well an agent speaks A2A, check by check, with what to do.

Knows how findings are shown; what is looked at is `gateway.scoring`. The examination's modules are
imported when one is made: they bring the HTTP client, which other commands do without.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from gateway.cli import plain, screen
from gateway.cli.errors import REFUSED, USAGE, CommandError
from gateway.cli.settings import environment
from gateway.core.errors import InvalidInputError

if TYPE_CHECKING:
    from gateway.scoring.findings import Finding, Score

STYLES: Final = {"pass": "green", "fail": "red", "skipped": "dim"}
WIDTH: Final = 20  # characters of the longest name of a check


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of the examination was asked for; None stands for its own default."""

    url: str
    token: str | None
    ask: str | None
    prompt: str | None
    busy: str | None
    cwd: str | None
    patience_s: float | None


def doctor_agent(asked: Asked, *, as_json: bool) -> None:
    """Score the agent and leave none of its tasks running. Exits with 1 when a check failed."""
    out = screen.out()

    def told(finding: "Finding") -> None:
        if not as_json:
            out.say(_line(finding), STYLES[finding.verdict])

    score = asyncio.run(_examined(asked, told))
    if as_json:
        out.json(score.to_json())
    else:
        out.say("")
        out.say(_sum(score))
    if score.count("fail"):
        raise typer.Exit(REFUSED)


async def _examined(asked: Asked, told: "Callable[[Finding], None]") -> "Score":
    # Inline: see the module's docstring.
    from gateway.agents.logins import bearer, read_secret  # noqa: PLC0415
    from gateway.scoring import examiner  # noqa: PLC0415
    from gateway.scoring.exam import Words  # noqa: PLC0415

    token = None
    if asked.token is not None:
        if not asked.token.startswith(("env:", "file:")):
            text = "--token takes env:NAME or file:/path: a token in a command line is seen by all"
            raise CommandError(text, USAGE)
        try:
            token = read_secret(asked.token, environment(None).get, "--token")
        except InvalidInputError as exc:
            raise CommandError(str(exc), USAGE) from exc
    words = Words(
        prompt=asked.prompt or examiner.PROMPT,
        busy=asked.busy or examiner.BUSY,
        ask=asked.ask,
        cwd=asked.cwd or str(Path.cwd()),
    )
    return await examiner.examine(
        asked.url,
        headers=bearer(token),
        words=words,
        patience_s=asked.patience_s or examiner.PATIENCE_S,
        found=told,
    )


def _line(finding: "Finding") -> str:
    todo = f"; {plain.line(finding.todo)}" if finding.todo and finding.verdict != "pass" else ""
    name = f"{finding.check:<{WIDTH}}"
    return f"{finding.verdict:<7} {name} {plain.line(finding.reason)}{todo}"


def _sum(score: "Score") -> str:
    counts = (
        f"{score.count('pass')} passed, {score.count('fail')} failed, "
        f"{score.count('skipped')} skipped"
    )
    return f"{score.points}/100: {counts}"
