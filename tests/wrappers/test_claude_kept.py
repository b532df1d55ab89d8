"""Outputs that Claude Code keeps in files: read whole, from nowhere but its own folder."""

import json
import os
import shlex
from pathlib import Path

import pytest

from gateway.core.events import AgentMessage, CommandFinished, Event, RunCompleted, ToolFinished
from tests.wrappers.claude_case import Case, end, lines, only
from tests.wrappers.recorded.claude.scenes import DESK
from wrappers.claude.kept import Kept
from wrappers.claude.options import bundled_cli


def command(path: object) -> CommandFinished:
    return CommandFinished(output="begin", extra={"persisted_output_path": str(path)})


async def whole(folder: Path, event: Event) -> str | None:
    finished = await Kept(folder).whole(event)
    assert isinstance(finished, CommandFinished)
    return finished.output


async def test_a_kept_output_takes_the_place_of_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_bytes(b"begin and end \xff")
    tool = ToolFinished(
        tool="WebFetch",
        extra={"output": "begin", "persisted_output_path": str(tmp_path / "out.txt")},
    )

    assert await whole(tmp_path, command(tmp_path / "out.txt")) == "begin and end \ufffd"
    told = await Kept(tmp_path).whole(tool)
    assert told.extra["output"] == "begin and end \ufffd"


async def test_an_event_that_keeps_nothing_is_left_alone(tmp_path: Path) -> None:
    for event in (AgentMessage(text="x"), CommandFinished(output="x")):
        assert await Kept(tmp_path).whole(event) is event


# What stands beside a result came from the CLI, but the path may be a prompt's idea of one.
@pytest.mark.parametrize("name", ["../secret", "link", "pipe", "folder", "missing", "a\0b"])
async def test_what_is_no_file_of_the_cli_is_not_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "config"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("hush", "utf-8")
    (folder / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe")

    assert await whole(folder, command(folder / name)) == "begin"


# -- with the real Claude Code -----------------------------------------------------------------


async def test_a_command_of_three_megabytes_is_told_whole(claude: Case) -> None:
    steps = await claude.run(lines("@sh yes plums | head -c 3000000", "@say ok"))

    finished = only(steps, CommandFinished)
    assert finished.output is not None
    assert len(finished.output) == 3_000_000
    assert finished.output.endswith("plums\n")
    assert finished.extra["persisted_output_size"] == 3_000_000
    assert end(steps, RunCompleted).final_response == "ok"


async def test_a_long_result_of_an_mcp_tool_is_told_whole(claude: Case, tmp_path: Path) -> None:
    cli = tmp_path / "claude"
    argv = shlex.join([f"--mcp-config={DESK}"])
    cli.write_text(f'#!/bin/sh\nexec {bundled_cli()} "$@" {argv}\n', "utf-8")
    cli.chmod(0o755)
    claude.start_anew(cli=cli)
    said = json.dumps({"text": "plum " * 60_000})
    steps = await claude.run(
        lines(f"@tool mcp__desk__echo {said}", "@say ok"), model="claude-haiku-4-5"
    )

    finished = only(steps, ToolFinished)
    assert finished.extra["output"].count("plum") == 60_000
    assert "raw_tool_use_result" not in finished.extra


async def test_a_sub_agents_long_output_is_told_whole_as_well(claude: Case) -> None:
    steps = await claude.run(lines("@agent @sh seq 20000 ;; @say counted", "@say ok"))

    finished = only(steps, CommandFinished)
    assert (finished.output or "").splitlines() == [str(n) for n in range(1, 20001)]
