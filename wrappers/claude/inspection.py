"""Whether Claude Code can work here: its program, version and login, and being root.

Asks no model, and changes nothing of ours; the CLI itself may note its first start in its folder.
"""

import asyncio
import re
from pathlib import Path
from typing import Final

import anyio

from gateway.core import json
from gateway.core.json import JsonObject
from wrappers.adapter import Finding
from wrappers.claude.options import SWITCHES, Installation
from wrappers.processes.process import spawn

ASK_S: Final = 4.0  # for each of two questions; measured 0.1 and 0.35 s
TESTED: Final = (2, 1, 330)  # the version that every claim about the CLI was tested with
NAME: Final = "Claude"  # it says `2.1.330 (Claude Code)`
INSTALL: Final = "install claude-agent-sdk, which brings one, or name another with --claude-bin"
LOG_IN: Final = (
    "run `claude auth login` as the wrapper's user, or start the wrapper with ANTHROPIC_API_KEY set"
)


async def inspect(installation: Installation) -> list[Finding]:
    """`program`, `version`, `login` and `root`; only the first when nothing more can be said."""
    if not await anyio.Path(installation.cli).is_file():
        text = f"there is no claude program at {installation.cli}; {INSTALL}"
        return [Finding(name="program", verdict="failed", text=text)]
    version, login = await asyncio.gather(
        _said(installation, "--version"), _said(installation, "auth", "status")
    )
    if not version[0].strip():
        why = version[1] or "it says nothing"
        text = f"{installation.cli} does not answer ({why}); {INSTALL}"
        return [Finding(name="program", verdict="failed", text=text)]
    if NAME not in version[0]:
        text = f"{installation.cli} is not Claude Code ({version[0].strip()[:100]}); {INSTALL}"
        return [Finding(name="program", verdict="failed", text=text)]
    program = Finding(name="program", verdict="ok", text=str(installation.cli))
    return [program, _version(version[0]), _login(*login), _root(installation)]


async def _said(installation: Installation, *question: str) -> tuple[str, str]:
    """What the CLI answers on both streams; two empty texts for no answer in time."""
    env = {**installation.env, **SWITCHES}
    try:
        child = await spawn(
            [installation.cli, *question], cwd=Path("/"), env=env, tag="claude-inspect"
        )
    except OSError as exc:
        return "", exc.strerror or str(exc)
    try:
        with anyio.move_on_after(ASK_S):
            out, err = await asyncio.gather(child.stdout.read(), child.stderr.read())
            return out.decode(errors="replace"), err.decode(errors="replace").strip()[-300:]
        return "", f"no answer within {ASK_S:.0f} s"
    finally:
        child.kill()
        await child.close()


def _version(text: str) -> Finding:
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    tested = ".".join(map(str, TESTED))
    if found is None:
        say = f"unknown ({text.strip()[:100]}); tested with {tested}"
        return Finding(name="version", verdict="warned", text=say)
    if tuple(map(int, found.groups())) < TESTED:
        say = f"{found.group()} is older than {tested}, with which this was tested; update it"
        return Finding(name="version", verdict="warned", text=say)
    return Finding(name="version", verdict="ok", text=found.group())


def _login(out: str, err: str) -> Finding:
    try:
        status: JsonObject = json.decode_object(out)
    except ValueError:
        say = f"unknown: `claude auth status` gave no answer ({err or out.strip()[:100]})"
        return Finding(name="login", verdict="warned", text=say)
    if not status.get("loggedIn"):
        return Finding(name="login", verdict="failed", text=f"not logged in; {LOG_IN}")
    source = status.get("apiKeySource")
    how = str(status.get("authMethod") or "logged in") + (f" ({source})" if source else "")
    return Finding(name="login", verdict="ok", text=how)


def _root(installation: Installation) -> Finding:
    if not installation.root:
        return Finding(name="root", verdict="ok", text="not root")
    if installation.allow_root:
        say = "root, and allowed to skip permissions (--allow-root)"
        return Finding(name="root", verdict="ok", text=say)
    say = (
        "Claude Code does not skip permissions as root: runs need permission_mode ask or plan, or "
        "start with --run-as USER or, in a container, --allow-root"
    )
    return Finding(name="root", verdict="warned", text=say)
