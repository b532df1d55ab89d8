"""The real Claude Code is stopped for real, whatever it is doing: nothing of it is left running."""

import asyncio
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.events import CommandStarted, RunCompleted, RunFailed, RunStarted, StatusChanged
from gateway.core.status import RunStatus
from tests.wrappers.claude_case import SLEEPER, Case, Pipe, end, lines, of
from tests.wrappers.launched import gone
from wrappers.adapter import AgentSession, Ask, Step, Withdraw

STUBBORN = "@sh trap '' INT TERM HUP; echo $$ > pids; while :; do sleep 1; done"
DAEMON = (
    "@sh setsid sh -c \"trap '' INT TERM HUP; echo \\$\\$ > pids; exec sleep 600\" "
    "</dev/null >/dev/null 2>&1 & exec sleep 600"
)


@pytest.mark.parametrize("script", [STUBBORN, DAEMON])
async def test_commands_that_ignore_signals_or_leave_their_session_are_gone(
    claude: Case, pipe: Pipe, script: str
) -> None:
    pids: list[int] = []
    await claude.run("@say The word is plum.")

    async def cancel(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandStarted):
            pids.extend(await pipe.pids())
            await session.cancel()

    steps = await claude.run(lines(script, "@say never"), on_step=cancel)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    await claude.run("@say again")

    assert end(steps, StatusChanged).status == RunStatus.CANCELLED
    assert "The word is plum." in claude.heard()


async def test_the_commands_of_sub_agents_are_gone(claude: Case, tmp_path: Path) -> None:
    work = tmp_path / "work"
    pids: list[int] = []
    with closing(Pipe(work, "one")) as one, closing(Pipe(work, "two")) as two:
        first, second = (f"@sh echo $$ > {name}; exec sleep 600" for name in ("one", "two"))

        async def cancel(step: Step, session: AgentSession) -> None:
            if isinstance(step, CommandStarted) and not pids:
                pids.extend([*await one.pids(), *await two.pids()])
                await session.cancel()

        steps = await claude.run(lines(f"@agent {first}", f"&@agent {second}"), on_step=cancel)
        await gone(*pids)

    assert len(pids) == 2
    assert end(steps, StatusChanged).status == RunStatus.CANCELLED


async def test_a_frozen_cli_is_killed_and_its_session_goes_on(claude: Case, pipe: Pipe) -> None:
    # The SDK waits 5 s for an interrupt and 5 s for an end, then says that it is cancelled.
    pids: list[int] = []
    await claude.run("@say The word is plum.")

    async def cancel(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandStarted):
            pids.extend(await pipe.pids())
            os.kill(pids[1], signal.SIGSTOP)
            await session.cancel()

    steps = await claude.run(SLEEPER, on_step=cancel)
    await gone(*pids)
    await claude.run("@say again")

    assert end(steps, StatusChanged).status == RunStatus.CANCELLED
    assert "The word is plum." in claude.heard()


async def test_a_cli_that_never_starts_up_can_be_cancelled(claude: Case, pipe: Pipe) -> None:
    mute = claude.folder / "mute"
    mute.write_text("#!/bin/sh\necho $$ > pids\nexec sleep 600\n", "utf-8")
    mute.chmod(0o700)
    claude.start_anew(cli=mute)
    session = await claude.session()
    pids: list[int] = []

    async def cancel() -> None:
        pids.extend(await pipe.pids())
        await session.cancel()

    cancelling = asyncio.create_task(cancel())
    steps = await claude.run("@say never", session=session)
    await cancelling
    await gone(*pids)

    assert end(steps, StatusChanged).status == RunStatus.CANCELLED


async def test_a_model_that_keeps_speaking_is_cut_off(claude: Case) -> None:
    async def cancel(step: Step, session: AgentSession) -> None:
        if isinstance(step, StatusChanged):
            await session.cancel()

    steps = await claude.run("@stream 1000 0.05 word ", on_step=cancel)
    after = await claude.run("@say here")

    assert end(steps, StatusChanged).status == RunStatus.CANCELLED
    assert end(after, RunCompleted).final_response == "here"


async def test_all_requests_of_a_cancelled_run_are_withdrawn(claude: Case) -> None:
    asked: list[str] = []

    async def cancel(step: Step, session: AgentSession) -> None:
        if isinstance(step, Ask):
            asked.append(step.request.request_id)
            if len(asked) == 2:
                await session.cancel()

    steps = await claude.run(
        lines("@agent @sh touch one", "&@agent @sh touch two"),
        on_step=cancel,
        permission_mode="ask",
    )

    assert {step.request_id for step in of(steps, Withdraw)} == set(asked)
    assert end(steps, StatusChanged).status == RunStatus.CANCELLED


async def test_closing_a_busy_session_ends_its_command_and_run(claude: Case, pipe: Pipe) -> None:
    pids: list[int] = []

    async def close(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandStarted):
            pids.extend(await pipe.pids())
            await session.close()

    steps = await claude.run(STUBBORN, on_step=close)
    await gone(*pids)

    assert of(steps, RunStarted)
    assert end(steps, RunFailed).reason == "interrupted"
