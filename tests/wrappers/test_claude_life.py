"""The life of the real Claude Code: cancel, steer, login, resume, and what it must not do."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import anyio
import pytest

from gateway.core.events import (
    AgentMessage,
    AuthRequired,
    CommandFinished,
    CommandStarted,
    RunCompleted,
    RunFailed,
    RunStarted,
    StatusChanged,
)
from gateway.core.messages import user_text
from gateway.core.status import RunStatus
from tests.wrappers.claude_case import (
    SLEEPER,
    Case,
    Pipe,
    end,
    lines,
    of,
    only,
    turn_of,
    watched_proxy,
)
from tests.wrappers.launched import gone
from wrappers.adapter import AgentSession, Ask, Context, Step, UnsupportedError, Withdraw
from wrappers.claude.options import Installation, session_of
from wrappers.processes import figures

ROOT = Path(__file__).parents[2]


def read(file: Path) -> str:
    return file.read_text("utf-8").strip() if file.exists() else ""


async def test_cancel_in_a_command_ends_the_command_and_keeps_the_session(
    claude: Case, pipe: Pipe
) -> None:
    pids: list[int] = []

    async def cancel(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandStarted):
            pids.extend(await pipe.pids())
            await session.cancel()

    steps = await claude.run(lines(SLEEPER, "@say never"), on_step=cancel)
    await gone(pids[0])
    after = await claude.run("@say still here")

    assert end(steps, StatusChanged).status == RunStatus.CANCELLED
    assert only(steps, CommandFinished).status in ("interrupted", "failed")
    assert end(after, RunCompleted).final_response == "still here"
    assert only(after, RunStarted).extra["warm"] is True


async def test_cancel_with_a_request_open_withdraws_it(claude: Case) -> None:
    async def cancel(step: Step, session: AgentSession) -> None:
        if isinstance(step, Ask):
            await session.cancel()

    steps = await claude.run("@sh touch made", on_step=cancel, permission_mode="ask")

    assert only(steps, Withdraw).request_id == only(steps, Ask).request.request_id
    assert end(steps, StatusChanged).status == RunStatus.CANCELLED
    assert len(claude.model.requests) == 1


async def test_cancel_before_the_process_is_there_ends_the_run(claude: Case) -> None:
    async def cancel(step: Step, session: AgentSession) -> None:
        if isinstance(step, RunStarted):
            await session.cancel()

    steps = await claude.run("@say never", on_step=cancel)

    assert end(steps, StatusChanged).status == RunStatus.CANCELLED
    assert claude.model.requests == []


async def test_closing_the_iterator_early_leaves_no_command(claude: Case, pipe: Pipe) -> None:
    session = await claude.session()
    steps = cast("AsyncGenerator[Step]", session.run(turn_of(SLEEPER)))
    with anyio.fail_after(20):
        async with aclosing(steps):
            async for step in steps:
                if isinstance(step, CommandStarted):
                    break
            pids = await pipe.pids()
        await gone(*pids)


async def test_a_message_to_a_running_turn_is_taken_up(claude: Case) -> None:
    taken: list[bool] = []

    async def steer(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandStarted):
            taken.append(await session.steer(user_text("m-2", "@say Turned left.")))

    session = await claude.session()
    steps = await claude.run(lines("@sh sleep 0.5", "@say straight"), on_step=steer)

    assert taken == [True]
    assert end(steps, RunCompleted).final_response == "Turned left."
    assert await session.steer(user_text("m-3", "anybody there?")) is False


async def test_several_messages_to_a_running_turn_are_all_taken_up(claude: Case) -> None:
    taken: list[bool] = []

    async def steer(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandStarted):
            for number in range(3):
                said = user_text(f"m-{number}", f"word {number}")
                taken.append(await session.steer(said))

    steps = await claude.run(lines("@sh sleep 0.5", "@say straight"), on_step=steer)

    assert taken == [True] * 3
    end(steps, RunCompleted)
    heard = "\n".join(claude.heard() + claude.heard_as_system())
    assert all(f"word {number}" in heard for number in range(3))


async def test_a_message_as_the_turn_ends_is_answered_within_the_run(claude: Case) -> None:
    taken: list[bool] = []

    async def steer(step: Step, session: AgentSession) -> None:
        if isinstance(step, AgentMessage) and not taken:
            taken.append(await session.steer(user_text("m-2", "@say One more.")))

    steps = await claude.run("@say Done.", on_step=steer)

    assert taken == [True]
    assert [step.text for step in of(steps, AgentMessage)] == ["Done.", "One more."]
    assert end(steps, RunCompleted).final_response == "One more."


async def test_a_refused_key_asks_for_a_login_at_once_and_a_retry_works(claude: Case) -> None:
    prompt = lines("@http 401 1", "@say in")
    session = await claude.session()
    await claude.run("@say warm")
    with anyio.fail_after(1):
        refused = await claude.run(prompt, session=session)
    retried = await claude.run(prompt, session=session)

    required = end(refused, AuthRequired)
    assert "claude auth login" in required.text
    assert required.extra["error_status"] == 401
    assert end(retried, RunCompleted).final_response == "in"


async def test_a_forbidden_key_asks_for_a_login_at_once_and_a_retry_works(claude: Case) -> None:
    prompt = lines("@http 403 1", "@say in")
    session = await claude.session()
    refused = await claude.run(prompt, session=session)
    retried = await claude.run(prompt, session=session)

    required = end(refused, AuthRequired)
    assert "claude auth login" in required.text
    assert required.extra["error_status"] == 403
    assert end(retried, RunCompleted).final_response == "in"


async def test_an_account_without_credit_asks_for_a_payment(claude: Case) -> None:
    prompt = "@http 400 1 Your credit balance is too low to access the Anthropic API."
    session = await claude.session()
    refused = await claude.run(lines(prompt, "@say paid"), session=session)
    retried = await claude.run(lines(prompt, "@say paid"), session=session)

    assert "https://console.anthropic.com/settings/billing" in end(refused, AuthRequired).text
    assert end(retried, RunCompleted).final_response == "paid"


async def test_who_logs_in_meanwhile_need_not_restart_the_wrapper(claude: Case) -> None:
    del claude.env["ANTHROPIC_API_KEY"]
    claude.start_anew()
    session, turn = await claude.session(), turn_of("@say in")
    refused = await claude.take(turn, session)
    login = {"accessToken": "sk-ant-oat01-scripted", "refreshToken": "sk-ant-ort01-scripted"}
    claims = {"expiresAt": 4_000_000_000_000, "scopes": ["user:inference"]}
    credentials = Path(claude.env["CLAUDE_CONFIG_DIR"]) / ".credentials.json"
    credentials.write_text(json.dumps({"claudeAiOauth": {**login, **claims}}), "utf-8")
    retried = await claude.take(turn, session)

    assert "claude auth login" in end(refused, AuthRequired).text
    assert end(retried, RunCompleted).final_response == "in"


async def test_the_second_turn_knows_the_first(claude: Case) -> None:
    await claude.run("@say The word is plum.")
    await claude.run("@say again")

    assert "@say The word is plum." in claude.heard()
    assert "The word is plum." in claude.heard()


async def test_a_new_wrapper_resumes_the_session(claude: Case) -> None:
    first = await claude.run("@say The word is plum.")
    await claude.adapter.close()
    claude.start_anew()
    second = await claude.run("@say again")

    assert "The word is plum." in claude.heard()
    one, two = only(first, RunStarted).extra, only(second, RunStarted).extra
    assert one["backend_session_id"] == two["backend_session_id"]
    assert two["warm"] is False
    usage = end(second, RunCompleted).usage
    assert usage is not None
    (model,) = usage["model_usage"].values()
    assert model["inputTokens"] == 100


async def test_another_schema_takes_another_process_and_the_same_session(claude: Case) -> None:
    await claude.run("@say The word is plum.")
    steps = await claude.run('@schema {"a": 1}', output_schema={"type": "object"})

    assert end(steps, RunCompleted).structured_output == {"a": 1}
    assert "The word is plum." in claude.heard()
    assert only(steps, RunStarted).extra["warm"] is False


async def test_contexts_do_not_share_a_conversation(claude: Case) -> None:
    await claude.run("@say The word is plum.")
    await claude.run("@say again", session=await claude.session("c-2"))

    assert "The word is plum." not in claude.heard()


@pytest.mark.parametrize(
    "text",
    [
        "/clear",
        "/compact",
        "/context",
        "!id",
        "@/etc/hostname what is it?",
        "--dangerously-skip-permissions",
        "# remember this",
    ],
)
async def test_a_prompt_is_text_and_nothing_else(claude: Case, text: str) -> None:
    await claude.run("@say The word is plum.")
    steps = await claude.run(text)

    assert only(steps, AgentMessage).text == f"echo: {text}"
    heard = claude.heard()
    assert text in heard
    assert "The word is plum." in heard
    assert not any(read(Path("/etc/hostname")) in said for said in heard[-2:])


async def test_nobody_but_the_model_is_called(claude: Case) -> None:
    async with watched_proxy() as (url, seen):
        proxied = {"HTTPS_PROXY": url, "HTTP_PROXY": url, "NO_PROXY": "127.0.0.1"}
        claude.env.update(proxied)
        claude.start_anew(spare=True)
        steps = await claude.run(lines("@sh true", "@write a.txt a", "@say ok"))
        await claude.spare(1)
        await claude.adapter.inspect()
        await claude.adapter.close()

    assert end(steps, RunCompleted).final_response == "ok"
    assert seen == []


async def test_the_proxy_of_that_test_would_see_a_call(claude: Case) -> None:
    async with watched_proxy() as (url, seen):
        claude.env.update({"HTTPS_PROXY": url, "ANTHROPIC_BASE_URL": "https://model.invalid"})
        claude.start_anew()

        async def cancel(step: Step, session: AgentSession) -> None:
            if isinstance(step, StatusChanged) and step.extra.get("detail") == "api_retry":
                await session.cancel()

        await claude.run("@say ok", on_step=cancel)

    assert {line.split()[1] for line in seen} == {"model.invalid:443"}


async def test_a_repository_cannot_run_hooks_or_servers(claude: Case) -> None:
    folder = claude.cwd / ".claude"
    folder.mkdir()
    hook = {"hooks": [{"type": "command", "command": f"touch {claude.folder}/hooked"}]}
    started = {"matcher": "*", **hook}
    hooks = {"SessionStart": [started], "UserPromptSubmit": [hook], "PreToolUse": [started]}
    (folder / "settings.json").write_text(json.dumps({"hooks": hooks}), "utf-8")
    server = {"command": "touch", "args": [f"{claude.folder}/served"]}
    (claude.cwd / ".mcp.json").write_text(json.dumps({"mcpServers": {"evil": server}}), "utf-8")

    await claude.run(lines("@sh true", "@say ok"))

    assert not (claude.folder / "hooked").exists()
    assert not (claude.folder / "served").exists()


async def test_commands_see_the_built_environment_alone(
    claude: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_TOKEN", "hush")
    steps = await claude.run(lines("@sh env", "@say ok"))

    output = only(steps, CommandFinished).output or ""
    assert "OUR_TOKEN" not in output
    assert claude.env["ANTHROPIC_API_KEY"] not in output
    assert f"HOME={claude.env['HOME']}" in output
    kept = [path for path in (claude.folder / "adapter").rglob("*") if path.is_file()]
    assert not any(claude.env["ANTHROPIC_API_KEY"] in read(path) for path in kept)


async def test_a_profile_is_part_of_the_system_prompt(claude: Case) -> None:
    session = await claude.session("c-3", profile="You count in plums.")
    await claude.run("@say ok", session=session)

    assert "You count in plums." in json.dumps(claude.model.requests[-1]["system"])


async def test_a_killed_cli_fails_the_run_and_the_session_goes_on(claude: Case, pipe: Pipe) -> None:
    await claude.run("@say The word is plum.")

    async def kill(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandStarted):
            _, cli = await pipe.pids()
            os.kill(cli, signal.SIGKILL)

    steps = await claude.run(SLEEPER, on_step=kill)
    after = await claude.run("@say again")

    failed = end(steps, RunFailed)
    assert failed.reason == "interrupted"
    assert "send another message" in failed.message
    assert only(steps, CommandFinished).status == "interrupted"
    assert end(after, RunCompleted).final_response == "again"
    assert "The word is plum." in claude.heard()


async def test_a_killed_wrapper_leaves_no_cli_and_no_command(
    tmp_path: Path, environment: dict[str, str], pipe: Pipe
) -> None:
    argv = [sys.executable, "-m", "tests.wrappers.claude_case", str(tmp_path), SLEEPER, "auto"]
    wrapper = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=environment)
    pids = await pipe.pids()
    for pid in pids:
        os.kill(pid, 0)  # it is there

    wrapper.kill()
    await wrapper.wait()
    await gone(*pids)


async def test_idle_processes_end_and_their_sessions_go_on(claude: Case) -> None:
    claude.start_anew(idle_s=0.05)
    await claude.run(lines("@sh echo $PPID > pid", "@say The word is plum."))
    await gone(int(read(claude.cwd / "pid")))
    await claude.run("@say again")

    assert "The word is plum." in claude.heard()


async def test_only_so_many_processes_stay_warm(claude: Case) -> None:
    claude.start_anew(warm_max=1)
    await claude.run("@sh echo $PPID > pid")
    pid = int(read(claude.cwd / "pid"))
    await claude.run("@say ok", session=await claude.session("c-2"))

    await gone(pid)


async def test_a_missing_program_fails_the_run_with_what_to_do(claude: Case) -> None:
    claude.start_anew(cli=Path("/nowhere/claude"))
    steps = await claude.run("@say never")

    failed = end(steps, RunFailed)
    assert failed.reason == "agent_start_failed"
    assert "claude_bin" in failed.message
    # Where a wrapper keeps its programs is its owner's affair.
    assert "/nowhere" not in failed.message


@pytest.mark.parametrize("program", ["/bin/false", "/bin/true"])
async def test_a_program_that_ends_at_once_fails_the_run(claude: Case, program: str) -> None:
    claude.start_anew(cli=Path(program))
    steps = await claude.run("@say never")

    assert end(steps, RunFailed).reason == "agent_start_failed"


async def test_what_the_cli_says_as_it_ends_is_in_the_failure(claude: Case) -> None:
    program = claude.folder / "claude"
    program.write_text("#!/bin/sh\necho 'error: the moon is full' >&2\nexit 3\n", "utf-8")
    program.chmod(0o700)
    claude.start_anew(cli=program)
    failed = end(await claude.run("@say never"), RunFailed)

    assert failed.reason == "agent_start_failed"
    assert failed.message == "Claude Code exited with status 3: error: the moon is full"


async def test_values_of_a_caller_are_never_flags(claude: Case) -> None:
    profile = "--dangerously-skip-permissions" + " and more" * 20_000  # longer than an argument
    session = await claude.session(profile=profile)
    steps = await claude.run("@say in", session=session, model="--version")

    assert end(steps, RunCompleted).final_response == "in"
    assert claude.model.requests[-1]["model"] == "--version"
    assert profile in claude.model.requests[-1]["system"][-1]["text"]


async def test_a_cli_killed_while_it_asks_fails_the_run_and_the_session_goes_on(
    claude: Case,
) -> None:
    async def kill(step: Step, session: AgentSession) -> None:
        if isinstance(step, Ask):
            below = figures.descendants(os.getpid())
            os.kill(max(below, key=lambda pid: below[pid]), signal.SIGKILL)

    steps = await claude.run("@question Which?|a|b", on_step=kill)
    after = await claude.run("@say again")

    assert end(steps, RunFailed).reason == "interrupted"
    assert end(after, RunCompleted).final_response == "again"
    assert "@question Which?|a|b" in claude.heard()


async def test_a_lost_conversation_begins_anew_and_says_so(claude: Case) -> None:
    await claude.run("@say The word is plum.")
    await claude.adapter.close()
    shutil.rmtree(Path(claude.env["CLAUDE_CONFIG_DIR"]) / "projects")
    claude.start_anew()
    steps = await claude.run("@say again")
    later = await claude.run("@say and again")

    assert [step.reason for step in of(steps, StatusChanged)].count("session_lost") == 1
    assert not any(step.reason == "session_lost" for step in of(later, StatusChanged))
    assert "The word is plum." not in claude.heard()
    usage = end(steps, RunCompleted).usage
    assert usage is not None
    (model,) = usage["model_usage"].values()
    assert model["inputTokens"] == 100


async def test_a_transcript_without_a_turn_is_no_conversation(claude: Case) -> None:
    # A CLI killed in its first moments leaves one, and then refuses to resume it.
    session = session_of(claude.context())
    folder = Path(claude.env["CLAUDE_CONFIG_DIR"]) / "projects" / "somewhere"
    folder.mkdir(parents=True)
    (folder / f"{session}.jsonl").touch()
    steps = await claude.run("@say here")

    assert end(steps, RunCompleted).final_response == "here"
    assert not any(step.reason == "session_lost" for step in of(steps, StatusChanged))


async def test_usage_is_the_run_s_own_after_an_aborted_turn_and_a_restart(claude: Case) -> None:
    async def cancel(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandStarted):
            await session.cancel()

    await claude.run("@say one")
    await claude.run("@sh sleep 600", on_step=cancel)
    warm = end(await claude.run("@say two"), RunCompleted).usage
    await claude.run("@sh sleep 600", on_step=cancel)
    await claude.adapter.close()
    claude.start_anew()
    cold = end(await claude.run("@say three"), RunCompleted).usage

    for usage in (warm, cold):
        assert usage is not None
        (model,) = usage["model_usage"].values()
        assert model["inputTokens"] == 100
        assert usage["total_cost_usd"] == pytest.approx(0.0008)


async def test_model_and_effort_are_the_run_s_own(claude: Case) -> None:
    await claude.run("@say one", model="claude-haiku-4-5")
    first = claude.model.requests[-1]
    await claude.run("@say two", model="claude-opus-5-5", effort="low")
    second = claude.model.requests[-1]

    assert (first["model"], second["model"]) == ("claude-haiku-4-5", "claude-opus-5-5")
    assert second["output_config"]["effort"] == "low"
    assert "one" in claude.heard()


async def test_runs_of_two_contexts_do_not_wait_for_each_other(claude: Case) -> None:
    one, two = await claude.session("c-1"), await claude.session("c-2")
    both = await asyncio.gather(
        claude.run(lines("@sh touch one; while [ ! -e two ]; do sleep 0.05; done"), session=one),
        claude.run(lines("@sh touch two; while [ ! -e one ]; do sleep 0.05; done"), session=two),
    )

    assert all(of(steps, RunCompleted) for steps in both)


def test_skipping_permissions_as_root_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    installation = Installation(cli=Path("claude"), env={}, home=tmp_path, root=True)

    with pytest.raises(UnsupportedError, match=r"--run-as USER.*--allow-root") as refused:
        installation.check(turn_of("x").request)
    assert refused.value.field == "permission_mode"
    installation.check(turn_of("x", permission_mode="ask").request)


def test_the_sandbox_switch_is_set_for_the_child_alone(tmp_path: Path) -> None:
    turn, context = turn_of("x"), Context(id="c", cwd=tmp_path)
    root = Installation(cli=Path("claude"), env={}, home=tmp_path, root=True, allow_root=True)
    user = Installation(cli=Path("claude"), env={}, home=tmp_path, root=False, allow_root=True)

    assert root.start(turn, context).environment["IS_SANDBOX"] == "1"
    assert "IS_SANDBOX" not in user.start(turn, context).environment
    assert os.environ.get("IS_SANDBOX") != "1"


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"sandbox": "read-only"}, "sandbox"),
        ({"effort": "minimal"}, "effort"),
        ({"isolation": "worktree"}, "isolation"),
        ({"output_schema": {"type": "array"}}, "output_schema"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    tmp_path: Path, request_fields: dict[str, object], field: str
) -> None:
    installation = Installation(cli=Path("claude"), env={}, home=tmp_path, root=False)

    with pytest.raises(UnsupportedError) as refused:
        installation.check(turn_of("x", **request_fields).request)
    assert refused.value.field == field
