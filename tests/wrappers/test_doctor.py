"""start-a2a-agent doctor: one line a finding, what to do, and an exit status for scripts."""

import asyncio
import os
import subprocess
from pathlib import Path

import anyio
import pytest

from gateway.core import json
from tests.wrappers.launched import COMMAND, START_S, launched
from wrappers.serving import checks
from wrappers.settings import WrapperSettings


async def examined(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "doctor",
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    with anyio.fail_after(START_S):
        out, errors = await process.communicate()
    return process.returncode or 0, out.decode(), errors.decode()


async def test_a_machine_where_agents_can_work_is_said_to_be_one(
    environment: dict[str, str], tmp_path: Path
) -> None:
    code, out, _ = await examined(environment, "scripted", "--root", str(tmp_path), "--json")
    report = json.decode_object(out.encode())
    assert (code, report["ok"]) == (0, True), out
    names = [found["name"] for found in report["findings"] if found["about"] == "machine"]
    assert names == [
        *("python", "home", "token", "processes", "address", "roots", "capacity", "wrappers")
    ]
    assert [found["about"] for found in report["findings"]][-1] == "scripted"
    assert os.listdir(environment["A2A_GATEWAY_HOME"]) == []  # noqa: PTH208  # it leaves nothing


async def test_running_wrappers_of_the_home_are_listed_and_taken_ports_named(
    environment: dict[str, str],
) -> None:
    async with launched(environment, "scripted", "--name", "ada") as wrapper:
        url = wrapper.ready["base_url"]
        port = url.rpartition(":")[2]
        code, out, _ = await examined(environment, "scripted", "--port", port)
    assert code == 1
    assert f"ada answers at {url} (pid {wrapper.process.pid})" in out
    assert f"cannot listen on 127.0.0.1:{port}" in out
    assert "1 of these must be mended first." in out


async def test_an_agent_without_its_program_is_a_failure_with_a_way_out(
    environment: dict[str, str],
) -> None:
    code, out, errors = await examined(environment, "codex", "--codex-bin", "/nowhere/codex")
    assert code == 1
    assert "FAILED" in out
    assert "--codex-bin" in out
    assert "Traceback" not in errors


async def test_a_doctor_for_nobody_is_a_usage_error(environment: dict[str, str]) -> None:
    code, _, errors = await examined(environment, "nobody")
    assert (code, "no agent 'nobody'" in errors) == (2, True)


@pytest.mark.parametrize(
    ("mode", "verdict", "says"),
    [(0o700, "ok", "(0700)"), (0o755, "warned", "chmod 700"), (0o777, "failed", "chmod 700")],
)
def test_a_home_that_others_reach_is_named(
    mode: int, verdict: str, says: str, tmp_path: Path
) -> None:
    home = tmp_path / "h"
    home.mkdir()
    home.chmod(mode)
    found = checks.home(home)
    assert (found.verdict, says in found.text) == (verdict, True), found


def test_a_home_to_be_made_is_fine_and_one_that_is_a_file_is_not(tmp_path: Path) -> None:
    assert checks.home(tmp_path / "a" / "b").verdict == "ok"
    (tmp_path / "file").touch()
    assert checks.home(tmp_path / "file").verdict == "failed"


def test_tokens_that_others_can_read_are_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t" * 43, encoding="ascii")
    token.chmod(0o644)
    [found] = checks.tokens(["codex"], WrapperSettings(home=tmp_path, token_file=token))
    assert (found.verdict, "chmod 600" in found.text) == ("failed", True)
    register = WrapperSettings(home=tmp_path, register_at="https://gateway.example")
    own, missing = checks.tokens(["codex"], register)
    assert own.verdict == "ok"
    assert (missing.name, missing.verdict) == ("register", "failed")


def test_roots_are_looked_at_one_by_one(tmp_path: Path) -> None:
    found = list(checks.roots([tmp_path, tmp_path / "nowhere"]))
    assert [finding.verdict for finding in found] == ["ok", "failed"]


async def test_a_tree_of_processes_is_started_and_ended(tmp_path: Path) -> None:
    found = await checks.processes(tmp_path, "doctor-test")
    assert found.verdict == "ok", found
    assert "none left" in found.text
