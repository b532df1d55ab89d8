"""The real CLIs behind start-a2a-agent, on scripted models: run, cancel, stop, nothing left."""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.models import anthropic_messages, openai_responses
from tests.wrappers.held import PATIENCE_S, holding
from tests.wrappers.launched import Launched, launched, spoken
from wrappers.codex.adapter import find_codex


@dataclass(frozen=True, slots=True)
class Case:
    wrapper: Launched
    work: Path


@pytest.fixture(params=["codex", "claude_code"])
async def case(
    request: pytest.FixtureRequest, tmp_path: Path, environment: dict[str, str]
) -> AsyncGenerator[Case]:
    work = tmp_path / "work"
    work.mkdir()
    if request.param == "codex":
        if find_codex(None, os.defpath) is None:
            pytest.skip("no codex program; the extra `codex` brings one")
        async with openai_responses.running() as model:
            env = environment | openai_responses.codex_home(tmp_path / "codex", model.url)
            async with launched(env, "codex") as wrapper:
                yield Case(wrapper, work)
    else:
        async with anthropic_messages.running() as model:
            env = environment | anthropic_messages.claude_home(tmp_path / "claude", model.url)
            async with launched(env, "claude_code", "--allow-root") as wrapper:
                yield Case(wrapper, work)


async def test_a_message_becomes_the_agents_work_in_its_folder(case: Case) -> None:
    task = await case.wrapper.send("@sh printf here > file\n@say done", case.work)
    assert task["status"]["state"] == "TASK_STATE_COMPLETED", task
    assert (case.work / "file").read_text(encoding="utf-8") == "here"
    types = [event["type"] async for event in case.wrapper.events(task["id"])]
    assert types.count("run_started") == 1
    assert {"command_started", "command_finished"} <= set(types)
    assert types[-1] == "run_completed"


async def test_a_cancel_ends_the_command_and_the_run(case: Case) -> None:
    with holding(case.work) as held:
        task = await case.wrapper.send(f"@sh {held.command}\n@say no", case.work, wait=False)
        await held.taken()
        ended = await case.wrapper.rpc("CancelTask", {"id": task["id"]})
        assert ended["status"]["state"] == "TASK_STATE_CANCELED"
        await held.released()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_end_of_the_wrapper_is_the_end_of_its_agents_command(
    number: signal.Signals, case: Case
) -> None:
    with holding(case.work) as held:
        await case.wrapper.send(f"@sh {held.command}\n@say no", case.work, wait=False)
        await held.taken()
        case.wrapper.process.send_signal(number)
        with anyio.fail_after(PATIENCE_S):
            code = await case.wrapper.process.wait()
        assert code == (0 if number == signal.SIGTERM else -number)
        await held.released()


async def test_an_agent_that_nobody_logged_in_waits_for_it_and_tries_again_on_the_same_run(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    # Codex says so before it starts a turn: the run once failed on its way to auth_required.
    if find_codex(None, os.defpath) is None:
        pytest.skip("no codex program; the extra `codex` brings one")
    work = tmp_path / "work"
    work.mkdir()
    async with launched(environment, "codex") as wrapper:
        task = await wrapper.send("hello", work)
        assert task["status"]["state"] == "TASK_STATE_AUTH_REQUIRED", task
        assert "codex login" in task["status"]["message"]["parts"][0]["text"]
        again = {**spoken("again", work), "taskId": task["id"]}
        answered = (await wrapper.rpc("SendMessage", {"message": again}))["task"]
        assert answered["status"]["state"] == "TASK_STATE_AUTH_REQUIRED"
        types: list[str] = []
        async with aclosing(wrapper.events(task["id"])) as events:
            async for event in events:
                types.append(event["type"])
                if types.count("auth_required") == 2:
                    break
        assert types[0] == "run_started"
        assert types.count("run_started") == 1
