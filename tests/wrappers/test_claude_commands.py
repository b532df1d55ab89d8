"""Commands of the real Claude Code while they run, and all they print."""

import asyncio
import logging
from pathlib import Path

import anyio
import pytest

from gateway.core.events import CommandFinished, CommandStarted, CommandUpdated, StatusChanged
from gateway.core.status import RunStatus
from tests.wrappers.claude_case import Case, end, lines, of, only
from wrappers.adapter import AgentSession, Step
from wrappers.claude.following import Following


def printed(steps: list[Step]) -> str:
    return "".join(update.output or "" for update in of(steps, CommandUpdated))


async def test_what_a_command_prints_is_told_while_it_runs(claude: Case) -> None:
    """The command waits for a file that is made only once its first words were heard."""

    async def go_on(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandUpdated):
            (claude.cwd / "heard").touch()

    steps = await claude.run(
        lines("@sh echo one ü; until [ -e heard ]; do sleep 0.02; done; echo two", "@say ok"),
        on_step=go_on,
    )

    started = only(steps, CommandStarted)
    first = of(steps, CommandUpdated)[0]
    assert (first.output, first.tool_use_id) == ("one ü\n", started.tool_use_id)
    assert first.extra == {"tool": "Bash"}
    assert only(steps, CommandFinished).output == "one ü\ntwo"
    kinds = [step for step in steps if isinstance(step, CommandUpdated | CommandFinished)]
    assert isinstance(kinds[-1], CommandFinished)


async def test_a_failed_commands_output_is_told_whole(claude: Case) -> None:
    # The CLI tells 10,000 characters of it, the first and the last of the first 30,000: of a
    # failed build neither its errors nor its end.
    steps = await claude.run(lines("@sh seq 30000; sleep 0.3; exit 4", "@say ok"))

    finished = only(steps, CommandFinished)
    assert (finished.status, finished.exit_code) == ("failed", 4)
    assert (finished.output or "").split() == [str(n) for n in range(1, 30001)]


async def test_a_command_out_of_time_says_so_above_its_output(claude: Case) -> None:
    tool = '@tool Bash {"command": "seq 30000; sleep 600", "timeout": 600}'
    steps = await claude.run(lines(tool, "@say ok"))

    first, *rest = (only(steps, CommandFinished).output or "").splitlines()
    assert first.startswith("Command timed out")
    assert rest[-1] == "30000"


async def test_a_cancelled_command_keeps_what_it_had_printed(claude: Case) -> None:
    async def cancel(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandUpdated):
            await session.cancel()

    steps = await claude.run(lines("@sh echo begun; exec sleep 600", "@say no"), on_step=cancel)

    finished = only(steps, CommandFinished)
    assert (finished.status, finished.output) == ("interrupted", "begun\n")
    assert end(steps, StatusChanged).status == RunStatus.CANCELLED


async def test_a_sub_agents_command_is_followed_as_its_own(claude: Case) -> None:
    steps = await claude.run(lines("@agent @sh echo in; sleep 0.5 ;; @say report", "@say ok"))

    started = only(steps, CommandStarted)
    assert printed(steps) == "in\n"
    for update in of(steps, CommandUpdated):
        assert update.extra["parent_tool_use_id"] == started.extra["parent_tool_use_id"]


async def test_a_long_printer_is_told_of_in_part_while_it_runs_and_whole_at_its_end(
    claude: Case,
) -> None:
    steps = await claude.run(lines("@sh yes plums | head -c 3000000; sleep 0.5", "@say ok"))

    assert 0 < len(printed(steps)) <= 1024 * 1024
    assert len(only(steps, CommandFinished).output or "") == 3_000_000


async def test_commands_of_one_session_are_not_mixed_up(claude: Case) -> None:
    script = lines("@sh echo a; sleep 0.4; exit 3", "@sh echo b; sleep 0.4; exit 3", "@say ok")
    for _ in range(2):
        steps = await claude.run(script)
        updates = {update.tool_use_id: update.output for update in of(steps, CommandUpdated)}
        assert list(updates.values()) == ["a\n", "b\n"]
        assert [finished.output for finished in of(steps, CommandFinished)] == ["a", "b"]


async def test_a_file_that_cannot_be_opened_ends_no_following(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # One that was gone between the look and the opening left the rest of a run's commands silent.
    folder = tmp_path / "claude-0" / "-work" / "s-1" / "tasks"
    folder.mkdir(parents=True)
    (folder / "b1.output").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("hush", "utf-8")
    tried, heard = anyio.Event(), anyio.Event()
    loop = asyncio.get_running_loop()
    told: list[CommandUpdated] = []

    class Tried(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            loop.call_soon_threadsafe(tried.set)

    def say(update: CommandUpdated) -> None:
        told.append(update)
        heard.set()

    log, handler = logging.getLogger("wrappers.claude.following"), Tried()
    caplog.set_level(logging.DEBUG, log.name)
    log.addHandler(handler)
    following = Following("s-1", {"CLAUDE_CODE_TMPDIR": str(tmp_path)}, say)
    try:
        following.began(CommandStarted(command="one", tool_use_id="t-1"))
        with anyio.fail_after(10):
            await tried.wait()
            (folder / "b2.output").write_text("one", "utf-8")
            await heard.wait()
    finally:
        log.removeHandler(handler)
        await following.close()

    assert [(update.tool_use_id, update.output) for update in told] == [("t-1", "one")]


async def test_what_the_cli_leaves_of_commands_is_cleared_by_the_next_wrapper(claude: Case) -> None:
    scratch = claude.folder / "adapter" / "tmp"
    await claude.run("@sh echo hello")
    assert list(scratch.iterdir())
    claude.start_anew()
    assert not scratch.exists()
