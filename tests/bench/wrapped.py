"""A wrapper around a real CLI on a scripted model, a conversation through its A2A face, and where
both are started.

Knows no figure.
"""

import asyncio
import importlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import claude_agent_sdk

from gateway.core import json
from gateway.core.extension import URI
from gateway.core.face.tokens import read_token
from tests.bench.bare import Bare, BareClaude, BareCodex
from tests.bench.caller import EXTENSION, Connection, RefusedError, Streamed, Target
from tests.models.anthropic_messages import claude_home
from tests.models.openai_responses import codex_home
from tests.wrappers.launched import Launched, launched


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """`lines`: which line of the CLI becomes which event; `model`: the module that plays one."""

    name: str
    model: str
    option: str
    program: Path
    bare: Callable[[Path, dict[str, str], Path], Bare]
    home: Callable[[Path, str], dict[str, str]]
    lines: tuple[tuple[str, str], ...]


def _codex_home(folder: Path, url: str) -> dict[str, str]:
    return codex_home(folder, url)


AGENTS: Final = {
    "codex": Agent(
        name="codex",
        model="openai_responses",
        option="--codex-bin",
        program=Path(importlib.import_module("codex_cli_bin").bundled_codex_path()),
        bare=BareCodex,
        home=_codex_home,
        lines=(('"turn/started"', "run_started"), ('"type":"agentMessage"', "agent_message")),
    ),
    "claude": Agent(
        name="claude_code",
        model="anthropic_messages",
        option="--claude-bin",
        program=Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude",
        bare=BareClaude,
        home=claude_home,
        lines=(('"type":"assistant"', "agent_message"),),
    ),
}


class Conversation:
    """One context of a wrapper, over one connection."""

    def __init__(self, target: Target, connection: Connection, cwd: Path) -> None:
        self._target = target
        self._connection = connection
        self._cwd = cwd
        self._context: str | None = None

    async def send(self, prompt: str) -> float:
        """Seconds of a blocking SendMessage."""
        await self._reconnected()
        began = time.perf_counter()
        body = await self._connection.ask(self._request("SendMessage", prompt))
        taken = time.perf_counter() - began
        self._note(body)
        return taken

    async def stream(self, prompt: str, *, keep: bool = False) -> Streamed:
        """SendStreamingMessage with the extension, to its end."""
        await self._reconnected()
        request = self._request("SendStreamingMessage", prompt)
        taken = await self._connection.stream(request, keep=keep)
        self._note(taken.tail)
        return taken

    def close(self) -> None:
        self._connection.close()

    async def _reconnected(self) -> None:
        """The server lets idle connections go; no turn's time holds a new one."""
        if self._connection.closed:
            self._connection = await self._target.connect()

    def _request(self, method: str, prompt: str) -> bytes:
        message: json.JsonObject = {
            "messageId": "m-1",
            "role": "ROLE_USER",
            "parts": [{"text": prompt}],
            "metadata": {URI: {"cwd": str(self._cwd)}},
        }
        if self._context is not None:
            message["contextId"] = self._context
        return self._target.call(method, {"message": message}, EXTENSION)

    def _note(self, said: bytes) -> None:
        if b"TASK_STATE_COMPLETED" not in said:
            raise RefusedError(said.decode("utf-8", "replace"))
        self._context = said.partition(b'"contextId":"')[2].partition(b'"')[0].decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one agent's wrappers and bare clients are started."""

    agent: Agent
    folder: Path
    environment: dict[str, str]
    model: str
    cwd: Path

    def bare(self, name: str) -> Bare:
        environment = self.environment | self.agent.home(self.folder / name, self.model)
        return self.agent.bare(self.agent.program, environment, self.cwd)

    @asynccontextmanager
    async def wrapper(self, name: str, *arguments: str) -> AsyncGenerator[tuple[Launched, Target]]:
        """A wrapper with a home of its own; ended by SIGTERM."""
        home = {"A2A_GATEWAY_HOME": str(self.folder / name / "state")}
        environment = self.environment | self.agent.home(self.folder / name, self.model) | home
        async with launched(environment, self.agent.name, *arguments) as wrapper:
            ready = wrapper.ready
            port = int(ready["base_url"].rpartition(":")[2])
            target = Target(port, wrapper.process.pid, read_token(Path(ready["token_file"])))
            yield wrapper, target
            await wrapper.stop(signal.SIGTERM)

    async def conversation(self, target: Target) -> Conversation:
        return Conversation(target, await target.connect(), self.cwd)


@asynccontextmanager
async def model(module: str, environment: dict[str, str]) -> AsyncGenerator[str]:
    """A scripted model as a process of its own; its URL."""
    words = [sys.executable, "-m", f"tests.models.{module}", "--port", "0"]
    process = await asyncio.create_subprocess_exec(
        *words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def opened(bare: Bare) -> AsyncGenerator[Bare]:
    await bare.start()
    try:
        yield bare
    finally:
        await bare.close()
