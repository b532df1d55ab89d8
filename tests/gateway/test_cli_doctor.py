"""What `doctor` finds: a home that others write, a gateway that hangs, a database that is none."""

import os
import socket
import sys
from pathlib import Path

import pytest

from gateway.cli import checks
from gateway.core.json import JsonObject
from gateway.home import Published, this_process, write_private

AGENTS: list[JsonObject] = [
    {"about": "machine", "name": "python", "verdict": "ok", "text": "3.11"},
    {"about": "codex", "name": "login", "verdict": "failed", "text": "run codex login"},
    {"about": "claude_code", "name": "login", "verdict": "ok", "text": "logged in"},
]


@pytest.fixture(autouse=True)
def _no_wrappers(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Their own doctor has its own tests, and takes a second."""
    monkeypatch.setattr(checks, "AGENTS", "no-such-program")


def found(home: Path) -> dict[str, checks.Finding]:
    return {finding.name: finding for finding in checks.everything(home)}


def test_a_home_that_is_not_there_is_no_trouble_and_is_not_made(tmp_path: Path) -> None:
    home = tmp_path / "new"
    assert {one.verdict for one in checks.everything(home)} == {"ok", "fail"}
    assert [one.name for one in checks.everything(home) if one.verdict == "fail"] == ["wrappers"]
    assert not home.exists()


def test_a_home_that_others_write_and_a_token_that_others_read_are_to_be_mended(
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text("x", encoding="utf-8")
    (tmp_path / "token").chmod(0o644)
    tmp_path.chmod(0o777)
    seen = found(tmp_path)
    assert (seen["home"].verdict, "chmod 700" in seen["home"].text) == ("fail", True)
    assert (seen["rights"].verdict, "chmod 600" in seen["rights"].text) == ("fail", True)


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(b"not a database at all, but long enough to be one")
    seen = found(tmp_path)["database"]
    assert (seen.verdict, "gateway.db" in seen.text) == ("fail", True)


def test_a_gateway_that_runs_and_does_not_answer_is_to_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.control.HEALTH_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        token = tmp_path / "token"
        about = Published(url=url, process=this_process(), token_file=token).to_json()
        write_private(tmp_path / "gateway.json", about)
        seen = found(tmp_path)["gateway"]
    assert seen.verdict == "fail"
    assert f"pid {os.getpid()} does not answer" in seen.text
    assert "a2a-gateway stop" in seen.text


def test_one_agent_that_cannot_work_is_a_warning_while_another_can() -> None:
    verdicts = [one.verdict for one in checks.of_report(AGENTS)]
    assert verdicts == ["ok", "warn", "ok"]


def test_no_agent_that_can_work_is_to_be_mended() -> None:
    verdicts = [one.verdict for one in checks.of_report(AGENTS[:2])]
    assert verdicts == ["ok", "fail"]


def test_a_full_disk_is_to_be_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "DISK_OUT", 1 << 60)
    assert found(tmp_path)["disk"].verdict == "fail"


# -- clients ---------------------------------------------------------------------------------------


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of somebody whose clients are all new."""
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def _clients(home: Path) -> list[checks.Finding]:
    return [one for one in checks.everything(home / "gateway") if one.name == "clients"]


def test_a_person_without_clients_is_told_how_to_get_one(person: Path) -> None:
    (seen,) = _clients(person)
    assert (seen.verdict, "a2a-mcp-bridge config CLIENT" in seen.text) == ("ok", True)


def test_a_client_without_the_bridge_is_told_the_command(person: Path) -> None:
    (person / ".claude.json").write_text("{}", encoding="utf-8")
    (seen,) = _clients(person)
    assert seen.verdict == "ok"
    assert seen.text == "Claude Code: not yet; a2a-mcp-bridge config claude --write"


def test_clients_that_have_the_bridge_are_named_and_wrong_ones_are_warned_of(person: Path) -> None:
    bridge = Path(sys.executable).with_name("a2a-mcp-bridge")
    (person / ".codex").mkdir()
    (person / ".codex" / "config.toml").write_text(
        f"[mcp_servers.a2a-gateway]\ncommand = '{bridge}'\n", encoding="utf-8"
    )
    (person / ".claude.json").write_text(
        '{"mcpServers": {"a2a-gateway": {"command": "/gone/a2a-mcp-bridge"}}}', encoding="utf-8"
    )
    (person / ".cursor").mkdir()
    (person / ".cursor" / "mcp.json").write_text("{", encoding="utf-8")
    seen = _clients(person)
    assert [one.verdict for one in seen] == ["warn", "warn", "ok"]
    assert "/gone/a2a-mcp-bridge, which is not there" in seen[0].text
    assert "line 1 is no JSON" in seen[1].text
    assert seen[1].text.endswith("a2a-mcp-bridge config cursor --write")
    assert seen[2].text == "Codex can start runs"
