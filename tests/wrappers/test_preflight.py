"""What is said of an agent at its start, and what ends the start."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.wrappers.launched import refused
from wrappers.adapter import Finding
from wrappers.scripted.adapter import ScriptedAdapter
from wrappers.serving.preflight import inspect, lines, to_log, unusable

LOGIN = Finding(name="login", verdict="failed", text="nobody is logged in; run `x login`")
PROGRAM = Finding(name="program", verdict="failed", text="/x cannot be run")
VERSION = Finding(name="version", verdict="ok", text="1.2")


def test_only_an_agent_whose_program_cannot_be_used_ends_the_start() -> None:
    assert unusable([VERSION, LOGIN]) is None
    assert unusable([VERSION, PROGRAM]) is PROGRAM


def test_findings_are_columns_for_a_person() -> None:
    assert lines([VERSION, LOGIN]) == [
        "  ok       version  1.2",
        "  FAILED   login    nobody is logged in; run `x login`",
    ]
    assert lines([]) == []


def test_findings_go_to_the_log_by_their_weight(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="wrappers"):
        to_log("ada", [VERSION, LOGIN])
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
    assert caplog.messages[1].startswith("ada: login: nobody is logged in")


class Broken(ScriptedAdapter):
    async def inspect(self) -> Sequence[Finding]:
        raise RuntimeError("boom")


async def test_an_inspection_that_breaks_is_a_warning(environment: dict[str, str]) -> None:
    [found] = await inspect(Broken(env=environment, home=Path("/nowhere")))
    assert (found.verdict, "could not be inspected" in found.text) == ("warned", True)


async def test_a_program_that_is_none_ends_the_start_with_a_word(
    environment: dict[str, str],
) -> None:
    for flag, agent in (("--codex-bin", "codex"), ("--claude-bin", "claude_code")):
        code, errors = await refused(environment, agent, flag, "/etc/hostname")
        assert code == 1, errors
        assert flag in errors or "cannot be run" in errors
        assert "Traceback" not in errors
