"""The real Claude Code and the real Codex as callers: the bridge is their MCP server, a script their model.

The agents they have work for them are the same programs behind the real wrappers, on the same scripted
models. Knows no test.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio

from gateway.core import json
from gateway.core.json import JsonObject
from tests.conftest import built_environment
from tests.demo.stage import nothing_left
from tests.models import anthropic_messages, anthropic_script, openai_responses, openai_script
from tests.models.codex_program import codex_program
from wrappers.claude.options import bundled_cli

BIN = Path(sys.executable).parent
LOOK_EVERY_S = 0.02
WHOLE_S = 120.0  # a client with all it has done by agents, on a busy machine
KEY_NAME = "OPENAI_API_KEY"  # one that Codex hands to what it starts

HELLO: JsonObject = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "caller", "version": "1"},
    },
}

Kind = Literal["claude", "codex"]
KINDS: tuple[Kind, ...] = ("claude", "codex")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Scripted models, and the environment in which clients, gateway and agents find them."""

    folder: Path
    environment: dict[str, str]
    openai: openai_responses.Endpoint
    anthropic: anthropic_messages.Endpoint

    def plain_codex(self, model: str = openai_responses.MODEL) -> None:
        """A configuration of Codex that knows its model and no MCP server."""
        folder, url = Path(self.environment["CODEX_HOME"]), self.openai.url
        openai_responses.codex_home(folder, url, key_name=KEY_NAME, model=model)

    async def gateway(self) -> None:
        """One runs from now on: the relay starts it for who greets it, when there is none."""
        command, hello = [str(BIN / "a2a-mcp-bridge")], json.encode(HELLO).encode() + b"\n"
        greeted = await anyio.run_process(command, input=hello, env=self.environment, stderr=None)
        assert b'"result"' in greeted.stdout

    async def no_gateway(self) -> None:
        """A gateway outlives who started it, so it is stopped as a person would."""
        command = [str(BIN / "a2a-gateway"), "stop"]
        await anyio.run_process(command, env=self.environment, check=False, stderr=None)


@asynccontextmanager
async def place(folder: Path) -> AsyncGenerator[Place]:
    """No gateway runs at its beginning, and no process of it at its end."""
    environment = built_environment(folder)
    async with AsyncExitStack() as stack:
        openai = await stack.enter_async_context(openai_responses.running())
        anthropic = await stack.enter_async_context(anthropic_messages.running())
        claude = anthropic_messages.claude_home(folder, anthropic.url)
        environment |= {name: claude[name] for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")}
        environment |= {
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "A2A_AGENT_SPARE": "false",
            KEY_NAME: openai_responses.KEY,
        }
        made = Place(folder=folder, environment=environment, openai=openai, anthropic=anthropic)
        made.plain_codex()
        try:
            yield made
        finally:
            with anyio.CancelScope(shield=True):
                await made.no_gateway()
                await nothing_left(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    code: int
    said: str
    errors: str

    @property
    def outcome(self) -> Any:
        """What a program said at last."""
        assert self.code == 0, f"{self.said}\n{self.errors}"
        return json.decode(self.said)


@dataclass(frozen=True, slots=True)
class Caller:
    """One of the two clients, at work in a folder of a place."""

    kind: Kind
    place: Place
    project: Path
    model: str = openai_responses.MODEL  # of Codex

    async def install(self) -> None:
        """The one line of the manual: the client's own file knows the relay from now on."""
        self._forget()
        await self._config("--yes")

    async def configure(self, *arguments: str, flags: Sequence[str] = ()) -> None:
        """Paste what `a2a-mcp-bridge config` prints for this client; `flags` are the bridge's."""
        self.paste(await self._config(*arguments, flags=flags))

    def paste(self, configuration: str) -> None:
        self._forget()
        if self.kind == "claude":
            self._mcp_json.write_text(configuration, encoding="utf-8")
        else:
            with self._config_toml.open("a", encoding="utf-8") as file:
                file.write(configuration)

    async def _config(self, *arguments: str, flags: Sequence[str] = ()) -> str:
        command = [str(BIN / "a2a-mcp-bridge"), *flags, "config", self.kind, *arguments]
        done = await anyio.run_process(
            command, env=self.place.environment, stderr=subprocess.DEVNULL
        )
        return done.stdout.decode()

    def _forget(self) -> None:
        if self.kind == "claude":
            self._claude_json.unlink(missing_ok=True)
        else:
            self.place.plain_codex(self.model)

    @property
    def _mcp_json(self) -> Path:
        return self.project / "mcp.json"

    @property
    def _claude_json(self) -> Path:
        return Path(self.place.environment["CLAUDE_CONFIG_DIR"]) / ".claude.json"

    @property
    def _config_toml(self) -> Path:
        return Path(self.place.environment["CODEX_HOME"]) / "config.toml"

    def _command(self, prompt: str) -> list[str]:
        if self.kind == "codex":
            return [str(codex_program()), "exec", "--skip-git-repo-check", prompt]
        servers = list[str]()  # installed: it finds them
        if self._mcp_json.exists():
            servers = ["--mcp-config", str(self._mcp_json), "--strict-mcp-config"]
        allowed = ["--allowedTools", "mcp__a2a-gateway"]
        return [str(bundled_cli()), "-p", *servers, *allowed, "--", prompt]

    async def start(self, program: str, **asked: object) -> asyncio.subprocess.Process:
        """The client with a prompt that has its model play a program of `tests.models.caller`."""
        return await self.asked(f"@play {program} {json.encode(asked)}")

    async def asked(self, prompt: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command(prompt),
            cwd=self.project,
            env=self.place.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    async def play(self, program: str, **asked: object) -> Finished:
        return await self.finished(await self.start(program, **asked))

    async def finished(self, process: asyncio.subprocess.Process) -> Finished:
        try:
            with anyio.fail_after(WHOLE_S):
                said, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Finished(
            code=process.returncode or 0, said=said.decode().strip(), errors=errors.decode()
        )

    async def hears(self, text: str) -> None:
        """Wait until a tool's answer with `text` has come to its model."""
        with anyio.fail_after(WHOLE_S):
            # The models keep lists, and nothing to wait for.
            while not self._heard_of(text):  # noqa: ASYNC110
                await anyio.sleep(LOOK_EVERY_S)

    def _heard_of(self, text: str) -> bool:
        return bool(self.requests) and any(text in answer for answer in self.heard())

    # -- what its model was sent ----------------------------------------------------------------

    @property
    def requests(self) -> list[JsonObject]:
        """The model requests of the client itself, not those of agents that work for it."""
        both = {"claude": self.place.anthropic.requests, "codex": self.place.openai.requests}
        return [request for request in both[self.kind] if self._is_own(json.encode(request))]

    def _is_own(self, request: str) -> bool:
        return "@play " in request and str(self.project) in request

    def offered(self) -> dict[str, JsonObject]:
        """The bridge's tools as the first request has them, by name."""
        tools: list[JsonObject] = self.requests[0]["tools"]
        if self.kind == "claude":
            known = anthropic_script.BRIDGE
            return {
                str(tool["name"]).removeprefix(known): tool
                for tool in tools
                if str(tool["name"]).startswith(known)
            }
        spaces = [tool for tool in tools if tool.get("name") == openai_script.BRIDGE]
        return {tool["name"]: tool for space in spaces for tool in space["tools"]}

    def instructed(self) -> str:
        """What the first request has beside what the person asked: prompts and tools, as text."""
        body = self.requests[0]
        if self.kind == "codex":
            return "\n".join(str(tool.get("description")) for tool in body["tools"])
        told = [message for message in body["messages"] if message["role"] == "system"]
        return "\n".join(text for message in told for text in anthropic_script.texts(message))

    def heard(self) -> list[str]:
        """What the bridge's tools brought, as the model of the last conversation reads it."""
        if self.kind == "claude":
            return anthropic_script.results(self.requests[-1]["messages"])
        return openai_script.outputs(self.requests[-1]["input"])
