"""How runs of Codex end when something fails: the real binary and a scripted model."""

import os
import signal

import anyio
import pytest

from gateway.core.events import (
    AuthRequired,
    CommandFinished,
    CommandStarted,
    RunCompleted,
    RunFailed,
    StatusChanged,
)
from tests.wrappers.codex_bench import (
    PATIENCE_S,
    Bench,
    app_server_of,
    only,
    play,
    turn_of,
    types,
)
from wrappers.adapter import Context, Step
from wrappers.codex.adapter import CodexAdapter


@pytest.mark.parametrize(
    ("script", "reason", "retryable"),
    [
        ("@http 500", "model_error", True),
        ("@http 429", "model_unreachable", True),
        ("@http 400", "agent_error", False),  # Codex itself calls these three "other"
        ("@fail context_length_exceeded too long", "context_window_exceeded", False),
        ("@fail insufficient_quota no money", "usage_limit", False),
        ("@incomplete", "agent_error", False),
        ("@cut", "agent_error", False),
        ("@garbage", "agent_error", False),
    ],
)
async def test_a_failing_model_ends_the_run_with_its_kind_and_the_next_run_works(
    bench: Bench, script: str, reason: str, retryable: bool
) -> None:
    session = await bench.open()
    steps = await play(session, script)
    (end,) = only(RunFailed, steps)
    assert (end.reason, end.extra["retryable"]) == (reason, retryable), end
    assert steps[-1] is end
    assert types(await play(session, "@say fine"))[-1] == "run_completed"


async def test_a_model_that_answers_at_the_second_try_does_not_fail_the_run(bench: Bench) -> None:
    steps = await play(await bench.open(), "@http 500 1\n@say at last")
    (end,) = only(RunCompleted, steps)
    assert end.final_response == "at last"


async def test_a_broken_stream_is_retried_and_said(bench: Bench) -> None:
    steps = await play(await bench.open(), "@cut")
    assert "retrying" in [event.reason for event in only(StatusChanged, steps)]


async def test_nobody_at_the_models_address_fails_within_the_retries(bench: Bench) -> None:
    config = bench.home / "codex" / "config.toml"
    config.write_text(
        config.read_text("utf-8").replace(bench.model.url, "http://127.0.0.1:9/v1"), "utf-8"
    )
    steps = await play(await bench.open(), "@say hello")
    (end,) = only(RunFailed, steps)
    assert (end.reason, end.extra["retryable"]) == ("model_unreachable", True)


async def test_refused_credentials_ask_to_log_in_and_the_run_can_be_tried_again(
    bench: Bench,
) -> None:
    session = await bench.open()
    steps = await play(session, "@http 401 1\n@say welcome")
    end = steps[-1]
    assert isinstance(end, AuthRequired)
    assert "SCRIPTED_MODEL_KEY" in end.text
    again = await play(session, "@http 401 1\n@say welcome")
    assert types(again)[-1] == "run_completed"


async def test_without_a_login_the_model_is_not_even_asked(bench: Bench) -> None:
    bench.configure(requires_openai_auth=True)
    steps = await play(await bench.open(), "@say hello")
    assert types(steps) == ["run_started", "auth_required"]
    assert not bench.model.requests


async def test_an_api_key_in_the_environment_logs_in_and_is_written_nowhere(bench: Bench) -> None:
    bench.configure(requires_openai_auth=True)
    steps = await play(await bench.open(OPENAI_API_KEY="sk-scripted"), "@say hello")
    assert types(steps)[-1] == "run_completed"
    assert bench.model.headers[-1]["authorization"] == "Bearer sk-scripted"
    kept = [
        path for path in (bench.home / "codex").rglob("*.json") if "sk-" in path.read_text("utf-8")
    ]
    assert not kept


async def test_a_process_that_dies_fails_its_run_and_the_next_run_goes_on_in_a_new_one(
    bench: Bench,
) -> None:
    session = await bench.open()
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of("@sh sleep 60\n@say no")):
            steps.append(step)
            if isinstance(step, CommandStarted):
                os.kill(app_server_of(bench), signal.SIGKILL)
    (ended,), (end,) = only(CommandFinished, steps), only(RunFailed, steps)
    assert ended.status == "interrupted"
    assert (end.reason, end.extra["retryable"]) == ("interrupted", True)
    after = await play(session, "@say back again")
    assert types(after)[-1] == "run_completed"
    assert "@sh sleep 60" in bench.said()


async def test_a_binary_that_does_not_start_fails_the_run_and_says_what_to_do(
    bench: Bench,
) -> None:
    adapter = CodexAdapter(binary=bench.home / "absent", env=bench.env, home=bench.home)
    session = await adapter.open(Context(id="c", cwd=bench.work))
    steps = await play(session, "@say hello")
    (end,) = only(RunFailed, steps)
    assert end.reason == "agent_unavailable"
    assert str(bench.home) not in end.message
    await adapter.close()
