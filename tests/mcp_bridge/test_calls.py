"""Calls answered by us and by the SDK's own transports, in both eras: word by word alike."""

import json as stdlib_json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Message

from gateway.core import json
from gateway.core.events import AgentMessage, RunCompleted
from gateway.core.face.caller import BODY
from gateway.core.json import JsonObject
from mcp_bridge.catalog import TOOLSETS, offered
from mcp_bridge.face import calls, server
from mcp_bridge.face.calls import Calls
from mcp_bridge.runs import poll_events
from tests.core.puppet import ME, Stage, stage
from tests.mcp_bridge.house import PATIENCE_S, Agents

OLD: Final = "2025-06-18"
NEW: Final = "2026-07-28"
ERAS: Final = (OLD, NEW)
ENVELOPE: Final = "io.modelcontextprotocol/"
RUN: Final = "RUN"  # stands for the id of the run in the bodies below
ZEROS: Final = b"0" * 400  # more digits than a float has


@dataclass
class Heard:
    """What an ASGI app sent: its headers, and the messages in the body."""

    headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    body: bytes = b""
    status: int = 0
    spoken: anyio.Event = field(default_factory=anyio.Event)

    @property
    def streamed(self) -> bool:
        return self.headers.get(b"content-type", b"").startswith(b"text/event-stream")

    @property
    def messages(self) -> list[bytes]:
        if not self.streamed:
            return [self.body]
        lines = self.body.splitlines()
        return [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]


async def ask(
    app: ASGIApp,
    body: bytes,
    headers: dict[str, str],
    gone: anyio.Event | None = None,
    heard: Heard | None = None,
    full: anyio.Event | None = None,
) -> Heard:
    """One POST; the client goes when `gone` is set. With `full` the first thing that is sent waits
    for a wire that is full, and sets it."""
    heard, given = heard or Heard(), False
    never = anyio.Event()

    async def receive() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        await (gone or never).wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if full is not None and not full.is_set():
            full.set()
            await never.wait()
        if message["type"] == "http.response.start":
            heard.status, heard.headers = message["status"], dict(message["headers"])
        elif piece := message.get("body"):
            heard.body += piece
            heard.spoken.set()

    headers = {
        "host": "127.0.0.1:1",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        **headers,
    }
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "state": {BODY: body},
    }
    with anyio.fail_after(PATIENCE_S):
        await app(scope, receive, send)
    return heard


def sent(message: JsonObject, era: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers, as a client of that era sends them; integers as large as they are."""
    headers = {"mcp-protocol-version": era}
    if era == NEW:
        params: JsonObject = message.get("params", {})
        meta: JsonObject = {
            f"{ENVELOPE}protocolVersion": NEW,
            f"{ENVELOPE}clientInfo": {"name": "test", "version": "1"},
            f"{ENVELOPE}clientCapabilities": {"elicitation": {}},
        }
        message = {**message, "params": {**params, "_meta": {**params.get("_meta", {}), **meta}}}
        headers["mcp-method"] = "tools/call"
        if isinstance(name := params.get("name"), str):
            headers["mcp-name"] = name
    return stdlib_json.dumps(message, ensure_ascii=False).encode(), headers


def body_of(name: object = "get_run", token: object = None, **arguments: object) -> JsonObject:
    params: JsonObject = {"name": name, "arguments": arguments}
    if token is not None:
        params["_meta"] = {"progressToken": token}
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}


@asynccontextmanager
async def both(folder: Path) -> AsyncGenerator[tuple[ASGIApp, ASGIApp, Stage]]:
    """Ours and the SDK's, on the same runs."""
    async with stage(folder) as puppets:
        mcp = server.mcp_server(puppets.tasks, Agents(), ME)
        mcp.streamable_http_app(
            stateless_http=True,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        sdk = StreamableHTTPASGIApp(mcp.session_manager)
        async with mcp.session_manager.run():
            yield Calls(sdk, mcp), sdk, puppets


async def begun(app: ASGIApp, puppets: Stage, folder: Path) -> str:
    spawn = body_of(
        "spawn_run",
        backend="codex",
        role="worker",
        prompt="go",
        cwd=str(folder),
        session_mode="new",
        metadata={"ü": [1, 2.5, 1e30, None, True], "null": None},
    )
    heard = await ask(app, *sent(spawn, OLD))
    run_id = json.decode(heard.messages[0])["result"]["structuredContent"]["run_id"]
    with anyio.fail_after(PATIENCE_S):
        await puppets.puppets[run_id].started.wait()
    return run_id


REGULAR: Final[dict[str, JsonObject]] = {
    "a run": body_of(run_id=RUN),
    "events": body_of("poll_events", run_id=RUN, after_seq=0),
    "nothing new": body_of("poll_events", 3, run_id=RUN, after_seq=999, wait_ms=0),
    "runs": body_of("list_runs", "token"),
    "an id that is text": body_of(run_id=RUN) | {"id": "grüezi"},
    "an id that is large": body_of(run_id=RUN) | {"id": 2**62},
    "no such run": body_of(run_id="nobody"),
    "no such tool": body_of("no_tool"),
    "no such argument": body_of(run_id=RUN, colour="red"),
    "a number that is large": body_of("poll_events", run_id=RUN, after_seq=10**40),
    "a progress token that is none": body_of(True, run_id=RUN),
    "a name that is none": body_of(5),
    "arguments that are none": {**body_of(), "params": {"name": "get_run", "arguments": [1]}},
    "no arguments": {**body_of(), "params": {"name": "list_runs"}},
    "no name": {**body_of(), "params": {}},
    "no params": {"jsonrpc": "2.0", "id": 1, "method": "tools/call"},
    "more params": {**body_of(), "params": {"name": "list_runs", "task": {"ttl": 1}, "x": 1}},
}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("what", REGULAR)
async def test_a_call_is_answered_as_the_sdk_answers_it(
    what: str, era: str, tmp_path: Path
) -> None:
    async with both(tmp_path) as (ours, sdk, puppets):
        run_id = await begun(ours, puppets, tmp_path)
        puppet = puppets.puppets[run_id]
        await puppet.end(AgentMessage(text="grüezi \U0001f600"), RunCompleted(final_response="ja"))
        await puppets.tasks.settled(ME, run_id)
        body, headers = sent(REGULAR[what], era)
        body = body.replace(f'"{RUN}"'.encode(), f'"{run_id}"'.encode())
        said, expected = await ask(ours, body, headers), await ask(sdk, body, headers)
    assert said.status == expected.status
    assert not said.streamed
    if era == OLD:
        assert said.messages == expected.messages, "byte for byte"
        assert expected.streamed, "the SDK's transport answers this era with a stream"
    else:  # whose transport writes letters beyond ASCII as escapes
        assert [*map(json.decode, said.messages)] == [*map(json.decode, expected.messages)]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"list_runs"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{},"more":1}',
        b'{"jsonrpc":"2.0","id":true,"method":"tools/call","params":{"name":"list_runs"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":',
        # These were worked on, and then there was no way to write the answer or the progress.
        b'{"jsonrpc":"2.0","id":1%s,"method":"tools/call","params":{"name":"list_runs"}}' % ZEROS,
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":'
        b'{"name":"list_runs","_meta":{"progressToken":1%s}}}' % ZEROS,
        b'["tools/call"]',
    ],
)
async def test_what_is_no_regular_call_is_left_to_the_sdk(
    body: bytes, era: str, tmp_path: Path
) -> None:
    headers = {"mcp-protocol-version": era, "mcp-method": "tools/call", "mcp-name": "list_runs"}
    async with both(tmp_path) as (ours, sdk, _):
        said, expected = await ask(ours, body, headers), await ask(sdk, body, headers)
    assert (said.status, said.headers, said.messages) == (
        expected.status,
        expected.headers,
        expected.messages,
    )


WRONG: Final[dict[str, dict[str, str]]] = {
    "of another tool": {"mcp-name": "get_run"},
    "of another method": {"mcp-method": "tools/list"},
    "of no version": {"mcp-protocol-version": ""},
    "of a version to come": {"mcp-protocol-version": "2099-01-01"},
    "of another version than the envelope's": {"mcp-protocol-version": "2026-07-29"},
    "twice, in two spellings": {"Mcp-Name": "list_runs"},
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_headers_say_wrong_is_refused_by_the_sdk(what: str, tmp_path: Path) -> None:
    body, headers = sent(body_of("list_runs"), NEW)
    headers |= WRONG[what]
    async with both(tmp_path) as (ours, sdk, _):
        said, expected = await ask(ours, body, headers), await ask(sdk, body, headers)
    assert (said.status, said.messages) == (expected.status, expected.messages)
    assert said.status == 400


@pytest.mark.parametrize("era", ERAS)
async def test_progress_is_streamed_before_the_answer_as_the_sdk_does(
    era: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_events, "BEAT_S", 0.01)
    heard: dict[str, list[JsonObject]] = {}
    async with both(tmp_path) as (ours, sdk, puppets):
        for name, app in (("ours", ours), ("sdk", sdk)):
            run_id = await begun(ours, puppets, tmp_path)
            after = (await puppets.tasks.events(ME, run_id)).run.last_seq
            poll = body_of("poll_events", "t-1", run_id=run_id, after_seq=after)
            listening = Heard()
            async with anyio.create_task_group() as group:
                group.start_soon(ask, app, *sent(poll, era), None, listening)
                with anyio.fail_after(PATIENCE_S):
                    await listening.spoken.wait()
                await puppets.puppets[run_id].end(RunCompleted(final_response="done"))
            assert listening.streamed
            heard[name] = [json.decode_object(message) for message in listening.messages]
    for messages in heard.values():
        *beats, answer = messages
        assert answer["result"]["structuredContent"]["status"] == "completed"
        assert {message["method"] for message in beats} == {"notifications/progress"}
        assert {message["params"]["progressToken"] for message in beats} == {"t-1"}
    assert heard["ours"][0].keys() == heard["sdk"][0].keys()
    assert heard["ours"][0]["params"].keys() == heard["sdk"][0]["params"].keys()


async def test_a_silent_wait_keeps_its_connection_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PING_S", 0.01)
    async with both(tmp_path) as (ours, _, puppets):
        run_id = await begun(ours, puppets, tmp_path)
        after = (await puppets.tasks.events(ME, run_id)).run.last_seq
        poll = body_of("poll_events", run_id=run_id, after_seq=after)  # no token: no progress
        listening = Heard()
        async with anyio.create_task_group() as group:
            group.start_soon(ask, ours, *sent(poll, OLD), None, listening)
            with anyio.fail_after(PATIENCE_S):
                await listening.spoken.wait()
            await puppets.puppets[run_id].end(RunCompleted(final_response="done"))
    assert listening.body.startswith(b": ping\r\n\r\n")
    assert json.decode(listening.messages[-1])["result"]["structuredContent"]["run_id"] == run_id


async def test_an_answer_that_overtakes_a_ping_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The ping was waiting to begin the stream when the answer came and ended it; the answer went
    # out without a head.
    monkeypatch.setattr(calls, "PING_S", 0.01)
    async with both(tmp_path) as (ours, _, puppets):
        run_id = await begun(ours, puppets, tmp_path)
        after = (await puppets.tasks.events(ME, run_id)).run.last_seq
        poll = body_of("poll_events", run_id=run_id, after_seq=after)
        heard, full = Heard(), anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(ask, ours, *sent(poll, OLD), None, heard, full)
            with anyio.fail_after(PATIENCE_S):
                await full.wait()
            await puppets.puppets[run_id].end(RunCompleted(final_response="done"))
    assert heard.status == 200
    assert json.decode(heard.messages[-1])["result"]["structuredContent"]["run_id"] == run_id


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_goes_ends_its_wait_and_not_the_run(
    era: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both(tmp_path) as (ours, _, puppets):
        run_id = await begun(ours, puppets, tmp_path)
        after = (await puppets.tasks.events(ME, run_id)).run.last_seq
        waiting, gone = anyio.Event(), anyio.Event()
        moved = puppets.tasks.any_moved

        async def watched(*args: Any) -> Any:
            waiting.set()
            return await moved(*args)

        monkeypatch.setattr(puppets.tasks, "any_moved", watched)
        listening = Heard()
        async with anyio.create_task_group() as group:
            poll = body_of("poll_events", run_id=run_id, after_seq=after)
            group.start_soon(ask, ours, *sent(poll, era), gone, listening)
            with anyio.fail_after(PATIENCE_S):
                await waiting.wait()
            gone.set()
        assert listening.body == b""
        assert not (await puppets.tasks.events(ME, run_id)).run.terminal


def test_no_argument_stands_in_a_header_too() -> None:
    # The server tells the SDK so, whose look through all of a schema takes 90 us a call.
    for tool in offered(tuple(TOOLSETS)):
        assert "x-mcp-header" not in json.encode(tool.published().input_schema)
