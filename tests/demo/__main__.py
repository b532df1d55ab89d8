"""`make demo`: every flow on every kind of agent, through the stdio MCP entry, as a transcript.

Ends by itself, with exit code 0 only when each run ended as it must and no process is left.
"""

import argparse
import sys
import time
from pathlib import Path

import anyio
from mcp import MCPError
from rich.console import Console
from rich.markup import escape

from mcp_bridge.clients.client import Entry
from mcp_bridge.clients.configuration import CLIENTS, printed
from tests.demo.calling import TITLE, call_from_claude
from tests.demo.flows import Scene, WrongEndError, play
from tests.demo.scenes import CLAUDE, CODEX, REAL, REMOTE
from tests.demo.stage import (
    BIN,
    LeftBehindError,
    NotStartedError,
    Stage,
    ToolRefusedError,
    private_folder,
    stage,
)
from tests.demo.transcript import Transcript

COMMAND = str(BIN / "a2a-mcp-bridge")
NEXT = """\
start-a2a-agent       wrap an agent yourself; it prints the payload for spawn_run
a2a-gateway --help    the gateway by hand
make test             every test
make bench            the latencies on this machine
README.md             the seven tools, the settings, the scripted agent's language"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument(
        "--real", action="store_true", help="use your own logins and the real models (costs money)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the private home afterwards")
    return parser.parse_args()


class DemoFailedError(Exception):
    """Flows that did not end as they must, one line each."""


async def _demo(transcript: Transcript, folder: Path, real: bool) -> None:
    """Play every scene. Raises: DemoFailedError, NotStartedError, LeftBehindError."""
    transcript.scene("Starting: MCP client → a2a-mcp-bridge (stdio) → gateway → wrappers")
    wrong: list[str] = []
    async with stage(folder, models="real" if real else "scripted") as world:
        transcript.verdict(True, "the stdio entry answers; it started the gateway")
        tools = await world.client.list_tools()
        transcript.note("tools", ", ".join(tool.name for tool in tools.tools))
        transcript.note("scripted agent", f"started by start-a2a-agent, at {world.agent_url}")
        for scene in (*(REAL if real else CODEX + CLAUDE), *REMOTE):
            if error := await _played(scene, world, transcript):
                transcript.verdict(False, error)
                wrong.append(error)
        if not real and (error := await _called(world, transcript)):
            transcript.verdict(False, error)
            wrong.append(error)
        await _log(world, transcript)
        transcript.scene("Stopping: the client, then the gateway with its wrappers")
    transcript.verdict(True, "no process is left behind")
    if wrong:
        raise DemoFailedError("\n".join(wrong))


async def _played(scene: Scene, world: Stage, transcript: Transcript) -> str | None:
    try:
        await play(scene, world, transcript)
    except (WrongEndError, ToolRefusedError, MCPError) as exc:
        return f"{scene.title}: {exc}"
    except TimeoutError:
        return f"{scene.title}: did not end in time"
    return None


async def _called(world: Stage, transcript: Transcript) -> str | None:
    """The scene in which an agent is the caller; what was wrong with it."""
    try:
        await call_from_claude(world, transcript)
    except WrongEndError as exc:
        return f"{TITLE}: {exc}"
    except TimeoutError:
        return f"{TITLE}: did not end in time"
    return None


async def _log(world: Stage, transcript: Transcript) -> None:
    transcript.scene("All of them, from the gateway's log: list_runs")
    page = await world.call("list_runs", {})
    for run in reversed(page["runs"]):
        transcript.note(run["run_id"], f"{run['backend']:<11} {run['status']:<9} {run['summary']}")


def _outlook(transcript: Transcript) -> None:
    transcript.scene("Use it from your own agent")
    entry = Entry(COMMAND, [], {})
    for client in (CLIENTS["claude"], CLIENTS["codex"]):
        line = f"{COMMAND} config {client.name} --write"
        transcript.paste(f"{client.title}, one command, which asks before it writes", line)
    transcript.paste("Claude Code, or .mcp.json in a project", printed(CLIENTS["claude"], entry))
    transcript.paste("Codex, or ~/.codex/config.toml", printed(CLIENTS["codex"], entry))
    transcript.panel("What to do next", NEXT)


def main() -> int:
    arguments = _arguments()
    # Into a file or a pipe nobody wants 80 columns.
    transcript = Transcript(Console(width=None if sys.stdout.isatty() else 160))
    began = time.monotonic()
    wrong = ""
    try:
        with private_folder(arguments.keep) as folder:
            anyio.run(_demo, transcript, folder, arguments.real)
    except (DemoFailedError, NotStartedError, LeftBehindError) as exc:
        wrong = str(exc)
    except KeyboardInterrupt:
        transcript.say("stopped; everything that was started has ended")
        return 130
    _outlook(transcript)
    seconds = f"{time.monotonic() - began:.0f} s"
    if wrong:
        transcript.say(f"[bold red]Something went wrong[/], in {seconds}:\n{escape(wrong)}")
        return 1
    transcript.say(f"[bold green]Every flow ended as it must[/], in {seconds}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
