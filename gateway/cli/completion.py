"""What a shell offers for a half-typed argument: ids of runs, names of agents.

Asks a gateway that runs already, and starts none. Whatever goes wrong, nothing is offered: a shell
that completes prints no errors.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from gateway.cli import plain
from gateway.cli.errors import CommandError
from gateway.cli.link import Link
from gateway.cli.plain import objects, string
from gateway.cli.references import BACKENDS

OFFERED: Final = 50  # runs, the newest


def runs(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Short ids and names of runs, each with what it is."""
    return [one for one in _runs(ctx) if one[0].startswith(incomplete)]


def _runs(ctx: Any) -> Iterator[tuple[str, str]]:
    try:
        for run in islice(_link(ctx).runs(), OFFERED):
            status, name = string(run.get("status")), plain.line(string(run.get("agent_name")))
            about = f"{name} {status}: {plain.line(string(run.get('summary')), 60)}"
            yield plain.short_id(string(run.get("run_id"))), about
            yield name, f"{status} {plain.short_id(string(run.get('run_id')))}"
    except CommandError:
        return


def agents(ctx: Any, incomplete: str) -> list[str]:
    """Names of agents that can be given a run."""
    return [
        one
        for one in (*dict.fromkeys(BACKENDS.values()), *_names(ctx))
        if one.startswith(incomplete)
    ]


def registered(ctx: Any, incomplete: str) -> list[str]:
    """Names of agents that the gateway keeps."""
    return [one for one in _names(ctx) if one.startswith(incomplete)]


def _names(ctx: Any) -> list[str]:
    try:
        return [string(one.get("name")) for one in objects(_link(ctx).registry("GET")["agents"])]
    except (CommandError, KeyError):
        return []


def _link(ctx: Any) -> Link:
    home = ctx.params.get("home")
    return Link(None if home is None else Path(home), start=False)
