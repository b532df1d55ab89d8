"""Servers that are not ours, as agents by URL of the gateway: npm's SDK (1.x and 0.3) with express,
and the Python SDK's DefaultRequestHandler, over JSON-RPC and HTTP+JSON, streaming and polled."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import httpx
import pytest

from gateway.core.messages import user_text
from gateway.core.status import RunStatus
from gateway.link import client
from tests.e2e.node import installed, program
from tests.gateway.cable import Cable
from tests.gateway.house import House, house, texts

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
EXPRESS: Final = "express@5.3.0"
JS: Final = ("server.mjs", "@a2a-js/sdk@1.3.0")
JS_OLD: Final = ("old_server.mjs", "@a2a-js/sdk@0.3.13")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A peer: a script and its npm package, or none for the Python SDK; its card's one interface."""

    script: tuple[str, str] | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])


def kind(script: tuple[str, str] | None, binding: str, **more: str) -> Kind:
    return Kind(script=script, environment={"INTERFACES": binding, **more})


KINDS: Final = {
    "npm, JSON-RPC": kind(JS, "JSONRPC"),
    "npm, JSON-RPC polled": kind(JS, "JSONRPC", STREAMING="no"),
    "npm, HTTP+JSON": kind(JS, "HTTP+JSON"),
    "npm, HTTP+JSON polled": kind(JS, "HTTP+JSON", STREAMING="no"),
    "npm 0.3, JSON-RPC": kind(JS_OLD, "JSONRPC"),
    "npm 0.3, JSON-RPC polled": kind(JS_OLD, "JSONRPC", STREAMING="no"),
    "npm 0.3, HTTP+JSON": kind(JS_OLD, "HTTP+JSON"),
    "Python, JSON-RPC": kind(None, "JSONRPC"),
    "Python, HTTP+JSON": kind(None, "HTTP+JSON"),
    "Python as 0.3, JSON-RPC": kind(None, "JSONRPC", VERSION="0.3"),
    "Python as 0.3, HTTP+JSON": kind(None, "HTTP+JSON", VERSION="0.3"),
}
STREAMED: Final = [name for name in KINDS if "polled" not in name]


class Counting(Cable):
    """A cable that tells when something was connected through it a number of times."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0)
        self._more = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await super().serve(reader, writer)
        async with self._more:
            self._more.notify_all()

    async def used(self, times: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: self.connections >= times)


@asynccontextmanager
async def peer(kind: Kind, script: Path | None, **more: str) -> AsyncGenerator[str]:
    """The base URL of a peer's process; ended by SIGTERM."""
    environment = {"PATH": os.environ["PATH"], **kind.environment, **more}
    command = [sys.executable, "-m", "tests.e2e.sdk_server"]
    command = [program(), str(script)] if script is not None else command
    async with await anyio.open_process(
        command, env=environment, stderr=sys.stderr, cwd=ROOT
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


@pytest.fixture(scope="module")
async def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """The JavaScript peers, installed: one folder for each version of the package."""
    found: dict[tuple[str, str], Path] = {}
    for key in (JS, JS_OLD):
        folder = tmp_path_factory.mktemp("js-server")
        found[key] = await installed(folder, HERE / "js" / key[0], key[1], EXPRESS)
    return found


@pytest.fixture(scope="module", params=list(KINDS))
async def url(
    request: pytest.FixtureRequest, scripts: dict[tuple[str, str], Path]
) -> AsyncGenerator[str]:
    made = KINDS[request.param]
    async with peer(made, scripts[made.script] if made.script else None) as url:
        yield url


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncGenerator[House]:
    async with house(tmp_path) as gateway:
        yield gateway


async def test_a_foreign_server_runs_to_its_end(gateway: House, url: str) -> None:
    run = await gateway.spawn(await gateway.agent(url), "hello there")
    ended = await gateway.ended(run)
    assert (ended.status, ended.error) == (RunStatus.COMPLETED, None)
    assert ended.result is not None
    assert ended.result.final_response == "echo: hello there"
    assert texts(await gateway.events(run)) == ["echo: hello there"]


async def test_the_chunks_of_a_foreign_server_are_one_artifact(gateway: House, url: str) -> None:
    run = await gateway.spawn(await gateway.agent(url), "stream")
    assert (await gateway.ended(run)).status is RunStatus.COMPLETED
    events = await gateway.events(run)
    artifacts = [data["text"] for type_, data in events if type_ == "artifact_added"]
    assert artifacts == ["chunk 1 chunk 2 chunk 3 "]


async def test_a_question_of_a_foreign_server_is_answered_on_its_task(
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


async def test_a_run_at_a_foreign_server_is_cancelled_by_it(gateway: House, url: str) -> None:
    run = await gateway.spawn(await gateway.agent(url), "wait")
    await gateway.seen(run, 3)
    await gateway.tasks.cancel("local", run.id)
    assert (await gateway.ended(run)).status is RunStatus.CANCELLED


async def test_a_failure_of_a_foreign_server_says_why(gateway: House, url: str) -> None:
    run = await gateway.spawn(await gateway.agent(url), "fail")
    ended = await gateway.ended(run)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert "as asked" in ended.error.message


@pytest.mark.parametrize("name", STREAMED)
@pytest.mark.parametrize("trouble", ["cut", "silence"])
async def test_a_stream_that_is_cut_or_silent_is_subscribed_to_again(
    tmp_path: Path,
    name: str,
    trouble: str,
    scripts: dict[tuple[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if trouble == "silence":
        monkeypatch.setattr(client, "SILENCE_S", 0.3)
    kind, cable = KINDS[name], Counting()
    script = scripts[kind.script] if kind.script else None
    async with (
        await asyncio.start_server(cable.serve, "127.0.0.1", 0) as door,
        house(tmp_path) as gateway,
    ):
        cable.port = door.sockets[0].getsockname()[1]
        async with peer(kind, script, PUBLIC_URL=cable.url) as url:
            cable.redirect(httpx.URL(url).port or 0)
            run = await gateway.spawn(await gateway.agent(cable.url), "gate")
            await gateway.seen(run, 3)
            before = cable.connections
            if trouble == "cut":
                cable.cut()
            with anyio.fail_after(30):
                await cable.used(before + 1)  # it was asked again
            async with httpx.AsyncClient(trust_env=False) as outside:
                await outside.post(f"{url}/release")
            ended = await gateway.ended(run)
            events = await gateway.events(run)
        await cable.close()
    assert (ended.status, ended.error) == (RunStatus.COMPLETED, None)
    artifacts = [data["text"] for type_, data in events if type_ == "artifact_added"]
    assert artifacts[-1] == "chunk 1 chunk 2 "  # the task that was asked for may show it unfinished
    assert texts(events) == ["released"]
