"""The configuration that clients get to paste."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mcp_bridge.clients.client import Entry
from mcp_bridge.clients.codex import CODEX_ENV_VARS
from mcp_bridge.clients.configuration import CLIENTS, printed
from mcp_bridge.stdio import main
from wrappers.processes.environment import NEEDED

ENTRY = Entry("/opt/my tools/a2a-mcp-bridge", ["--gateway", 'http://h:1/"x"'], {"A": "ü\\"})


def test_claude_gets_json_that_loads_the_tools_at_once() -> None:
    server = json.loads(printed(CLIENTS["claude"], ENTRY))["mcpServers"]["a2a-gateway"]
    assert server["type"] == "stdio"
    assert server["command"] == ENTRY.command
    assert server["args"] == ENTRY.args
    assert server["env"] == {"A": "ü\\"}
    assert server["alwaysLoad"] is True


def test_codex_gets_toml_with_what_its_headless_mode_needs() -> None:
    server = tomllib.loads(printed(CLIENTS["codex"], ENTRY))["mcp_servers"]["a2a-gateway"]
    assert server["command"] == ENTRY.command
    assert server["args"] == ENTRY.args
    assert server["env"] == {"A": "ü\\"}
    assert server["required"] is True
    assert server["omit_tools_from"] == ["deferred"]  # else they stand behind a search
    assert server["default_tools_approval_mode"] == "approve"


def test_codex_hands_on_what_agents_need_to_reach_their_models() -> None:
    # A Claude Code run by a gateway that Codex had started knew neither the proxy nor the base URL
    # of its model: Codex keeps back what is not named.
    by_itself = {"PATH", "HOME", "LANG", "TMPDIR"}
    assert NEEDED - by_itself <= set(CODEX_ENV_VARS)
    assert "ANTHROPIC_BASE_URL" in CODEX_ENV_VARS


@pytest.mark.parametrize("client", ["claude", "codex"])
def test_the_command_prints_it_with_the_home_and_the_gateway_it_was_given(
    client: str, environment: dict[str, str]
) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "mcp_bridge.stdio", "--gateway", "http://127.0.0.1:1",
         "--token-file", "token", "config", client],
        env=environment, capture_output=True, text=True, encoding="utf-8", check=True, timeout=20,
    ).stdout  # fmt: skip
    read = json.loads(printed)["mcpServers"] if client == "claude" else tomllib.loads(printed)
    server = read["a2a-gateway"] if client == "claude" else read["mcp_servers"]["a2a-gateway"]
    assert Path(server["command"]).name == "a2a-mcp-bridge"
    assert server["args"] == [
        "--gateway", "http://127.0.0.1:1", "--token-file", str(Path("token").absolute())
    ]  # fmt: skip
    assert server["env"] == {"A2A_GATEWAY_HOME": environment["A2A_GATEWAY_HOME"]}


@pytest.mark.parametrize(
    "argv", [["config", "emacs"], ["--gateway", "ftp://x"], ["--token-file", "t"], ["--nope"]]
)
def test_a_wrong_command_line_is_refused(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""
