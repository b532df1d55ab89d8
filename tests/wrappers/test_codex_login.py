"""Codex without credentials, or with ones that its model refuses: the real binary."""

import json

import anyio
import pytest

from gateway.core.events import AuthRequired, CommandFinished, RunCompleted
from gateway.core.extension import Answer
from tests.models.openai_responses import KEY_NAME
from tests.wrappers.codex_bench import PATIENCE_S, Bench, only, play, turn_of, types
from wrappers.adapter import Ask, Bound, Context, Step


def as_shipped(bench: Bench) -> None:
    """Codex's own number of retries: refused credentials cost 6 s of them."""
    config = bench.home / "codex" / "config.toml"
    text = config.read_text("utf-8").replace("request_max_retries = 1\n", "")
    config.write_text(text.replace("stream_max_retries = 1\n", ""), "utf-8")


def log_in(bench: Bench, key: str) -> None:
    """What `codex login --with-api-key` writes."""
    (bench.home / "codex" / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": key}), "utf-8")


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_are_refused_once(bench: Bench, status: int) -> None:
    as_shipped(bench)
    session = await bench.open()
    steps = await play(session, f"@http {status} 1\n@say welcome")
    assert types(steps) == ["run_started", "auth_required"]
    assert len(bench.model.requests) == 1
    (asked,) = only(AuthRequired, steps)
    assert f"HTTP {status}" in asked.text
    assert KEY_NAME in asked.text
    again = await play(session, f"@http {status} 1\n@say welcome")
    assert types(again)[-1] == "run_completed"
    assert only(Bound, again)[0] == only(Bound, steps)[0]


async def test_a_missing_key_of_the_models_provider_is_named(bench: Bench) -> None:
    del bench.env[KEY_NAME]
    steps = await play(await bench.open(), "@say hello")
    assert types(steps) == ["run_started", "auth_required"]
    assert KEY_NAME in only(AuthRequired, steps)[0].text
    assert not bench.model.requests


async def test_a_refused_login_names_the_command_and_a_new_one_is_read(bench: Bench) -> None:
    as_shipped(bench)
    bench.configure(requires_openai_auth=True)
    log_in(bench, "sk-old")
    session = await bench.open()
    steps = await play(session, "@http 401 1\n@say welcome")
    assert "`codex login`" in only(AuthRequired, steps)[0].text
    log_in(bench, "sk-new")
    again = await play(session, "@http 401 1\n@say welcome")
    assert types(again)[-1] == "run_completed"
    keys = [headers["authorization"] for headers in bench.model.headers]
    assert keys == ["Bearer sk-old", "Bearer sk-new"]


async def test_without_a_login_one_that_is_made_later_is_read(bench: Bench) -> None:
    bench.configure(requires_openai_auth=True)
    session = await bench.open()
    steps = await play(session, "@say hello")
    assert types(steps) == ["run_started", "auth_required"]
    assert "`codex login`" in only(AuthRequired, steps)[0].text
    assert not bench.model.requests
    log_in(bench, "sk-new")
    assert types(await play(session, "@say hello"))[-1] == "run_completed"


async def test_credentials_that_expire_on_the_way_leave_no_command_and_keep_the_count(
    bench: Bench,
) -> None:
    as_shipped(bench)
    session = await bench.open()
    script = "@background 300 sleep 600\n@http 401 1\n@say welcome"
    steps = await play(session, script)
    assert types(steps)[-1] == "auth_required"
    (ended,) = only(CommandFinished, steps)
    assert ended.status == "interrupted"
    (end,) = only(RunCompleted, await play(session, "@say welcome"))
    assert end.usage is not None
    assert end.usage["total_tokens"] == 2 * 1050


async def test_a_run_that_waits_keeps_its_process_while_others_get_the_new_login(
    bench: Bench,
) -> None:
    as_shipped(bench)
    bench.configure(requires_openai_auth=True)
    log_in(bench, "sk-old")
    adapter = bench.adapter()
    waiting = await adapter.open(Context(id="c-2", cwd=bench.work))
    asked, asks, steps = anyio.Event(), list[Ask](), list[Step]()
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                turn = turn_of("@sh touch made\n@say done", permission_mode="ask")
                async for step in waiting.run(turn):
                    steps.append(step)
                    if isinstance(step, Ask):
                        asks.append(step)
                        asked.set()

            group.start_soon(wait)
            await asked.wait()
            session = await bench.open()
            await play(session, "@http 401 1\n@say welcome")
            assert adapter.status()["app_servers"] == 1
            log_in(bench, "sk-new")
            again = await play(session, "@http 401 1\n@say welcome")
            assert types(again)[-1] == "run_completed"
            assert bench.model.headers[-1]["authorization"] == "Bearer sk-new"
            assert adapter.status()["app_servers"] == 2
            await waiting.answer(Answer(request_id=asks[0].request.request_id, option="allow"))
    assert types(steps)[-1] == "run_completed"
    assert adapter.status()["app_servers"] == 1  # the old one has nothing left to do
    assert types(await play(waiting, "@say in the new process"))[-1] == "run_completed"
    assert bench.model.headers[-1]["authorization"] == "Bearer sk-new"
