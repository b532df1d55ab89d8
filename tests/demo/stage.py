"""Everything the demo runs on: a private home, scripted model endpoints, a scripted agent, and the
stdio MCP entry with the gateway behind it.

The bench stands on the same stage. Knows no flow.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client, StdioServerParameters

from tests.demo.leftovers import processes_of
from tests.models.anthropic_messages import claude_home
from tests.models.openai_responses import codex_home

BIN = Path(sys.executable).parent
START_S = 60.0  # a first start reads 600 MB of CLI from disk
END_S = 20.0  # the gateway ends its wrappers, they their CLIs


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """`call` talks to the gateway's tools; `agent_url` is the scripted agent's."""

    client: Client
    agent_url: str
    project: Path
    folder: Path
    environment: dict[str, str]

    async def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The structured result of a tool. Raises: ToolRefusedError."""
        result = await self.client.call_tool(tool, arguments)
        if result.is_error:
            texts = [block.text for block in result.content if block.type == "text"]
            raise ToolRefusedError(f"{tool}: {' '.join(texts)}")
        return result.structured_content or {}


class ToolRefusedError(Exception):
    """A tool answered with an error."""


class NotStartedError(Exception):
    """A part of the stage did not come up; the text says which."""


class LeftBehindError(Exception):
    """Processes outlived the stage; they were killed by pid."""

    def __init__(self, processes: dict[int, str]) -> None:
        rows = "\n".join(f"  {pid}  {command[:150]}" for pid, command in processes.items())
        super().__init__(f"{len(processes)} process(es) left behind, killed now:\n{rows}")


@contextmanager
def private_folder(keep: bool = False) -> Generator[Path]:
    """A folder for one stage, gone at its end unless `keep` or something went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="a2a-demo-")).resolve()
    try:
        yield folder
    except Exception:
        keep = True
        raise
    finally:
        if keep:
            sys.stderr.write(f"logs and databases are kept in {folder}\n")
        else:
            shutil.rmtree(folder)


def plain_environment(folder: Path) -> dict[str, str]:
    """The environment of all that is started: private folders, this installation's commands."""
    tools = f"{BIN}:/usr/local/bin:/usr/bin:/bin"
    environment = {
        "PATH": tools,
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "A2A_GATEWAY_HOME": str(folder / "gateway"),
    }
    if os.geteuid() == 0:
        # Claude Code refuses to skip permissions as root; in this throw-away home it may.
        environment["A2A_AGENT_ALLOW_ROOT"] = "1"
    return environment


@asynccontextmanager
async def stage(
    folder: Path, *, models: Literal["scripted", "real", "none"] = "scripted"
) -> AsyncGenerator[Stage]:
    """The whole set. With `real` the CLIs use the logins and the network of this user.

    Raises at the end: LeftBehindError.
    """
    project = folder / "project"
    project.mkdir()
    (project / "README.md").write_text("# A project to work in\n", "utf-8")
    environment = plain_environment(folder)
    try:
        async with AsyncExitStack() as stack:
            if models == "real":
                environment = {**os.environ, "A2A_GATEWAY_HOME": environment["A2A_GATEWAY_HOME"]}
            elif models == "scripted":
                environment |= await _scripted_models(stack, folder, environment)
            agent_url = await _scripted_agent(stack, environment, project)
            bridge = StdioServerParameters(
                command=str(BIN / "a2a-mcp-bridge"), env=environment, cwd=str(project)
            )
            stack.push_async_callback(_stop_gateway, environment)
            client = await _connected(stack, bridge)
            yield Stage(
                client=client, agent_url=agent_url, project=project, folder=folder,
                environment=environment,
            )  # fmt: skip
    finally:
        with anyio.CancelScope(shield=True):
            await nothing_left(folder)


async def _connected(stack: AsyncExitStack, bridge: StdioServerParameters) -> Client:
    """An MCP client of the stdio entry. Raises: NotStartedError."""
    try:
        # No time limit here (a scope must not end around the client's own); the relay has one.
        return await stack.enter_async_context(Client(bridge))
    except ExceptionGroup as group:
        raise NotStartedError(f"a2a-mcp-bridge: {_first(group)}") from group


def _first(error: Exception) -> Exception:
    """The first error inside of groups of groups."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error


async def _scripted_models(
    stack: AsyncExitStack, folder: Path, environment: dict[str, str]
) -> dict[str, str]:
    """Two endpoints as processes of their own; the variables that point the CLIs at them."""
    urls: list[str] = []
    for module in ("openai_responses", "anthropic_messages"):
        command = [sys.executable, "-m", f"tests.models.{module}", "--port", "0"]
        line = await _first_line(stack, command, environment, Path.cwd())
        urls.append(line.strip())
    both = codex_home(folder / "codex-home", urls[0], key_name="OPENAI_API_KEY") | claude_home(
        folder / "claude-home", urls[1]
    )
    return {name: value for name, value in both.items() if name not in environment}


async def _scripted_agent(stack: AsyncExitStack, environment: dict[str, str], project: Path) -> str:
    """A wrapper started by hand, as a user would: the gateway learns it by URL alone."""
    command = [str(BIN / "start-a2a-agent"), "scripted", "--port", "0", "--json"]
    ready = json.loads(await _first_line(stack, command, environment, project))
    return ready["base_url"]


async def _first_line(
    stack: AsyncExitStack, command: list[str], environment: dict[str, str], cwd: Path
) -> str:
    """Start a server and wait for the line it says when it is ready; it ends with the stack."""
    process = await anyio.open_process(command, env=environment, cwd=cwd, stderr=None)
    stack.push_async_callback(_end, process)
    assert process.stdout is not None
    try:
        with anyio.fail_after(START_S):
            line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 1 << 20)
    except (anyio.IncompleteRead, TimeoutError) as exc:
        raise NotStartedError(f"{' '.join(command[:4])} said nothing; see above") from exc
    return line.decode()


async def _end(process: anyio.abc.Process) -> None:
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        with anyio.move_on_after(END_S) as late:
            await process.wait()
        if late.cancelled_caught:
            process.kill()
        await process.aclose()


async def _stop_gateway(environment: dict[str, str]) -> None:
    """The gateway outlives its callers by design, so the stage stops it by its own command."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(END_S):
        await anyio.run_process(
            [str(BIN / "a2a-gateway"), "stop"], env=environment, check=False,
            stdout=subprocess.DEVNULL, stderr=None,
        )  # fmt: skip


async def nothing_left(folder: Path) -> None:
    """Wait until no process of `folder` is left. Raises: LeftBehindError."""
    with anyio.move_on_after(END_S):
        # The end of a foreign process is no event to wait for.
        while await anyio.to_thread.run_sync(processes_of, folder):  # noqa: ASYNC110
            await anyio.sleep(0.1)
        return
    if left := processes_of(folder):
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        raise LeftBehindError(left)
