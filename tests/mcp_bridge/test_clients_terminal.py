"""`config … --write` at a terminal: what is asked, and what the answers do."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.gateway.people import AT_A_TERMINAL, CTRL_C, ENTER, Terminal

COMMAND = (sys.executable, "-P", "-m", "mcp_bridge.stdio")
END_OF_FILE = "\x04"


def _at_a_terminal(
    environment: Mapping[str, str], words: tuple[str, ...]
) -> tuple[int, "subprocess.Popen[bytes]"]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL, *COMMAND, *words],
        stdin=theirs, stdout=theirs, stderr=theirs, env=dict(environment), start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    return ours, process


@asynccontextmanager
async def asked(environment: Mapping[str, str], *words: str) -> AsyncGenerator[Terminal]:
    ours, process = _at_a_terminal(environment, words)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def settings(environment: Mapping[str, str]) -> Path:
    return Path(environment["CLAUDE_CONFIG_DIR"], ".claude.json")


@pytest.mark.parametrize("typed", [ENTER, "y" + ENTER, "YES" + ENTER])
async def test_a_yes_writes_and_says_how_to_undo_it_and_what_to_try(
    environment: dict[str, str], typed: str
) -> None:
    path = settings(environment)
    path.write_text('{"theirs": 1}', "utf-8")
    async with asked(environment, "config", "claude", "--write") as person:
        await person.until("+ command: ")
        await person.until("Write this? [Y/n]")
        person.type(typed)
        await person.until("To undo: claude mcp remove --scope user a2a-gateway")
        await person.until("Use the a2a-gateway tools")
        assert await person.ended() == 0
    document = json.loads(path.read_text("utf-8"))
    assert document["theirs"] == 1
    assert document["mcpServers"]["a2a-gateway"]["alwaysLoad"] is True


@pytest.mark.parametrize(
    ("typed", "code"), [("n" + ENTER, 1), ("what?" + ENTER, 1), (END_OF_FILE, 1), (CTRL_C, 130)]
)
async def test_anything_else_writes_nothing(
    environment: dict[str, str], typed: str, code: int
) -> None:
    path = settings(environment)
    path.write_text("{}", "utf-8")
    async with asked(environment, "config", "claude", "--write") as person:
        await person.until("Write this? [Y/n]")
        person.type(typed)
        await person.until("Nothing is written.")
        assert await person.ended() == code
    assert path.read_text("utf-8") == "{}"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("typed", "replaced"), [(ENTER, False), ("y" + ENTER, True)])
async def test_another_server_under_our_name_is_replaced_only_when_that_is_said(
    environment: dict[str, str], typed: str, replaced: bool
) -> None:
    path = settings(environment)
    before = '{"mcpServers": {"a2a-gateway": {"command": "/opt/x", "env": {"KEY": "s3cret"}}}}'
    path.write_text(before, "utf-8")
    async with asked(environment, "config", "claude", "--write") as person:
        await person.until("another server under the name a2a-gateway")
        await person.until("Replace it? [y/N]")
        person.type(typed)
        assert await person.ended() == (0 if replaced else 1)
        assert "s3cret" not in person.everything
    assert (path.read_text("utf-8") == before) is not replaced
    if replaced:
        entry = json.loads(path.read_text("utf-8"))["mcpServers"]["a2a-gateway"]
        assert entry.keys() == {"type", "command", "args", "env", "alwaysLoad"}
        assert "KEY" not in entry["env"]


async def test_what_somebody_else_wrote_while_the_person_thought_is_not_lost(
    environment: dict[str, str],
) -> None:
    path = settings(environment)
    path.write_text("{}", "utf-8")
    async with asked(environment, "config", "claude", "--write") as person:
        await person.until("Write this? [Y/n]")
        path.write_text('{"meanwhile": 1}', "utf-8")
        person.type(ENTER)
        await person.until("looking again")
        await person.until("Write this? [Y/n]")
        person.type(ENTER)
        assert await person.ended() == 0
    assert json.loads(path.read_text("utf-8"))["meanwhile"] == 1


async def test_a_terminal_is_not_shown_the_token(environment: dict[str, str]) -> None:
    async with asked(environment, "headers") as person:
        await person.until("not to a terminal")
        assert await person.ended() == 1
