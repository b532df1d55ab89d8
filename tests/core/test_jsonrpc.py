"""The JSON-RPC envelope, and what must never leave in an answer; the HTTP+JSON binding's own."""

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from a2a.types import SendMessageResponse, Task
from google.protobuf.json_format import ParseDict

from gateway.core.events import RunCompleted
from tests.core.faces import headers, params, puppet_theatre, served
from tests.core.puppet import Puppet

ENVELOPES: list[tuple[bytes, int, object]] = [
    (b"", -32700, None),
    (b"{", -32700, None),
    (b'{"a": NaN}', -32700, None),
    (b'"\xff"', -32700, None),
    (b"[]", -32600, None),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ListTasks"}]', -32600, None),
    (b"7", -32600, None),
    (b'{"id":1,"method":"ListTasks"}', -32600, 1),
    (b'{"jsonrpc":"1.0","id":1,"method":"ListTasks"}', -32600, 1),
    (b'{"jsonrpc":2.0,"id":1,"method":"ListTasks"}', -32600, 1),
    (b'{"jsonrpc":"2.0","id":1}', -32600, 1),
    (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600, 1),
    (b'{"jsonrpc":"2.0","id":true,"method":"ListTasks"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":[1],"method":"ListTasks"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":"a","method":"NoSuchMethod"}', -32601, "a"),
    (b'{"jsonrpc":"2.0","id":"a","method":"tasks/get"}', -32601, "a"),
    (b'{"jsonrpc":"2.0","id":2,"method":"GetTask","params":[1]}', -32602, 2),
    (b'{"jsonrpc":"2.0","id":2,"method":"GetTask","params":"x"}', -32602, 2),
    (b'{"jsonrpc":"2.0","id":2,"method":"GetTask"}', -32602, 2),
    (b'{"jsonrpc":"2.0","id":2,"method":"SubscribeToTask"}', -32602, 2),
]


@pytest.mark.parametrize(("body", "code", "request_id"), ENVELOPES)
async def test_what_is_no_call_is_refused_with_its_own_code_and_http_200(
    tmp_path: Path, body: bytes, code: int, request_id: object
) -> None:
    async with served(tmp_path) as on:
        head = {**headers(), "Content-Type": "application/json"}
        response = await on.http.post("/a2a/jsonrpc", content=body, headers=head)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["jsonrpc"], answer["id"], answer["error"]["code"]) == ("2.0", request_id, code)
    assert "parse" not in str(answer["error"].get("data", "")).lower()
    assert "Traceback" not in response.text


@pytest.mark.parametrize("request_id", ["a", "", 0, 7, -1, 1.5, 2**53, None])
async def test_the_id_comes_back_as_it_was(tmp_path: Path, request_id: object) -> None:
    async with served(tmp_path) as on:
        call = {"jsonrpc": "2.0", "id": request_id, "method": "ListTasks", "params": None}
        response = await on.http.post("/a2a/jsonrpc", json=call, headers=headers())
    assert response.json()["id"] == request_id
    assert response.json()["result"]["tasks"] == []


async def test_a_call_without_an_id_is_answered_with_null(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        call = {"jsonrpc": "2.0", "method": "ListTasks"}
        answer = (await on.http.post("/a2a/jsonrpc", json=call, headers=headers())).json()
    assert answer["id"] is None
    assert "result" in answer


async def test_missing_fields_are_told_as_google_rpc_bad_request(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        by_rpc = (await on.rpc("SendMessage", {"message": {"role": "ROLE_USER"}}))["error"]
        by_rest = await on.http.post(
            "/a2a/rest/message:send", json={"message": {"role": "ROLE_USER"}}, headers=headers()
        )
    assert by_rpc["code"] == -32602
    info, bad = by_rpc["data"]
    assert (info["@type"].split(".")[-1], info["reason"]) == ("ErrorInfo", "INVALID_PARAMS")
    violated = [violation["field"] for violation in bad["fieldViolations"]]
    assert violated == ["message.message_id", "message.parts"]
    assert by_rest.status_code == 400
    assert by_rest.json()["error"]["details"] == by_rpc["data"]


async def test_answers_are_the_protocols_own_messages(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        script = "say hi; artifact a b; ask which?"
        sent = await on.rpc("SendMessage", params(script), extended=True)
        ParseDict(sent["result"], SendMessageResponse())  # strict: unknown fields raise
        got = await on.rpc("GetTask", {"id": sent["result"]["task"]["id"]})
        ParseDict(got["result"], Task())
        assert got["result"] == {
            name: value for name, value in sent["result"]["task"].items() if name != "metadata"
        }


REST: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/message:send", "[]", 400, "INVALID_REQUEST"),
    ("POST", "/message:send", "{", 400, "INVALID_REQUEST"),
    ("POST", "/message:stream", "x", 400, "INVALID_REQUEST"),
    ("POST", "/message:send", "{}", 400, "INVALID_PARAMS"),
    ("POST", "/message:stream", "{}", 400, "INVALID_PARAMS"),
    ("GET", "/tasks?pageSize=x", None, 400, "INVALID_PARAMS"),
    ("GET", "/tasks?pageSize=101", None, 400, "INVALID_PARAMS"),
    ("GET", "/tasks?status=NO", None, 400, "INVALID_PARAMS"),
    ("GET", "/tasks/x?historyLength=-1", None, 400, "INVALID_PARAMS"),
    ("GET", "/tasks/no-such", None, 404, "TASK_NOT_FOUND"),
    ("POST", "/tasks/no-such:cancel", None, 404, "TASK_NOT_FOUND"),
    ("GET", "/tasks/no-such:subscribe", None, 404, "TASK_NOT_FOUND"),
    ("POST", "/tasks/no-such:subscribe", None, 404, "TASK_NOT_FOUND"),
]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("method", "path", "body", "status", "reason"), REST)
async def test_rest_refuses_with_a_status_and_a_reason_with_a_slash_or_without(
    tmp_path: Path, method: str, path: str, body: str | None, status: int, reason: str, slash: str
) -> None:
    async with served(tmp_path) as on:
        path, _, query = path.partition("?")
        response = await on.http.request(
            method,
            f"/a2a/rest{path}{slash}?{query}",
            content=body,
            headers={**headers(), "Content-Type": "application/json"},
        )
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["code"], error["details"][0]["reason"]) == (status, reason)


async def test_rest_answers_have_the_media_type_of_a2a(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        sent = await on.http.post(
            "/a2a/rest/message:send/", json=params("finish ok"), headers=headers()
        )
        assert sent.headers["content-type"] == "application/a2a+json"
        listed = await on.http.get(
            "/a2a/rest/tasks/?includeArtifacts=true&includeArtifacts=TRUE", headers=headers()
        )
        assert listed.json()["tasks"][0]["artifacts"][0]["artifactId"] == "final-response"
        assert (await on.http.get("/a2a/rest/admin/status")).status_code == 404


async def test_a_caller_who_hangs_up_ends_its_wait_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.face.caller.LISTEN_AFTER_S", 0.0)
    async with puppet_theatre(tmp_path) as (on, puppets):
        call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params("go")}
        leaving = httpx.AsyncClient(base_url=on.base_url)
        runs: list[Puppet] = []

        async def waiters() -> int:
            await anyio.lowlevel.checkpoint()
            live = on.tasks.log._live.find(runs[0].run.id)  # pyright: ignore[reportPrivateUsage]
            return len(live.waiters) if live is not None else 0

        async def block() -> None:
            await leaving.post("/a2a/jsonrpc", json=call, headers=headers())

        with anyio.fail_after(10):
            async with leaving, anyio.create_task_group() as group:
                group.start_soon(block)
                runs.append(await puppets.next())
                while not await waiters():
                    pass
                group.cancel_scope.cancel()
            while await waiters():
                pass
        await runs[0].end(RunCompleted(final_response="ok"))
        got = await on.rpc("GetTask", {"id": runs[0].run.id})
    assert got["result"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert got["result"]["artifacts"][0]["parts"] == [{"text": "ok"}]
