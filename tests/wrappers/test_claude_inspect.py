"""What is found of the real Claude Code before work begins, and of what waits between runs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.events import RunCompleted, RunStarted
from tests.wrappers.claude_case import Case, end, only
from wrappers.adapter import Finding, Step
from wrappers.claude.inspection import inspect
from wrappers.claude.options import Installation, bundled_cli
from wrappers.processes import figures


def by_name(findings: Sequence[Finding]) -> Mapping[str, Finding]:
    return {finding.name: finding for finding in findings}


def program(folder: Path, script: str) -> Path:
    file = folder / "claude"
    file.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    file.chmod(0o700)
    return file


async def test_a_usable_installation_is_found_so(claude: Case) -> None:
    before = figures.descendants(os.getpid())
    findings = await claude.adapter.inspect()

    assert [finding.name for finding in findings] == ["program", "version", "login", "root"]
    assert {finding.verdict for finding in findings} == {"ok"}
    found = by_name(findings)
    assert found["program"].text == str(bundled_cli())
    assert found["login"].text == "api_key (ANTHROPIC_API_KEY)"
    assert claude.model.requests == []
    assert not figures.descendants(os.getpid()).keys() - before.keys()


async def test_a_missing_login_is_found_with_the_command_to_log_in(claude: Case) -> None:
    del claude.env["ANTHROPIC_API_KEY"]
    claude.start_anew()
    login = by_name(await claude.adapter.inspect())["login"]

    assert login.verdict == "failed"
    assert "`claude auth login`" in login.text


async def test_being_root_is_warned_of_with_both_ways_out(claude: Case, tmp_path: Path) -> None:
    installation = Installation(cli=bundled_cli(), env=claude.env, home=tmp_path, root=True)
    root = by_name(await inspect(installation))["root"]
    user = by_name(await inspect(replace(installation, root=False)))["root"]

    assert root.verdict == "warned"
    assert "--run-as USER" in root.text
    assert "--allow-root" in root.text
    assert user.verdict == "ok"


@pytest.mark.parametrize(
    ("script", "name", "verdict", "text"),
    [
        ("echo '1.0.9 (Claude Code)'", "version", "warned", "1.0.9 is older than"),
        ("echo 'Claude Code'", "version", "warned", "unknown (Claude Code)"),
        ("echo 'someone else'", "program", "failed", "is not Claude Code (someone else)"),
        ("echo '9.9.9 (Claude Code)'", "login", "warned", "gave no answer"),
        ("exit 1", "program", "failed", "does not answer"),
    ],
)
async def test_another_program_is_told_by_what_it_says(
    tmp_path: Path, script: str, name: str, verdict: str, text: str
) -> None:
    cli = program(tmp_path, script)
    found = by_name(await inspect(Installation(cli=cli, env={}, home=tmp_path)))

    assert found[name].verdict == verdict
    assert text in found[name].text


async def test_a_program_that_is_not_there_is_the_only_finding(tmp_path: Path) -> None:
    nowhere = Installation(cli=tmp_path / "claude", env={}, home=tmp_path)
    (finding,) = await inspect(nowhere)

    assert (finding.name, finding.verdict) == ("program", "failed")
    assert "--claude-bin" in finding.text


# -- between runs ------------------------------------------------------------------------------


async def test_the_status_counts_warm_and_idle_processes(claude: Case) -> None:
    seen: list[object] = []

    async def look(step: Step, session: object) -> None:
        if isinstance(step, RunCompleted):
            seen.append(claude.adapter.status())

    before = claude.adapter.status()
    await claude.run("@say ok", on_step=look)
    after = claude.adapter.status()

    assert before == {"warm": 0, "idle": 0, "spare": 0, "warm_max": 8}
    assert seen == [before | {"warm": 1}]
    assert after == before | {"warm": 1, "idle": 1}


async def test_a_new_context_takes_the_spare_process_and_its_session(claude: Case) -> None:
    claude.start_anew(spare=True)
    await claude.run("@say one")
    await claude.spare(1)
    steps = await claude.run("@say two", session=await claude.session("c-2"))
    again = await claude.run("@say three", session=await claude.session("c-2"))

    started = only(steps, RunStarted)
    assert started.extra["warm"] is True
    assert end(steps, RunCompleted).final_response == "two"
    assert "@say one" not in claude.heard()
    assert "@say two" in claude.heard()
    session = started.extra["backend_session_id"]
    assert only(again, RunStarted).extra["backend_session_id"] == session


async def test_a_context_that_took_the_spare_resumes_after_a_restart(claude: Case) -> None:
    claude.start_anew(spare=True)
    await claude.run("@say one")
    await claude.spare(1)
    steps = await claude.run("@say The word is plum.", session=await claude.session("c-2"))
    await claude.adapter.close()
    claude.start_anew()
    bound = replace(
        claude.context("c-2"), vendor_session=only(steps, RunStarted).extra["backend_session_id"]
    )
    await claude.run("@say again", session=await claude.adapter.open(bound))

    assert "The word is plum." in claude.heard()


async def test_a_spare_process_serves_only_contexts_like_the_last(claude: Case) -> None:
    claude.start_anew(spare=True)
    await claude.run("@say one")
    await claude.spare(1)
    other = await claude.session("c-2", profile="You count in plums.")
    steps = await claude.run("@say two", session=other)

    assert only(steps, RunStarted).extra["warm"] is False


async def test_turns_of_old_conversations_leave_the_spare_process_alone(claude: Case) -> None:
    claude.start_anew(spare=True)
    first = await claude.session("first", profile="One.")
    await claude.run("@say one", session=first)
    await claude.spare(1)
    await claude.run("@say two", session=await claude.session("second", profile="Two."))
    await claude.spare(1)
    await claude.run("@say again", session=first)
    await claude.spare(1)
    steps = await claude.run("@say three", session=await claude.session("third", profile="Two."))
    assert only(steps, RunStarted).extra["warm"] is True


async def test_an_idle_spare_process_goes(claude: Case) -> None:
    claude.start_anew(spare=True, idle_s=0.3)
    await claude.run("@say one")
    await claude.spare(1)
    await claude.spare(0)

    assert claude.adapter.status()["spare"] == 0
