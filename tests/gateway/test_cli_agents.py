"""Agents at the command line: added, looked at, used, switched off, removed, and no secret said."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from gateway.core.face.tokens import read_token
from tests.conftest import built_environment
from tests.gateway.people import Desk, desk
from tests.wrappers.launched import Launched, launched

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture(scope="module")
async def shell(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk]:
    async with desk(tmp_path_factory.mktemp("agents")) as made:
        yield made


@pytest.fixture(scope="module")
async def far(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Launched]:
    """An agent of another home, so that its token is not found by itself."""
    elsewhere = built_environment(tmp_path_factory.mktemp("far") / "home")
    async with launched(elsewhere, "scripted", "--name", "far") as wrapper:
        yield wrapper


async def added(shell: Desk, far: Launched, name: str, *options: str) -> None:
    token = f"file:{far.ready['token_file']}"
    done = await shell.do("agents", "add", name, far.ready["base_url"], "--token", token, *options)
    assert done.code == 0, done.err


async def test_an_agent_is_added_shown_used_and_removed(shell: Desk, far: Launched) -> None:
    await added(shell, far, "one", "-l", "place=far")
    shown = await shell.do("agents", "show", "one")
    assert f"login     file:{far.ready['token_file']}" in shown.out
    assert "labels    place=far" in shown.out
    assert "streaming, coding-run" in shown.out
    assert "skill     scripted" in shown.out
    assert (await shell.do("run", "one", "say from afar")).out == "from afar\n"
    assert (await shell.do("run", far.ready["base_url"], "say by URL")).out == "by URL\n"
    assert "one\tregistered\thealthy\t0\t\t" in (await shell.do("agents", "list")).out
    assert (await shell.do("agents", "check", "one")).code == 0
    assert (await shell.do("agents", "remove", "one")).out == "agent one was removed\n"
    assert (await shell.do("agents", "show", "one")).code == 1


async def test_a_token_from_stdin_is_kept_and_never_said(shell: Desk, far: Launched) -> None:
    token = read_token(Path(far.ready["token_file"]))
    arguments = ("agents", "add", "two", far.ready["base_url"], "--token", "-", "--json")
    done = await shell.do(*arguments, stdin=f"{token}\n")
    assert (done.code, done.json["credentials"]) == (0, "stored")
    assert (await shell.do("run", "two", "say hello")).out == "hello\n"
    listed = await shell.do("agents", "list", "--json")
    assert token not in done.out + done.err + listed.out
    await shell.do("agents", "remove", "two")


async def test_who_does_not_answer_is_not_added_unless_that_is_wanted(shell: Desk) -> None:
    done = await shell.do("agents", "add", "gone", NOBODY)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "gone" not in (await shell.do("agents", "list")).out
    assert (await shell.do("agents", "add", "gone", NOBODY, "--force")).code == 0
    assert (await shell.do("agents", "check", "gone")).code == 1
    doctor = (await shell.do("doctor")).out
    assert "a2a-gateway agents check gone" in doctor
    assert (await shell.do("agents", "remove", "gone")).code == 0


async def test_a_disabled_agent_gets_no_run_until_it_is_enabled(shell: Desk, far: Launched) -> None:
    await added(shell, far, "three")
    assert (await shell.do("agents", "disable", "three")).out == "agent three is disabled\n"
    assert "disabled" in (await shell.do("agents", "list")).out
    refused = await shell.do("run", "-q", "three", "say x")
    assert (refused.code in (1, 5), "disabled" in refused.err) == (True, True)
    assert (await shell.do("agents", "enable", "three")).code == 0
    assert (await shell.do("run", "three", "say x")).out == "x\n"
    await shell.do("agents", "remove", "three")


async def test_an_agent_at_work_is_removed_by_force_alone(shell: Desk, far: Launched) -> None:
    await added(shell, far, "four")
    done = await shell.do("run", "-q", "--json", "four", "ask A?")
    run_id = done.lines[0]["run_id"]
    refused = await shell.do("agents", "remove", "four")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    await shell.do("runs", "cancel", run_id)
    assert (await shell.do("agents", "remove", "four", "--force")).code == 0


async def test_an_agent_changes_its_pool_and_labels(shell: Desk, far: Launched) -> None:
    await added(shell, far, "five")
    changed = await shell.do("agents", "change", "five", "--pool", "many", "-l", "a=b", "--json")
    assert (changed.json["pool"], changed.json["labels"]) == ("many", {"a": "b"})
    assert (await shell.do("run", "many", "say pooled")).out == "pooled\n"
    changed = await shell.do("agents", "change", "five", "--pool", "", "--json")
    assert changed.json["pool"] is None
    assert (await shell.do("agents", "change", "five")).code == 2
    await shell.do("agents", "remove", "five")
