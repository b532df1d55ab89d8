"""What reaches /mcp as raw bytes: each is answered, none of it is an error of ours."""

import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core import json
from gateway.core.events import RunCompleted
from gateway.core.json import JsonObject
from tests.core.puppet import Stage, stage
from tests.mcp_bridge.house import Agents, http_server

MODERN = "2026-07-28"
_META = (
    f'"_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}",'
    '"io.modelcontextprotocol/clientCapabilities":{}}'
)
ERAS = ("modern", "legacy")


@dataclass
class Wire:
    http: httpx.AsyncClient
    puppets: Stage
    folder: Path

    async def post(self, body: bytes, era: str, tool: str = "spawn_run") -> JsonObject:
        """The JSON-RPC answer, whatever the status; every answer has a body of JSON."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        if era == "modern":
            headers |= {
                "MCP-Protocol-Version": MODERN,
                "Mcp-Method": "tools/call",
                "Mcp-Name": tool,
            }
        answer = await self.http.post("/mcp", content=body, headers=headers)
        assert answer.status_code < 500, answer.text
        text = answer.text
        if answer.headers["content-type"].startswith("text/event-stream"):
            text = next(line[5:] for line in text.splitlines() if line.startswith("data:"))
        return json.decode_object(text)

    async def call(self, tool: str, arguments: str, era: str) -> str:
        """What the tool says: its result, or its refusal; `arguments` is JSON text as it is."""
        meta = f",{_META}" if era == "modern" else ""
        params = f'{{"name":"{tool}","arguments":{arguments}{meta}}}'
        body = f'{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}'
        answer = await self.post(body.encode(), era, tool)
        if "error" in answer:
            return f"protocol: {answer['error']['message']}"
        assert answer["id"] == 7
        return answer["result"]["content"][0]["text"]

    def task(self, more: str) -> str:
        cwd = json.encode(str(self.folder))
        return (
            f'{{"backend":"codex","role":"worker","session_mode":"new","cwd":{cwd},'
            f'"prompt":"go",{more}}}'
        )


@pytest.fixture
async def wire(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncGenerator[Wire]:
    async with (
        stage(tmp_path) as puppets,
        http_server(puppets, Agents()) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        yield Wire(http, puppets, tmp_path)
    loud = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [(record.message, record.exc_text) for record in loud] == []


@pytest.mark.promise("error.any")
@pytest.mark.parametrize("era", ERAS)
async def test_what_only_bytes_can_say_is_taken_or_refused_by_name(wire: Wire, era: str) -> None:
    for more, says in (
        (r'"metadata":{"a":"\ud800","\udfff":[1]}', None),
        (r'"nickname":"\ud800"', "nickname"),
        (r'"prompt":"half \udc00 of a pair"', None),
        ('"metadata":{"n":1180591620717411303424}', "metadata holds a number of more than 64"),
        ('"metadata":{"n":1e999}', None),
        ('"metadata":{"n":NaN}', None),
        ('"backend_config":{"limits":{"max_cost_usd":1e999}}', "max_cost_usd"),
        ('"backend_config":{"history_length":99999999999}', "history_length"),
        ('"metadata":' + '{"a":[' * 30 + "]}" * 30, "nested deeper than 48"),
        ('"metadata":' + json.encode('{"a":[' * 400 + "]}" * 400), "nested deeper than 48"),
        ('"metadata":' + json.encode('{"a":[' + "1," * 30_000 + "1]}"), "more than 20000 values"),
        ('"metadata":{"a":"' + "x" * 600_000 + '"}', "metadata has 600008 characters"),
        ('"a\\u0000b":1', "unknown argument"),
    ):
        said = await wire.call("spawn_run", wire.task(more), era)
        if says is None:
            assert "run_id" in said or said.startswith("protocol: "), (more[:60], said)
        else:
            assert says in said or said.startswith("protocol: "), (more[:60], said)


@pytest.mark.promise("error.any")
@pytest.mark.parametrize("era", ERAS)
async def test_references_that_only_bytes_can_say_are_unknown(wire: Wire, era: str) -> None:
    for tool, arguments in (
        ("get_run", r'{"run_id":"\ud800"}'),
        ("get_run", r'{"agent_name":"\udfff"}'),
        ("get_run", r'{"run_id":"a\u0000b"}'),
        ("list_runs", r'{"cursor":"\ud800"}'),
        ("list_runs", r'{"cwd":"a\u0000b"}'),
        ("poll_events", '{"run_id":"nope","after_seq":99999999999999999999}'),
        ("poll_events", '{"run_id":"nope","after_seq":true}'),
        ("get_event_artifact", r'{"run_id":"nope","seq":1,"field_path":"\ud800"}'),
    ):
        said = await wire.call(tool, arguments, era)
        assert 'run_id":"' not in said, said


@pytest.mark.promise("error.any")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "params",
    [
        '{"name":"get_run","arguments":[1]}',
        '{"name":"get_run","arguments":"run_id"}',
        '{"name":"get_run","arguments":5}',
        '{"name":"get_run","arguments":null}',
        '{"name":"get_run"}',
        '{"name":5,"arguments":{}}',
        '{"name":null}',
        '{"arguments":{}}',
        "[]",
        '"x"',
        "null",
        "{}",
    ],
)
async def test_calls_of_a_wrong_form_are_answered(wire: Wire, era: str, params: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}'
    answer = await wire.post(body.encode(), era, "get_run")
    assert "error" in answer or answer["result"]["isError"]


@pytest.mark.promise("error.any")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"7",
        b"[]",
        b"[[]]",
        b'"text"',
        b"{",
        b"{}",
        b"\xff\xfe\x00",
        b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"method":5}',
        b'{"jsonrpc":"2.0","id":1,"method":"no/such"}',
        b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}',
        b"[" * 100_000,
    ],
)
async def test_bodies_that_are_no_call_are_answered(wire: Wire, era: str, body: bytes) -> None:
    assert "error" in await wire.post(body, era)


async def test_halves_of_pairs_are_shown_as_replaced_while_the_run_lives(wire: Wire) -> None:
    """A run that is active is shown from memory, where they stood as they were sent: no answer
    could be made of it."""
    said = await wire.call("spawn_run", wire.task(r'"metadata":{"a":"\ud800"}'), "modern")
    run_id = json.decode_object(said)["run_id"]
    shown = await wire.call("get_run", json.encode({"run_id": run_id}), "modern")
    assert json.decode_object(shown)["metadata"] == {"a": "\ufffd"}
    puppet = wire.puppets.puppets[run_id]
    await puppet.started.wait()
    await puppet.end(RunCompleted(final_response="ok"))


def _typed(values: Any) -> list[str]:
    return [json.encode(value) for value in values]


@pytest.mark.promise("argument.forms")
async def test_numbers_may_be_text_or_whole_floats_but_not_yes_or_no(wire: Wire) -> None:
    """Models write "5" for 5 now and then; the predecessor refused it, and nobody was helped."""
    for limit in _typed([5, "5", 5.0, "5.0"]):
        said = await wire.call("list_runs", f'{{"limit":{limit}}}', "modern")
        assert json.decode_object(said)["runs"] == []
    for limit in _typed([True, 5.5, "five", "", [5], {"n": 5}, 0, 201, 2**31]):
        said = await wire.call("list_runs", f'{{"limit":{limit}}}', "modern")
        assert said.startswith("list_runs: limit: "), (limit, said)
    for text in _typed([5, True, ["a"]]):
        said = await wire.call("list_runs", f'{{"cwd":{text}}}', "modern")
        assert said == (
            "list_runs: cwd: takes no true" if text == "true" else "list_runs: cwd takes a text"
        )
