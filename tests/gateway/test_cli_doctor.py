"""What `doctor` finds: a home that others write, a gateway that hangs, a database that is none."""

import os
import socket
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
