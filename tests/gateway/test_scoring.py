"""`doctor --agent`: our own servers get full marks, the SDK's its due, and liars a reason each."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.agents.logins import bearer
from gateway.core import json
from gateway.scoring import examiner, stopping
from gateway.scoring.exam import Words
from gateway.scoring.findings import Finding, Score
from tests.gateway.foreigners import Answer, Executor, card_of, liar, sdk_agent
from tests.gateway.house import house
from tests.gateway.script import Json, Script, playing
from tests.gateway.test_bad_agents import free_port

WORDS = Words(prompt="hello", busy="wait", ask="ask me", cwd="/")
QUICK_S = 3.0


def verdicts(score: Score) -> dict[str, str]:
    return {one.check: one.verdict for one in score.findings}


def finding(score: Score, check: str) -> Finding:
    return next(one for one in score.findings if one.check == check)


async def test_our_own_wrapper_gets_full_marks(tmp_path: Path, environment: dict[str, str]) -> None:
    words = Words(prompt="say pong", busy="hang", ask="ask Which? [red|blue]", cwd=str(tmp_path))
    heard: list[Finding] = []
    async with house(tmp_path / "home", environment, local=("scripted",)) as gateway:
        running = await gateway.launcher.ensure("scripted")
        headers = bearer(running.token)
        score = await examiner.examine(
            running.base_url, headers=headers, words=words, found=heard.append
        )
        assert {one.check: one.reason for one in score.findings if one.verdict != "pass"} == {}
        assert (score.points, score.agent) == (100, "Scripted agent")
        assert tuple(heard) == score.findings, "told one by one"
        tasks = await gateway.registry.endpoint("scripted")
        page = await tasks.call("ListTasks", {"pageSize": 50})
    states = {one["status"]["state"] for one in page["tasks"]}
    assert states <= {"TASK_STATE_COMPLETED", "TASK_STATE_CANCELED"}, "none is left running"


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "polled"])
async def test_an_agent_of_the_sdk_gets_its_due(streaming: bool) -> None:
    async with sdk_agent(Executor(), streaming=streaming) as agent:
        score = await examiner.examine(agent.base_url, words=WORDS)
    seen = verdicts(score)
    assert [check for check, verdict in seen.items() if verdict == "fail"] == []
    assert seen["input_required"] == seen["cancel"] == seen["list_tasks"] == "pass"
    assert seen["streaming"] == ("pass" if streaming else "skipped")
    assert seen["replay"] == seen["login_missing"] == "skipped"


async def test_without_its_token_an_agent_is_not_judged_by_its_work(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with house(tmp_path / "home", environment, local=("scripted",)) as gateway:
        running = await gateway.launcher.ensure("scripted")
        score = await examiner.examine(running.base_url, words=WORDS)
    assert finding(score, "login_missing").verdict == "pass"
    assert "--token" in finding(score, "login").todo
    assert verdicts(score)["streaming"] == "skipped"


async def test_nobody_there_is_one_finding_and_the_rest_is_skipped() -> None:
    score = await examiner.examine(f"http://127.0.0.1:{free_port()}")
    assert (score.points, score.count("fail"), score.count("pass")) == (0, 1, 0)
    assert "no connection" in finding(score, "card").reason


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://", "http://u:p@127.0.0.1"])
async def test_what_is_no_url_is_said_so(url: str) -> None:
    score = await examiner.examine(url)
    assert [one.check for one in score.findings] == ["card"]
    assert score.points == 0


async def _html(_: Request) -> Response:
    return Response("<html>", media_type="text/html")


async def _broken(_: Request) -> Response:
    return Response("no", status_code=500)


async def _away(_: Request) -> Response:
    return RedirectResponse("http://127.0.0.2:1/rpc", status_code=307)


async def _another_id(_: Request) -> Response:
    body = json.encode({"jsonrpc": "2.0", "id": "not yours", "result": {}})
    return Response(body, media_type="application/json")


@pytest.mark.parametrize("rpc", [_html, _broken, _away, _another_id])
async def test_liars_are_scored_low_with_a_reason_for_each(rpc: Answer) -> None:
    async with liar(rpc) as agent:
        score = await examiner.examine(agent.base_url, words=WORDS, patience_s=QUICK_S)
    assert score.points <= 10
    for one in score.findings:
        assert one.reason
        assert one.todo or one.verdict != "fail"
        assert "Traceback" not in one.reason
        assert "\n" not in one.reason


@pytest.mark.parametrize(
    "card",
    [b"<html>", b"[]", b"{", b'{"name": "x"}', b'{"supportedInterfaces": "none"}', b"\xff\xfe"],
)
async def test_a_card_that_is_none_ends_the_examination(card: bytes) -> None:
    async with liar(_html, lambda _: Response(card)) as agent:
        score = await examiner.examine(agent.base_url)
    assert (score.count("fail"), score.count("pass")) == (1, 0)


async def test_a_card_that_sends_callers_away_is_said_to() -> None:
    async with liar(_html, lambda _: card_of("http://elsewhere.invalid")) as agent:
        score = await examiner.examine(agent.base_url)
    assert "elsewhere.invalid" in finding(score, "card").reason


WORKING: Json = {"id": "t-1", "contextId": "c-1", "status": {"state": "TASK_STATE_WORKING"}}


async def test_a_task_that_will_not_stop_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "STOP_S", 0.2)
    parts: dict[str, Any] = {
        method: {"task": WORKING} if method.startswith("Send") else WORKING
        for method in ("SendMessage", "GetTask", "CancelTask")
    }
    async with playing(Script(parts), streaming=False) as agent:
        score = await examiner.examine(agent.base_url, words=WORDS, patience_s=QUICK_S)
    assert finding(score, "cancel").verdict == "fail"
    left = finding(score, "left_running")
    assert (left.verdict, "t-1" in left.reason) == ("fail", True)


async def test_an_endless_stream_takes_no_longer_than_its_patience() -> None:
    async def forever(_: Json) -> AsyncGenerator[Json, None]:
        yield {"task": WORKING}
        await anyio.sleep_forever()

    parts: dict[str, Any] = {
        "SendStreamingMessage": forever,
        "CancelTask": {**WORKING, "status": {"state": "TASK_STATE_CANCELED"}},
    }
    async with playing(Script(parts)) as agent:
        with anyio.fail_after(30):
            score = await examiner.examine(agent.base_url, words=WORDS, patience_s=0.5)
    assert finding(score, "streaming").reason == "no end within 0.5 s"
    assert "left_running" not in verdicts(score), "it was cancelled"


async def test_a_stream_of_several_tasks_is_no_stream() -> None:
    other = {"statusUpdate": {"taskId": "t-2", "status": {"state": "TASK_STATE_COMPLETED"}}}
    async with playing(Script({"SendStreamingMessage": [{"task": WORKING}, other]})) as agent:
        score = await examiner.examine(agent.base_url, words=WORDS, patience_s=QUICK_S)
    assert finding(score, "streaming").reason == "items of another task came"


async def test_the_command_prints_a_line_a_check_and_exits_by_the_score(tmp_path: Path) -> None:
    async def command(*arguments: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "gateway.cli",
            "doctor",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        with anyio.fail_after(60):
            out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    said = ("--prompt", "hello", "--busy", "wait", "--ask", "ask me")
    async with sdk_agent(Executor()) as agent:
        code, out, _ = await command("--agent", agent.base_url, *said)
        assert (code, out.splitlines()[-1].split(":")[0]) == (0, "100/100")
        assert "pass    streaming" in out
        code, out, _ = await command("--agent", agent.base_url, "--json", *said)
    found = json.decode_object(out)
    assert (code, found["score"], found["agent"], found["failed"]) == (0, 100, "SDK agent", 0)
    code, out, _ = await command("--agent", f"http://127.0.0.1:{free_port()}")
    assert (code, out.splitlines()[-1].split(":")[0]) == (1, "0/100")
    code, _, err = await command("--agent", "http://127.0.0.1:1", "--token", "secret-itself")
    assert (code, "env:NAME" in err, "secret-itself" in err) == (2, True, False)
    missing = f"file:{tmp_path / 'none'}"
    code, _, err = await command("--agent", "http://127.0.0.1:1", "--token", missing)
    assert (code, "cannot be read" in err) == (2, True)
