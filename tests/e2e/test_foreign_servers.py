"""A server that is not ours, of @a2a-js/sdk with express, as an agent by URL of the gateway."""

import json
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import anyio
import pytest

from gateway.core.messages import user_text
from gateway.core.status import RunStatus
from tests.e2e.node import installed
from tests.gateway.house import House, house, texts

SERVER: Final = Path(__file__).parent / "js" / "server.mjs"
PACKAGES: Final = ("@a2a-js/sdk@1.3.0", "express@5.3.0")


@pytest.fixture(scope="module")
async def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return await installed(tmp_path_factory.mktemp("js-server"), SERVER, *PACKAGES)


@pytest.fixture(scope="module", params=["streaming", "polled"])
async def url(request: pytest.FixtureRequest, script: Path) -> AsyncGenerator[str]:
    """The base URL of a server, with and without streaming; ended by SIGTERM."""
    environment = {"PATH": os.environ["PATH"]}
    if request.param == "polled":
        environment["STREAMING"] = "no"
    async with await anyio.open_process(
        ["node", str(script)], env=environment, stderr=sys.stderr
    ) as process:
        assert process.stdout is not None
        try:
            line = b""
            with anyio.fail_after(30):
                while not line.endswith(b"\n"):
                    line += await process.stdout.receive()
            yield json.loads(line)["url"]
        finally:
            process.terminate()
            with anyio.fail_after(15, shield=True):
                await process.wait()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncGenerator[House]:
    async with house(tmp_path) as gateway:
        yield gateway


async def test_a_javascript_server_runs_to_its_end(gateway: House, url: str) -> None:
    run = await gateway.spawn(await gateway.agent(url), "hello there")
    ended = await gateway.ended(run)
    assert (ended.status, ended.error) == (RunStatus.COMPLETED, None)
    assert ended.result is not None
    assert ended.result.final_response == "echo: hello there"
    assert texts(await gateway.events(run)) == ["echo: hello there"]


async def test_the_chunks_of_a_javascript_server_are_one_artifact(gateway: House, url: str) -> None:
    run = await gateway.spawn(await gateway.agent(url), "stream")
    assert (await gateway.ended(run)).status is RunStatus.COMPLETED
    events = await gateway.events(run)
    artifacts = [data["text"] for type_, data in events if type_ == "artifact_added"]
    assert artifacts == ["chunk 1 chunk 2 chunk 3 "]


async def test_a_question_of_a_javascript_server_is_answered_on_its_task(
    gateway: House, url: str
) -> None:
    run = await gateway.spawn(await gateway.agent(url), "ask")
    asked = await gateway.waiting(run)
    assert [request.text for request in asked.pending] == ["Which colour?"]
    await gateway.say(run, user_text("m-2", "blue"))
    ended = await gateway.ended(run)
    assert ended.status is RunStatus.COMPLETED
    assert ended.result is not None
    assert ended.result.final_response == "answered: blue"


async def test_a_run_at_a_javascript_server_is_cancelled_by_it(gateway: House, url: str) -> None:
    run = await gateway.spawn(await gateway.agent(url), "wait")
    await gateway.seen(run, 3)
    await gateway.tasks.cancel("local", run.id)
    assert (await gateway.ended(run)).status is RunStatus.CANCELLED


async def test_a_failure_of_a_javascript_server_says_why(gateway: House, url: str) -> None:
    run = await gateway.spawn(await gateway.agent(url), "fail")
    ended = await gateway.ended(run)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert "as asked" in ended.error.message
