"""The real Gemini CLI, from npm, reads what `a2a-mcp-bridge config gemini` writes and has pasted."""

import json
import shlex
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.core.puppet import stage
from tests.e2e.node import packages, program
from tests.mcp_bridge.house import Agents, http_server

PACKAGE = "@google/gemini-cli@0.61.0"
START_S = 120.0
TOKEN = "t" * 43
BRIDGE = str(Path(sys.executable).with_name("a2a-mcp-bridge"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    environment: dict[str, str]
    folder: Path
    at: tuple[str, ...]
    gemini: tuple[str, ...]

    @property
    def settings(self) -> Path:
        return Path(self.environment["HOME"], ".gemini", "settings.json")

    async def does(self, *command: str) -> str:
        with anyio.fail_after(START_S):
            done = await anyio.run_process(
                command,
                env=self.environment,
                cwd=self.folder,
                check=False,
                stderr=subprocess.STDOUT,
            )
        said = done.stdout.decode()
        assert done.returncode == 0, said
        return said

    async def config(self, *words: str) -> str:
        return await self.does(BRIDGE, *self.at, "config", "gemini", *words)


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return await packages(tmp_path_factory.mktemp("gemini"), PACKAGE)


@pytest.fixture
async def person(
    installation: Path, environment: dict[str, str], tmp_path: Path
) -> AsyncGenerator[Person]:
    folder = tmp_path / "pro ject é"
    folder.mkdir()
    token = folder / "token"
    token.write_text(TOKEN, "utf-8")
    token.chmod(0o600)
    _trust(Path(environment["HOME"], ".gemini"), folder)
    script = installation / "node_modules/@google/gemini-cli/bundle/gemini.js"
    async with stage(tmp_path) as puppets, http_server(puppets, Agents(), TOKEN) as url:
        at = ("--gateway", url, "--token-file", str(token), "--toolsets", "agents")
        yield Person(environment=environment, folder=folder, at=at, gemini=(program(), str(script)))


def _trust(home: Path, folder: Path) -> None:
    home.mkdir()
    (home / "trustedFolders.json").write_text(json.dumps({str(folder): "TRUST_FOLDER"}), "utf-8")


async def test_gemini_reaches_the_gateway_with_what_was_written(person: Person) -> None:
    person.settings.write_text('{\n  // mine\n  "ui": {"theme": "GitHub"} // yes\n}\n', "utf-8")
    await person.config("--yes")
    said = await person.does(*person.gemini, "mcp", "list")
    assert f"a2a-gateway: {BRIDGE}" in said
    assert "Connected" in said, said
    assert "// mine" in person.settings.read_text("utf-8")
    assert '"ui": {"theme": "GitHub"}, // yes\n' in person.settings.read_text("utf-8")


async def test_gemini_sends_the_token_of_its_environment(person: Person) -> None:
    await person.config("--http", "--yes")
    person.environment["A2A_GATEWAY_TOKEN"] = TOKEN
    said = await person.does(*person.gemini, "mcp", "list")
    assert "(http) - Connected" in said, said
    assert TOKEN not in person.settings.read_text("utf-8")


async def test_the_line_to_paste_gives_gemini_what_is_written(person: Person) -> None:
    said = await person.config()
    line = next(one for one in said.splitlines() if one.startswith("gemini mcp add "))
    await person.does("sh", "-c", line.replace("gemini", shlex.join(person.gemini), 1))
    assert "has a2a-gateway already, just so" in await person.config("--yes")
    assert "Connected" in await person.does(*person.gemini, "mcp", "list")
