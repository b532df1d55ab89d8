"""What /mcp says to raw HTTP: every refusal is one line, and no stream holds the process."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway.core import json
from gateway.core.json import JsonObject
from mcp_bridge.face.server import GOING
from tests.core.puppet import stage
from tests.gateway.process import Gateway, started
from tests.mcp_bridge.house import Agents, http_server

TOKEN = "t" * 43
VERSION = "2026-07-28"
LISTING: JsonObject = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
BASIC = {
    "Authorization": f"Bearer {TOKEN}",
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
}
ERAS: dict[str, dict[str, str]] = {
    "legacy": {},
    "2026": {"MCP-Protocol-Version": VERSION, "Mcp-Method": "tools/list"},
}
META: JsonObject = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture
async def mcp(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    """A raw client of /mcp behind its guard."""
    async with (
        stage(tmp_path) as puppets,
        http_server(puppets, Agents(), TOKEN) as url,
        httpx.AsyncClient(base_url=url, headers=BASIC, timeout=10) as http,
    ):
        yield http


async def _send(
    http: httpx.AsyncClient,
    body: object,
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    path: str = "/mcp",
) -> tuple[int, str]:
    """The status, and the message of an error or an empty text."""
    content = body if isinstance(body, bytes) else json.dump(body)
    answer = await http.request(method, path, content=content, headers=headers)
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        text = text.partition("data: ")[2]
    said = json.as_object(json.decode_object(text).get("error")).get("message", "")
    assert "\n" not in said
    assert "pydantic" not in said
    return answer.status_code, said


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.promise("endpoint.line")
async def test_a_body_that_is_no_message_is_refused_in_a_line(
    era: str, mcp: httpx.AsyncClient
) -> None:
    # The SDK answered the handshake era with a page of its models' mistakes, and took a request
    # whose id is no id for a notification: 202, and no answer ever.
    one = LISTING
    for body, said in {
        json.encode([one, one]): "send one JSON-RPC message as an object; there are no batches",
        '"text"': "send one JSON-RPC message as an object; there are no batches",
        json.encode({**one, "id": None}): "a request's id is a string or an integer",
        json.encode({**one, "id": 1.5}): "a request's id is a string or an integer",
        json.encode({**one, "id": True}): "a request's id is a string or an integer",
        json.encode({**one, "id": {}}): "a request's id is a string or an integer",
        json.encode({**one, "params": [1]}): "params must be an object",
        json.encode({**one, "method": 3}): "method must be a string",
        json.encode({**one, "jsonrpc": "1.0"}): 'jsonrpc must be "2.0"',
        "[" * 5000 + "]" * 5000: "JSON is nested deeper than 64 levels",
        '{"a': "Parse error",
        "": "Parse error",
    }.items():
        status, text = await _send(mcp, body.encode(), ERAS[era])
        assert (status, text[: len(said)]) == (400, said), body[:80]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.promise("endpoint.stream")
async def test_nothing_can_be_listened_to(era: str, mcp: httpx.AsyncClient) -> None:
    # In the handshake era GET opened a stream that said nothing and ended with nobody's request.
    for method in ("GET", "DELETE", "PUT", "OPTIONS"):
        headers = {**ERAS[era], "Accept": "text/event-stream", "Mcp-Session-Id": "s-1"}
        answer = await mcp.request(method, "/mcp", headers=headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert "poll_events waits for news" in answer.text
    listen: JsonObject = {**LISTING, "method": "subscriptions/listen"}
    listen["params"] = {"_meta": META, "notifications": {"toolsListChanged": True}}
    named = {"Mcp-Method": "subscriptions/listen"} if era == "2026" else {}
    assert (await _send(mcp, listen, {**ERAS[era], **named}))[1] == "Method not found"


async def test_headers_that_will_not_do_are_named(mcp: httpx.AsyncClient) -> None:
    cases: list[tuple[dict[str, str], int, str]] = [
        ({"Accept": "application/json"}, 406, "send Accept: application/json, text/event-stream"),
        ({"Accept": "text/html"}, 406, "send Accept: application/json, text/event-stream"),
        ({"Content-Type": "text/plain"}, 415, "send JSON with Content-Type: application/json"),
        ({"Host": "evil.example"}, 421, "this server does not answer under that Host name"),
        ({"Origin": "https://evil.example"}, 403, "requests of this Origin are not served"),
        ({"Origin": "null"}, 403, "requests of this Origin are not served"),
        ({"Authorization": ""}, 401, "with this server's token, from its token file"),
        ({"Authorization": "Bearer x"}, 401, "from its token file; what was sent is not it"),
    ]
    for headers, status, said in cases:
        found, text = await _send(mcp, LISTING, headers)
        assert (found, said in text) == (status, True), (headers, found, text)


async def test_the_names_of_the_loopback_are_taken_with_and_without_a_port(
    mcp: httpx.AsyncClient,
) -> None:
    # The SDK's own check wanted a port in Host, and http in Origin.
    given: list[dict[str, str]] = [
        {"Host": "localhost"},
        {"Host": "127.0.0.1"},
        {"Host": "[::1]:80"},
        {"Origin": "http://localhost:5173"},
        {"Origin": "https://127.0.0.1"},
        {"Accept": "*/*"},
        {"Accept": "application/*;q=0.9, text/*"},
    ]
    for headers in given:
        assert await _send(mcp, LISTING, headers) == (200, ""), headers
    assert await _send(mcp, LISTING, path="/mcp/") == (200, "")


async def test_the_end_of_the_gateway_ends_polls_that_wait(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    async with started(environment) as gateway:
        task: dict[str, Any] = {"role": "worker", "cwd": str(tmp_path), "session_mode": "new"}
        agent = {"agent": "scripted"}
        run = await gateway.ask(
            "spawn_run", backend="remote_a2a", backend_config=agent, prompt="listen", **task
        )
        page = await gateway.ask("poll_events", run_id=run["run_id"], after_seq=0, wait_ms=30_000)
        while page["status"] != "running":
            after = page["next_after_seq"]
            page = await gateway.ask("poll_events", run_id=run["run_id"], after_seq=after)
        modern = {**ERAS["2026"], "Mcp-Method": "tools/call", "Mcp-Name": "poll_events"}
        waits = [Wait(gateway, run["run_id"], ERAS["legacy"]), Wait(gateway, run["run_id"], modern)]
        async with anyio.create_task_group() as polls:
            for wait in waits:
                polls.start_soon(wait.run)
            with anyio.fail_after(15):
                for wait in waits:
                    await wait.begun.wait()
            with anyio.fail_after(15):  # less than they would wait
                assert await gateway.stop() == 0
        assert [GOING in wait.said for wait in waits] == [True, True], waits[0].said


class Wait:
    """A poll that waits; its first progress, after 5 s, says that it does."""

    def __init__(self, gateway: Gateway, run_id: str, headers: Mapping[str, str]) -> None:
        self.begun = anyio.Event()
        self.said = ""
        self._http = gateway.http
        self._run_id = run_id
        self._headers = {"Accept": BASIC["Accept"], **headers}

    async def run(self) -> None:
        params: JsonObject = {
            "name": "poll_events",
            "arguments": {"run_id": self._run_id, "after_seq": 999, "wait_ms": 30_000},
            "_meta": {**META, "progressToken": "p-1"},
        }
        body = {**LISTING, "method": "tools/call", "params": params}
        async with self._http.stream("POST", "/mcp", json=body, headers=self._headers) as answer:
            async for chunk in answer.aiter_text():
                self.said += chunk
                if "notifications/progress" in self.said:
                    self.begun.set()
