"""MCP's Inspector, as its users run it: every schema portable, every method answered, by each way."""

import json
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from gateway.core.face.tokens import read_token
from tests.conftest import built_environment
from tests.e2e.node import packages, program
from tests.gateway.process import Gateway, started

PACKAGE: Final = "@modelcontextprotocol/inspector@2.12.0"
ERAS: Final = ("legacy", "auto", "modern")
PATIENCE_S: Final = 60
# Exit codes of the Inspector.
OK, UNAUTHORIZED, REFUSED = 0, 3, 5


@dataclass(frozen=True)
class Inspector:
    program: tuple[str, ...]
    gateway: Gateway
    environment: dict[str, str]

    async def over_http(
        self, era: str, *words: str, query: str = "", token: bool = True
    ) -> tuple[int, dict[str, Any], str]:
        """Exit code, the answer, and what else it said."""
        header = f"Authorization: Bearer {read_token(self.gateway.home.token_file)}"
        allowed = ["--header", header] if token else ["--stored-auth-only"]
        url = f"{self.gateway.url}/mcp{query}"
        return await self._run(url, "--transport", "http", *allowed, *self._words(era, words))

    async def over_the_relay(self, era: str, *words: str) -> tuple[int, dict[str, Any], str]:
        home = f"A2A_GATEWAY_HOME={self.gateway.home.path}"
        relay = str(Path(sys.executable).with_name("a2a-mcp-bridge"))
        return await self._run("-e", home, *self._words(era, words), "--", relay)

    def _words(self, era: str, words: tuple[str, ...]) -> tuple[str, ...]:
        return ("--format", "json", "--protocol-era", era, *words)

    async def _run(self, *words: str) -> tuple[int, dict[str, Any], str]:
        with anyio.fail_after(PATIENCE_S):
            done = await anyio.run_process(
                [*self.program, "--cli", *words], check=False, env=self.environment
            )
        answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        return done.returncode, answer.get("result", answer), done.stderr.decode()


@pytest.fixture(scope="module")
async def inspector(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Inspector]:
    folder = tmp_path_factory.mktemp("inspector")
    installed = await packages(folder / "npm", PACKAGE)
    command = (program(), str(installed / "node_modules" / ".bin" / "mcp-inspector"))
    environment = built_environment(folder / "home")
    async with started(environment | {"A2A_GATEWAY_LOCAL_AGENTS": '["scripted"]'}) as gateway:
        yield Inspector(command, gateway, environment)


@pytest.mark.promise("catalog.portable")
@pytest.mark.parametrize("era", ERAS)
async def test_no_schema_is_one_that_some_client_cannot_take(
    inspector: Inspector, era: str
) -> None:
    strict = ("--method", "tools/list", "--strict")
    query = "" if era == "auto" else "?toolsets=agents"
    code, listed, said = await inspector.over_http(era, *strict, query=query)
    assert (code, said) == (OK, "")
    assert "spawn_run" in {tool["name"] for tool in listed["tools"]}
    code, relayed, said = await inspector.over_the_relay(era, *strict)
    assert (code, said) == (OK, "")
    assert len(relayed["tools"]) == 7


@pytest.mark.parametrize("way", ["legacy over HTTP", "modern over the relay"])
async def test_a_run_is_had_done_by_the_inspector(
    inspector: Inspector, tmp_path: Path, way: str
) -> None:
    send = inspector.over_http if way.endswith("HTTP") else inspector.over_the_relay
    era = way.partition(" ")[0]

    async def call(tool: str, arguments: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        words = ("--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        return await send(era, "--method", "tools/call", *words)

    task = {"backend": "remote_a2a", "role": "worker", "prompt": "say hi", "session_mode": "new"}
    config = {"cwd": str(tmp_path), "backend_config": {"agent": "scripted"}}
    code, spawned, said = await call("spawn_run", task | config)
    assert code == OK, said
    run_id = spawned["structuredContent"]["run_id"]
    code, page, said = await call("poll_events", {"run_id": run_id, "after_seq": 0})
    assert code == OK, said
    assert page["structuredContent"]["events"]
    code, refused, said = await call("get_run", {"run_id": "nope"})
    assert code == REFUSED, said
    assert "list_runs" in refused["content"][0]["text"]
    code, read, said = await send(era, "--method", "resources/read", "--uri", f"run://{run_id}")
    assert code == OK, said
    assert json.loads(read["contents"][0]["text"])["run_id"] == run_id


async def test_without_the_token_the_inspector_is_told_that_it_needs_one(
    inspector: Inspector,
) -> None:
    for era in ("legacy", "modern"):
        code, _, said = await inspector.over_http(era, "--method", "tools/list", token=False)
        assert code == UNAUTHORIZED, said
        assert json.loads(said)["error"]["code"] == "auth_required"
