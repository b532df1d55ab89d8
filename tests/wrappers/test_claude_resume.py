"""The real Claude Code goes on after its wrapper, and it, were killed while something was asked."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.core.events import CommandFinished, RunCompleted, RunFailed, RunStarted, StatusChanged
from gateway.core.extension import ALLOW, ALLOW_SESSION, DENY, Answer, PendingRequest
from tests.wrappers.claude_case import (
    claude_case,
    end,
    killed_while_asking,
    lines,
    of,
    only,
)
from wrappers.adapter import Answered, Ask

# A resumed Claude Code closes the turn that was cut off with "No response requested.", which the
# scripted model takes for its own step: this one.
SKIPPED = "@sh false"


def answered(request: PendingRequest, option: str | None = None, **more: Any) -> Answered:
    answer = Answer(request_id=request.request_id, option=option, **more)
    return Answered(request=request, answer=answer)


def deny(request: PendingRequest) -> Answer:
    return Answer(request_id=request.request_id, option=DENY)


def allow(request: PendingRequest) -> Answer:
    return Answer(request_id=request.request_id, option=ALLOW)


async def test_an_allowed_command_is_run_without_asking_again(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    script = lines("@sh touch made", SKIPPED, "@sh touch made", "@say ok")
    (request,) = await killed_while_asking(tmp_path, environment, script, "ask")
    async with claude_case(tmp_path) as claude:
        steps = await claude.resume([answered(request, ALLOW)], permission_mode="ask")

        assert not of(steps, Ask)
        assert end(steps, RunCompleted).final_response == "ok"
        assert (claude.cwd / "made").exists()
        assert any("It is granted: use it now" in text for text in claude.heard())
        assert "backend_session_id" in only(steps, RunStarted).extra


async def test_an_allowed_file_is_written_once_and_the_next_one_is_asked_for(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    script = lines(
        "@write a.txt a", SKIPPED, "@write a.txt a", "@sh rm a.txt", "@write a.txt a", "@say ok"
    )
    (request,) = await killed_while_asking(tmp_path, environment, script, "ask")
    async with claude_case(tmp_path) as claude:
        steps = await claude.resume([answered(request, ALLOW)], permission_mode="ask", reply=allow)

        asked = [ask.request for ask in of(steps, Ask)]
        assert [ask.tool for ask in asked] == ["Bash", "Write"]
        assert asked[1].input == request.input
        assert asked[1].request_id != request.request_id
        assert (claude.cwd / "a.txt").exists()


async def test_allowing_for_the_session_holds_after_a_restart(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    script = lines("@sh touch made", SKIPPED, "@sh touch made", "@sh touch made", "@say ok")
    (request,) = await killed_while_asking(tmp_path, environment, script, "ask")
    async with claude_case(tmp_path) as claude:
        steps = await claude.resume([answered(request, ALLOW_SESSION)], permission_mode="ask")

        assert not of(steps, Ask)
        assert end(steps, RunCompleted).final_response == "ok"
        assert not (claude.cwd / ".claude").exists()


async def test_another_command_is_asked_for_under_an_id_of_its_own(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    script = lines("@sh touch made", SKIPPED, "@sh touch other", "@say ok")
    (request,) = await killed_while_asking(tmp_path, environment, script, "ask")
    async with claude_case(tmp_path) as claude:
        steps = await claude.resume([answered(request, ALLOW)], permission_mode="ask", reply=deny)

        asked = only(steps, Ask).request
        assert asked.request_id != request.request_id
        assert only(steps, CommandFinished).status == "declined"
        assert not (claude.cwd / "made").exists()


async def test_a_denial_reaches_the_agent_with_its_reason(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (request,) = await killed_while_asking(
        tmp_path, environment, lines("@sh touch made", SKIPPED, "@say as you wish"), "ask"
    )
    async with claude_case(tmp_path) as claude:
        steps = await claude.resume(
            [answered(request, DENY, message="not in this folder")], permission_mode="ask"
        )

        assert end(steps, RunCompleted).final_response == "as you wish"
        assert any("not in this folder" in text for text in claude.heard())
        assert not (claude.cwd / "made").exists()


async def test_the_answer_to_a_question_reaches_the_agent(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    script = lines("@question Which database?|SQLite|Postgres", SKIPPED, "@say thanks")
    (request,) = await killed_while_asking(tmp_path, environment, script, "auto")
    async with claude_case(tmp_path) as claude:
        steps = await claude.resume([answered(request, answers={"q1": "Postgres"})])

        assert end(steps, RunCompleted).final_response == "thanks"
        assert any("Which database?" in text and "Postgres" in text for text in claude.heard())


@pytest.mark.parametrize(
    ("option", "mode", "asks", "does"),
    [
        (ALLOW, "default", True, False),
        (ALLOW_SESSION, "bypassPermissions", False, True),
        (DENY, "plan", None, False),  # a command in plan mode is declined, or asked for: both occur
    ],
)
async def test_a_plan_is_worked_on_as_its_answer_says(
    tmp_path: Path,
    environment: dict[str, str],
    option: str,
    mode: str,
    asks: bool | None,
    does: bool,
) -> None:
    script = lines("@plan 1. touch it", SKIPPED, "@sh touch made", "@say ok")
    (request,) = await killed_while_asking(tmp_path, environment, script, "plan")
    async with claude_case(tmp_path) as claude:
        steps = await claude.resume([answered(request, option)], permission_mode="plan", reply=deny)

        assert request.kind == "plan"
        modes = [step.extra.get("permission_mode") for step in of(steps, StatusChanged)]
        assert modes[0] == mode
        assert asks is None or bool(of(steps, Ask)) == asks
        assert (claude.cwd / "made").exists() == does


async def test_two_requests_of_sub_agents_are_both_answered(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    script = lines(
        "@agent @sh touch one",
        "&@agent @sh touch two",
        SKIPPED,
        "@sh touch one",
        "@sh touch two",
        "@say ok",
    )
    requests = await killed_while_asking(tmp_path, environment, script, "ask", asks=2)
    async with claude_case(tmp_path) as claude:
        steps = await claude.resume(
            [answered(request, ALLOW) for request in requests], permission_mode="ask", reply=deny
        )

        assert not of(steps, Ask)
        assert end(steps, RunCompleted).final_response == "ok"
        assert (claude.cwd / "one").exists()
        assert (claude.cwd / "two").exists()


async def test_a_lost_session_fails_the_run_and_begins_no_other(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (request,) = await killed_while_asking(tmp_path, environment, "@sh touch made", "ask")
    shutil.rmtree(tmp_path / "home" / "claude" / "projects")
    async with claude_case(tmp_path) as claude:
        steps = await claude.resume([answered(request, ALLOW)], permission_mode="ask")

        failed = end(steps, RunFailed)
        assert failed.reason == "interrupted"
        assert "no longer has this conversation" in failed.message
        assert claude.model.requests == []
