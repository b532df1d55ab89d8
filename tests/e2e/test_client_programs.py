"""The real claude and codex read what `a2a-mcp-bridge config` writes, and what it has them paste."""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.core.puppet import stage
from tests.mcp_bridge.house import Agents, http_server
from tests.models.codex_program import codex_program
from wrappers.claude.options import bundled_cli

START_S = 60.0
TOKEN = "t" * 43
BRIDGE = str(Path(sys.executable).with_name("a2a-mcp-bridge"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with both programs, and a gateway that takes a token."""

    environment: dict[str, str]
    folder: Path
    at: tuple[str, ...]  # the bridge's arguments that lead to the gateway

    async def does(self, *command: str, code: int = 0) -> str:
        with anyio.fail_after(START_S):
            done = await anyio.run_process(
                command,
                env=self.environment,
                cwd=self.folder,
                check=False,
                stderr=subprocess.STDOUT,
            )
        said = done.stdout.decode()
        assert done.returncode == code, said
        return said

    async def configures(self, *words: str) -> str:
        return await self.does(BRIDGE, *self.at, "config", *words, "--yes")

    async def pastes(self, client: str, *words: str) -> str:
        """The line of the client's own, as `config` prints it on stderr."""
        process = await asyncio.create_subprocess_exec(
            *(BRIDGE, *self.at, "config", client, *words),
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, said = await process.communicate()
        line = next(one for one in said.decode().splitlines() if one.startswith(f"{client} "))
        return await self.does("sh", "-c", line)

    async def codex(self, *words: str) -> Any:
        said = await self.does("codex", "mcp", *words, "--json")
        return json.loads("\n".join(one for one in said.splitlines() if "WARNING" not in one))

    @property
    def claudes(self) -> Path:
        return Path(self.environment["CLAUDE_CONFIG_DIR"], ".claude.json")

    @property
    def codexes(self) -> Path:
        return Path(self.environment["CODEX_HOME"], "config.toml")


@pytest.fixture
async def person(environment: dict[str, str], tmp_path: Path) -> AsyncGenerator[Person]:
    programs, folder = tmp_path / "bin", tmp_path / "pro ject $é"
    programs.mkdir()
    folder.mkdir()
    (programs / "claude").symlink_to(bundled_cli())
    (programs / "codex").symlink_to(codex_program())
    token = folder / "to 'ken"
    token.write_text(TOKEN, "utf-8")
    token.chmod(0o600)
    environment |= {"PATH": f"{programs}{os.pathsep}{environment['PATH']}"}
    environment |= {"A2A_GATEWAY_HOME": str(tmp_path / "ho me $HOME é'\"")}
    async with stage(tmp_path) as puppets, http_server(puppets, Agents(), TOKEN) as url:
        at = ("--gateway", url, "--token-file", str(token), "--toolsets", "agents")
        yield Person(environment=environment, folder=folder, at=at)


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_claude_reaches_the_gateway_with_what_was_written(person: Person, way: str) -> None:
    person.claudes.write_text('{"theirs": [1, {"b": 2}]}', "utf-8")
    await person.configures("claude", *(["--http"] if way == "http" else []))
    said = await person.does("claude", "mcp", "get", "a2a-gateway")
    assert "Scope: User config" in said
    assert f"Type: {way}" in said
    assert "Connected" in said, said
    assert TOKEN not in person.claudes.read_text("utf-8")
    assert json.loads(person.claudes.read_text("utf-8"))["theirs"] == [1, {"b": 2}]


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_the_line_to_paste_gives_claude_what_is_written(person: Person, way: str) -> None:
    words = ["--http"] if way == "http" else []
    await person.pastes("claude", *words)
    said = await person.configures("claude", *words)
    assert "has a2a-gateway already, just so" in said
    assert "Connected" in await person.does("claude", "mcp", "get", "a2a-gateway")


async def test_what_is_said_to_undo_it_undoes_it(person: Person) -> None:
    person.claudes.write_text("{}", "utf-8")
    person.codexes.write_text("# mine\nmodel = 'x'\n", "utf-8")
    for client in ("claude", "codex"):
        said = await person.configures(client)
        line = next(one for one in said.splitlines() if one.startswith("To undo: "))
        await person.does("sh", "-c", line.removeprefix("To undo: "))
    assert json.loads(person.claudes.read_text("utf-8")).get("mcpServers", {}) == {}
    assert person.codexes.read_text("utf-8").strip() == "# mine\nmodel = 'x'"


async def test_claude_asks_its_person_about_a_projects_server(person: Person) -> None:
    await person.configures("claude", "--scope", "project")
    said = await person.does("claude", "mcp", "get", "a2a-gateway")
    assert "Scope: Project config" in said
    assert "Pending approval" in said


async def test_codex_reads_every_word_of_what_was_written(person: Person) -> None:
    person.codexes.write_text(
        "# mine\nmodel = 'x'\n[mcp_servers.other]\ncommand = 'o' # theirs\n", "utf-8"
    )
    await person.configures("codex")
    found = await person.codex("get", "a2a-gateway")
    assert found["transport"]["command"] == BRIDGE
    assert found["transport"]["args"] == list(person.at)
    assert "ANTHROPIC_API_KEY" in found["transport"]["env_vars"]
    assert found["transport"]["env"].keys() == {"A2A_GATEWAY_HOME"}
    assert (found["startup_timeout_sec"], found["tool_timeout_sec"]) == (30, 120)
    said = await person.does("codex", "mcp", "get", "a2a-gateway")
    assert "default_tools_approval_mode: approve" in said
    assert (await person.codex("get", "other"))["transport"]["command"] == "o"


async def test_codex_finds_the_url_and_the_way_to_the_token(person: Person) -> None:
    await person.configures("codex")
    await person.configures("codex", "--http")
    found = (await person.codex("get", "a2a-gateway"))["transport"]
    assert found["type"] == "streamable_http"
    assert found["url"] == f"{person.at[1]}/mcp?toolsets=agents"
    assert TOKEN not in person.codexes.read_text("utf-8")


async def test_codex_reads_a_projects_file_in_a_folder_that_it_trusts(person: Person) -> None:
    trusted = f"[projects.{json.dumps(str(person.folder), ensure_ascii=False)}]\n"
    person.codexes.write_text(f'{trusted}trust_level = "trusted"\n', "utf-8")
    await person.configures("codex", "--scope", "project")
    assert (person.folder / ".codex" / "config.toml").exists()
    assert (await person.codex("get", "a2a-gateway"))["transport"]["command"] == BRIDGE


async def test_the_headers_command_stands_in_any_shell(person: Person) -> None:
    await person.configures("claude", "--http")
    entry = json.loads(person.claudes.read_text("utf-8"))["mcpServers"]["a2a-gateway"]
    printed = await person.does("sh", "-c", entry["headersHelper"])
    assert json.loads(printed) == {"Authorization": f"Bearer {TOKEN}"}
    assert shlex.split(entry["headersHelper"])[-1] == "headers"


async def test_claudes_entry_for_a_project_is_said_to_go_before_the_one_written(
    person: Person,
) -> None:
    (person.folder / ".git").mkdir()
    below = person.folder / "below"
    below.mkdir()
    within = Person(environment=person.environment, folder=below, at=person.at)
    await within.does("claude", "mcp", "add", "--scope", "local", "a2a-gateway", "--", "/bin/false")
    said = await within.configures("claude")
    line = next(one for one in said.splitlines() if "does not see it here" in one)
    await within.does("sh", "-c", line.partition("goes before it: ")[2])
    assert "does not see it here" not in await within.configures("claude")
    assert "Connected" in await within.does("claude", "mcp", "get", "a2a-gateway")
