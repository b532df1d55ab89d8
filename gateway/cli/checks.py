"""What `doctor` looks at: home, rights, the gateway, its database, the disk, agents, clients.

Each check finds one thing or several and raises nothing. It starts no gateway and changes nothing.
"""

import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from gateway.cli import plain
from gateway.cli.control import answers, running
from gateway.cli.errors import CommandError
from gateway.cli.link import Link
from gateway.cli.plain import objects, string
from gateway.cli.settings import APPLICATION, environment
from gateway.core import json
from gateway.core.json import JsonObject, as_object

AGENTS: Final = "start-a2a-agent"
AGENTS_S: Final = 60.0  # it starts each agent's program once
MACHINE: Final = "machine"  # what its findings are about that are about no agent
DISK_LOW: Final = 1 << 30  # bytes: an agent's checkout and build take as much
DISK_OUT: Final = 100 << 20
WIDTH: Final = 12  # characters of the longest name of a check

Verdict = Literal["ok", "warn", "fail"]
_VERDICTS: Final[dict[str, Verdict]] = {"ok": "ok", "warned": "warn", "failed": "fail"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`text` says what is, and what to do unless it is fine."""

    name: str
    verdict: Verdict
    text: str

    def line(self) -> str:
        return f"{self.verdict:<5} {plain.line(self.name):<{WIDTH}} {plain.line(self.text)}"

    def to_json(self) -> JsonObject:
        return {"name": self.name, "verdict": self.verdict, "text": self.text}


def everything(home: Path) -> Iterator[Finding]:
    """All checks of a home, in the order in which one thing needs another."""
    yield from _home(home)
    yield from _disk(home)
    yield from _database(home)
    yield from _gateway(home)
    yield from _programs(home)
    yield from _clients()


def _ok(name: str, text: str) -> Finding:
    return Finding(name=name, verdict="ok", text=text)


def _warn(name: str, text: str) -> Finding:
    return Finding(name=name, verdict="warn", text=text)


def _fail(name: str, text: str) -> Finding:
    return Finding(name=name, verdict="fail", text=text)


def _home(home: Path) -> Iterator[Finding]:
    if not home.exists():
        yield _ok("home", f"{home} is not there yet; it is made at the first start")
        return
    mode = stat.S_IMODE(home.stat().st_mode)
    if not home.is_dir():
        yield _fail("home", f"{home} is no folder; choose another --home")
    elif mode & 0o022:
        yield _fail("home", f"{home} can be written by other users; chmod 700 it")
    elif mode & 0o055:
        yield _warn("home", f"{home} can be listed by other users; chmod 700 it")
    else:
        yield _ok("home", str(home))
    for name in ("token", "register-token", "registry.json", "gateway.db", "launched.json"):
        path = home / name
        if path.exists() and path.stat().st_mode & 0o077:
            yield _fail("rights", f"{path} is open to other users; chmod 600 it")


def _disk(home: Path) -> Iterator[Finding]:
    place = next(one for one in (home, *home.parents) if one.exists())
    free = shutil.disk_usage(place).free
    text = f"{plain.size(free)} free at {place}"
    if free < DISK_OUT:
        yield _fail("disk", f"{text}: runs cannot be recorded; make room")
    elif free < DISK_LOW:
        yield _warn("disk", f"{text}: make room, or set A2A_GATEWAY_KEEP_BYTES")
    else:
        yield _ok("disk", text)


def _database(home: Path) -> Iterator[Finding]:
    path = home / "gateway.db"
    if environment(None).get("A2A_GATEWAY_DATABASE"):
        yield _ok(
            "database", "A2A_GATEWAY_DATABASE names another; the gateway checks it at its start"
        )
    elif not path.exists():
        yield _ok("database", "none yet; it is made at the first start")
    else:
        yield _sqlite(path)


def _sqlite(path: Path) -> Finding:
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            runs = connection.execute("select count(*) from runs").fetchone()[0]
            good = connection.execute("pragma quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as exc:
        return _fail("database", f"{path} cannot be read: {exc}; restore it from a backup")
    if good != "ok":
        return _fail("database", f"{path} is damaged: {good}; restore it from a backup")
    return _ok("database", f"{path}: {runs} runs, {plain.size(path.stat().st_size)}")


def _gateway(home: Path) -> Iterator[Finding]:
    found = running(home)
    if found is None:
        yield _ok("gateway", "none runs; commands that need it start it")
        return
    health = answers(found)
    if health is None:
        text = f"pid {found.process.pid} does not answer at {found.url}; a2a-gateway stop ends it"
        yield _fail("gateway", text)
        return
    yield _ok("gateway", f"answers at {found.url} (pid {found.process.pid})")
    yield _version(string(health.get("version")))
    yield from _bridge_and_agents(home)


def _version(running_one: str) -> Finding:
    try:
        here = version(APPLICATION)
    except PackageNotFoundError:
        return _warn("version", f"{APPLICATION} is not installed here; install it again")
    if here != running_one:
        text = f"the gateway is {running_one}, this command {here}; a2a-gateway stop, then start it"
        return _warn("version", text)
    return _ok("version", f"{here}, the gateway too")


def _bridge_and_agents(home: Path) -> Iterator[Finding]:
    try:
        link = Link(home, start=False)
        link.tool("list_runs", limit=1)
        yield _ok("mcp", "the seven tools answer")
    except CommandError as exc:
        yield _fail("mcp", str(exc))
        return
    try:
        for agent in objects(link.registry("GET").get("agents")):
            yield from _registered(agent)
    except CommandError as exc:
        yield _fail("agents", str(exc))


def _registered(agent: JsonObject) -> Iterator[Finding]:
    """An agent that was registered; local ones are looked at by their own doctor."""
    name, health = string(agent.get("name")), as_object(agent.get("health"))
    state, url = string(health.get("state")), string(agent.get("url"))
    if agent.get("kind") == "local":
        return
    if agent.get("enabled") is False or state == "disabled":
        yield _ok("agent", f"{name} is disabled")
    elif state in ("failing", "open"):
        why = string(health.get("error")) or state
        yield _warn("agent", f"{name} at {url}: {why}; a2a-gateway agents check {name}")
    else:
        yield _ok("agent", f"{name} at {url}: {state or 'unknown'}")


def _programs(home: Path) -> Iterator[Finding]:
    """What the wrappers' own doctor finds of the agents' programs and logins."""
    command = Path(sys.executable).with_name(AGENTS)
    if not command.exists():
        yield _fail("wrappers", f"{AGENTS} is not installed beside this Python; reinstall it")
        return
    try:
        done = subprocess.run(
            [str(command), "doctor", "--json"],
            env=environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=AGENTS_S,
            check=False,
        )
        report = json.decode_object(done.stdout)
    except subprocess.TimeoutExpired:
        yield _warn("wrappers", f"`{AGENTS} doctor` took over {AGENTS_S:g} s; run it by hand")
        return
    except (OSError, ValueError):
        yield _warn("wrappers", f"`{AGENTS} doctor` gave no report; run it by hand")
        return
    yield from of_report(objects(report.get("findings")))


def _clients() -> Iterator[Finding]:
    """Whose agents can reach the gateway; few people use every client."""
    # Inline: they cost every other command 5 ms.
    from mcp_bridge.clients.client import Surroundings  # noqa: PLC0415
    from mcp_bridge.clients.presence import presences  # noqa: PLC0415

    seen = list(presences(Surroundings(environment(None), Path.cwd(), sys.platform)))
    for one in seen:
        if one.state == "is wrong":
            text = f"{one.text}; a2a-mcp-bridge config {one.client.name} --write"
            yield _warn("clients", text)
    having = [one.client.title for one in seen if one.state == "has it"]
    lacking = [one.client for one in seen if one.state == "lacks it"]
    if having:
        yield _ok("clients", f"{', '.join(having)} can start runs")
    elif lacking:
        names, first = ", ".join(client.title for client in lacking), lacking[0].name
        yield _ok("clients", f"{names}: not yet; a2a-mcp-bridge config {first} --write")
    elif not seen:
        yield _ok(
            "clients", "none is known here; a2a-mcp-bridge config CLIENT prints what it takes"
        )


def of_report(report: Sequence[JsonObject]) -> Iterator[Finding]:
    """The wrappers' findings as ours. Few people use every agent: one that cannot work is to be
    mended first only when no other can."""
    agents = {string(one.get("about")) for one in report} - {MACHINE}
    broken = {string(one.get("about")) for one in report if one.get("verdict") == "failed"}
    for found in report:
        about, name = string(found.get("about")), string(found.get("name"))
        verdict = _VERDICTS.get(string(found.get("verdict")), "warn")
        if verdict == "fail" and about != MACHINE and agents - broken:
            verdict = "warn"
        yield Finding(name=about, verdict=verdict, text=f"{name}: {string(found.get('text'))}")
