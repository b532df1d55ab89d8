"""Puts the bridge into a client's file: says what is to change, asks, writes, says how to undo it.

Knows no arguments. Everything is said on stderr; the answer is read from stdin.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mcp_bridge.clients import files
from mcp_bridge.clients.client import NAME, Client, Scope, Surroundings, Way
from mcp_bridge.clients.configuration import Plan, planned, printed
from mcp_bridge.clients.errors import ClientError

TRY = "Use the a2a-gateway tools: have codex say what this project is, in a run, and tell me."


def say(*lines: str) -> None:
    """To the person, whose terminal obeys nothing of it."""
    for line in lines:
        sys.stderr.write("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) + "\n")


def installed(
    client: Client, way: Way, scope: Scope, around: Surroundings, *, yes: bool, again: Sequence[str]
) -> int:
    """The exit code. `again`: the command line of this very thing. Raises: ClientError."""
    path = client.place(around, scope)
    while True:
        before = files.found(path)
        plan = _plan(client, way, before)
        if plan.text == before.text and before.content is not None:
            say(f"{path} has {NAME} already, just so; nothing is written.")
            _say_hidden(client, plan, around)
            _say_then(client, scope)
            return 0
        _say_changes(client, plan, before)
        match _answer(plan, yes=yes, again=again):
            case "no":
                say("Nothing is written.")
                return 1
            case "nobody":
                return 2
            case "yes":
                pass
        try:
            kept = _written(client, way, before, plan, private=scope == "user")
        except files.ChangedError:
            say(f"{path} was changed by somebody else meanwhile; looking again.")
            continue
        _say_done(client, scope, plan, before.path, kept)
        _say_hidden(client, plan, around)
        _say_then(client, scope)
        return 0


def _plan(client: Client, way: Way, before: files.Found) -> Plan:
    """Raises: ClientError with the file and what to do by hand."""
    try:
        return planned(client, way, before.text)
    except ClientError as exc:
        by_hand = printed(client, way)
        raise ClientError(
            f"{before.path}: {exc}. Nothing is written. Mend it, or put this in:\n{by_hand}"
        ) from exc


def _written(
    client: Client, way: Way, before: files.Found, plan: Plan, *, private: bool
) -> Path | None:
    try:
        return files.replaced(before, before.encoded(plan.text), private=private)
    except ClientError as exc:
        raise ClientError(f"{exc}. Put this in by hand:\n{printed(client, way)}") from exc


def _answer(plan: Plan, *, yes: bool, again: Sequence[str]) -> Literal["yes", "no", "nobody"]:
    if yes and plan.foreign:
        say(f"That is another server under the name {NAME}: --yes does not replace it.")
        say("Remove or rename it, or answer at a terminal: " + shlex.join(again))
        return "nobody"
    if yes:
        return "yes"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        line = (
            "To write without being asked:" if not plan.foreign else "To be asked, at a terminal:"
        )
        say("Nothing is written: nobody is at a terminal to say yes.")
        say(f"{line} {shlex.join([*again, *([] if plan.foreign else ['--yes'])])}")
        return "nobody"
    sys.stderr.write("Replace it? [y/N] " if plan.foreign else "Write this? [Y/n] ")
    sys.stderr.flush()
    said = sys.stdin.readline()
    if not said:
        say("")
        return "no"
    word = said.strip().lower()
    return "yes" if word in ("y", "yes") or (not word and not plan.foreign) else "no"


def _say_changes(client: Client, plan: Plan, before: files.Found) -> None:
    if plan.present is None:
        what = "gets" if before.content is not None else "is made, with"
        say(f"{client.title}: {before.path} {what} the MCP server {NAME}:")
    elif plan.foreign:
        say(f"{client.title}: {before.path} has another server under the name {NAME}:")
    else:
        say(f"{client.title}: {before.path} has {NAME}; it changes:")
    say(*(f"  {line}" for line in plan.changes))


def _say_done(client: Client, scope: Scope, plan: Plan, path: Path, kept: Path | None) -> None:
    say(f"Written: {path}")
    if kept is None:
        say(f"To undo: rm {shlex.quote(str(path))}")
        return
    back = f"mv {shlex.quote(str(kept))} {shlex.quote(str(path))}"
    remove = client.remove(scope) if plan.present is None else None
    say(f"As it was: {kept}", f"To undo: {remove or back}")


def _say_hidden(client: Client, plan: Plan, around: Surroundings) -> None:
    if (why := client.hidden(plan.document, around.folder)) is not None:
        say(f"But {client.title} does not see it here: {why}")


def _say_then(client: Client, scope: Scope) -> None:
    say(f"Next: {client.then[scope]}, then say for example:", f"  {TRY}")
