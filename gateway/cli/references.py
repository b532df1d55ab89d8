"""What people call a run: its id, a few characters of it, or its agent's name.

Knows no command.
"""

import re
from itertools import islice
from typing import Any, Final

from gateway.cli import plain
from gateway.cli.errors import CommandError
from gateway.cli.link import MAX_BYTES, Link

PART_MIN: Final = 4  # characters of an id
LOOKED_THROUGH: Final = 2000  # runs, the newest
REMOTE: Final = "remote_a2a"
BACKENDS: Final = {"codex": "codex", "claude_code": "claude_code", "claude": "claude_code"}
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PART: Final = re.compile(r"[0-9a-f-]+", re.IGNORECASE)


def run_arguments(link: Link, said: str, cwd: str | None = None) -> dict[str, Any]:
    """The arguments by which tools find the run that `said` means. Raises: CommandError."""
    if _ID.fullmatch(said):
        return {"run_id": said.lower()}
    if len(said) >= PART_MIN and _PART.fullmatch(said):
        found = _by_part(link, said.lower())
        if len(found) > 1:
            ids = ", ".join(plain.line(one) for one in found[:5])
            raise CommandError(f"{said!r} is part of {len(found)} ids: {ids}; give more of one")
        if found:
            return {"run_id": found[0]}
    if not said.strip():
        raise CommandError("name a run: its id, the end of it, or its agent's name")
    return {"agent_name": said, "cwd": cwd}


def _by_part(link: Link, part: str) -> list[str]:
    ids = (str(run["run_id"]) for run in islice(link.runs(), LOOKED_THROUGH))
    return [one for one in ids if one.startswith(part) or one.endswith(part)]


def find_run(link: Link, said: str, cwd: str | None = None) -> dict[str, Any]:
    """The run itself, as get_run shows it. Raises: CommandError."""
    return link.tool("get_run", max_bytes=MAX_BYTES, **run_arguments(link, said, cwd))


def agent_arguments(said: str) -> dict[str, Any]:
    """The arguments of spawn_run that mean an agent: a backend, a URL, or a registered name."""
    if said in BACKENDS:
        return {"backend": BACKENDS[said]}
    key = "agent_url" if said.startswith(("http://", "https://")) else "agent"
    return {"backend": REMOTE, "backend_config": {key: said}}
