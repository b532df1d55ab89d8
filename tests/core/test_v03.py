"""A2A 0.3 beside 1.0: by the SDK's own client, and raw."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import anyio
import httpx
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.compat.v0_3 import conversions
from a2a.compat.v0_3 import types as types_v03
from a2a.types import (
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import TaskNotFoundError
from google.protobuf.json_format import ParseDict

from gateway.core import json
from gateway.core.events import AgentMessage, RunCompleted
from gateway.core.face.v03 import METHODS, Old
from gateway.core.json import JsonObject
from tests.core.faces import Served, headers, params, puppet_theatre, read_sse, served

BINDINGS = ("JSONRPC", "HTTP+JSON")
OLD_CARD = "/.well-known/agent.json"


@asynccontextmanager
async def old_client(on: Served, binding: str, **more: Any) -> AsyncGenerator[Client]:
    """The SDK's client, who learns from the card that the agent speaks 0.3."""
    async with httpx.AsyncClient(timeout=httpx.Timeout(10)) as http:
        http.headers["A2A-Version"] = "0.3"  # else the SDK's factory says 1.0 for all clients
        config = ClientConfig(
            httpx_client=http,
            supported_protocol_bindings=[binding],
            use_client_preference=True,
            **more,
        )
        with anyio.fail_after(10):
            yield await create_client(on.base_url, config, relative_card_path=OLD_CARD)


def asking(text: str, *, wait: bool = True, task_id: str = "") -> SendMessageRequest:
    message = Message(message_id="m", role=Role.ROLE_USER, parts=[Part(text=text)], task_id=task_id)
    configuration = SendMessageConfiguration(return_immediately=not wait)
    return SendMessageRequest(message=message, configuration=configuration)


async def answer(client: Client, request: SendMessageRequest) -> Task:
    found = [item async for item in client.send_message(request)]
    return found[-1].task


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_client_of_03_sends_asks_answers_and_gets(tmp_path: Path, binding: str) -> None:
    async with served(tmp_path) as on, old_client(on, binding, streaming=False) as client:
        asked = await answer(client, asking("say hi; ask which?; finish ok"))
        assert asked.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        assert asked.status.message.parts[0].text == "which?"
        assert asked.history[1].parts[0].text == "hi"
        done = await answer(client, asking("that", task_id=asked.id))
        assert (done.id, done.status.state) == (asked.id, TaskState.TASK_STATE_COMPLETED)
        assert done.artifacts[0].parts[0].text == "ok"
        got = await client.get_task(GetTaskRequest(id=asked.id, history_length=1))
        assert len(got.history) == 1
        with pytest.raises(TaskNotFoundError):
            await client.get_task(GetTaskRequest(id="no-such"))


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_client_of_03_streams_cancels_and_subscribes(tmp_path: Path, binding: str) -> None:
    async with puppet_theatre(tmp_path) as (on, puppets):
        async with old_client(on, binding) as client:
            seen: list[StreamResponse] = []
            rest: list[StreamResponse] = []

            async def stream() -> None:
                seen.extend([item async for item in client.send_message(asking("go"))])

            async with anyio.create_task_group() as group:
                group.start_soon(stream)
                puppet = await puppets.next()
                await puppet.say(AgentMessage(text="hm"))
                followed = client.subscribe(SubscribeToTaskRequest(id=puppet.run.id))
                first = await anext(followed)
                assert first.task.id == puppet.run.id
                await puppet.end(RunCompleted(final_response="ok"))
                rest += [item async for item in followed]
            for items in (seen, rest):
                assert items[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
                assert items[-2].artifact_update.artifact.parts[0].text == "ok"
            assert "hm" in [item.status_update.status.message.parts[0].text for item in seen[2:3]]
        async with old_client(on, binding, streaming=False) as client:
            task = await answer(client, asking("go", wait=False))
            await puppets.next()
            cancelled = await client.cancel_task(CancelTaskRequest(id=task.id))
            assert cancelled.status.state == TaskState.TASK_STATE_CANCELED


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_client_of_03_keeps_webhooks_and_reads_the_card(
    tmp_path: Path, binding: str
) -> None:
    async with served(tmp_path) as on, old_client(on, binding, streaming=False) as client:
        card = await client.get_extended_agent_card(GetExtendedAgentCardRequest())
        assert card.name == "Puppet"
        task = await answer(client, asking("ask what?"))
        wanted = TaskPushNotificationConfig(
            task_id=task.id, id="here", url="http://127.0.0.1:9/hook", token="t"
        )
        kept = await client.create_task_push_notification_config(wanted)
        assert (kept.task_id, kept.url, kept.token) == (task.id, wanted.url, "t")
        named = {"task_id": task.id, "id": "here"}
        got = await client.get_task_push_notification_config(
            GetTaskPushNotificationConfigRequest(**named)
        )
        assert got.url == wanted.url
        if binding == "JSONRPC":  # the SDK's other client of 0.3 has no list
            listed = await client.list_task_push_notification_configs(
                ListTaskPushNotificationConfigsRequest(task_id=task.id)
            )
            assert [config.url for config in listed.configs] == [wanted.url]
            await client.delete_task_push_notification_config(
                DeleteTaskPushNotificationConfigRequest(**named)
            )
        await client.cancel_task(CancelTaskRequest(id=task.id))


def old_send(text: str, **more: Any) -> JsonObject:
    parts = [{"kind": "text", "text": text}]
    message = {"kind": "message", "messageId": "m", "role": "user", "parts": parts}
    return {"message": message, **more}


async def old_rpc(on: Served, method: str, parameters: object, **head: str) -> JsonObject:
    call = {"jsonrpc": "2.0", "id": 7, "method": method, "params": parameters}
    return (await on.http.post("/a2a/jsonrpc", json=call, headers=head)).json()


async def test_a_request_without_a_version_speaks_03(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        answered = await old_rpc(on, "message/send", old_send("artifact a b; finish ok"))
        task = types_v03.Task.model_validate(answered["result"])
        assert (task.kind, task.status.state.value) == ("task", "completed")
        assert [part.root.kind for art in task.artifacts or [] for part in art.parts] == [
            "text"
        ] * 2
        new = await old_rpc(on, "SendMessage", params("hi"))
        assert new["error"]["code"] == -32009
        current = {"A2A-Version": "1.0"}
        unknown = await old_rpc(on, "message/send", old_send("hi"), **current)
        assert unknown["error"]["code"] == -32601
        elsewhere = await on.http.get(f"/a2a/rest/v1/tasks/{task.id}", headers=current)
        assert elsewhere.json()["error"]["details"][0]["reason"] == "VERSION_NOT_SUPPORTED"


BAD: list[tuple[str, object]] = [
    ("message/send", {}),
    ("message/send", []),
    ("message/send", {"message": {"role": "user", "parts": []}}),
    ("message/send", {"message": {"messageId": "m", "role": "boss", "parts": [{"kind": "text"}]}}),
    (
        "message/send",
        {"message": {"messageId": "m", "role": "user", "parts": [{"kind": "film", "text": "x"}]}},
    ),
    ("message/send", {"message": {"messageId": "m", "role": "user", "parts": ["x"]}}),
    ("message/send", old_send("x", configuration={"blocking": "yes"})),
    ("message/stream", {}),
    ("tasks/get", {}),
    ("tasks/get", {"id": 7}),
    ("tasks/get", {"id": "x", "historyLength": -1}),
    ("tasks/cancel", {}),
    ("tasks/resubscribe", {}),
    ("tasks/pushNotificationConfig/set", {}),
    ("tasks/pushNotificationConfig/get", {}),
]


@pytest.mark.parametrize(("method", "parameters"), BAD)
async def test_parameters_that_do_not_fit_are_invalid_params(
    tmp_path: Path, method: str, parameters: object
) -> None:
    """The SDK's adapter says -32600, invalid request, which the TCK of 0.3 books as a fault."""
    async with served(tmp_path) as on:
        assert (await old_rpc(on, method, parameters))["error"]["code"] == -32602


async def test_a_stream_of_03_ends_with_a_final_item(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        call = {
            "jsonrpc": "2.0",
            "id": "s",
            "method": "message/stream",
            "params": old_send("ask w"),
        }
        async with on.http.stream("POST", "/a2a/jsonrpc", json=call) as response:
            items = [event async for event in read_sse(response)]
    results = [item.data["result"] for item in items]
    assert {item.data["id"] for item in items} == {"s"}
    assert [result["kind"] for result in results] == ["task", "status-update", "status-update"]
    assert [result.get("final") for result in results] == [None, False, True]
    assert results[-1]["status"]["state"] == "input-required"
    for result in results:
        whole = {"jsonrpc": "2.0", "id": "s", "result": result}
        types_v03.SendStreamingMessageSuccessResponse.model_validate(whole)


async def test_the_card_of_03_stands_under_its_old_name(tmp_path: Path) -> None:
    """One card with the fields of both fails the conformance suite's schema of 1.0."""
    async with served(tmp_path, token="t" * 43) as on:
        del on.http.headers["Authorization"]
        for slash in ("", "/"):
            old = (await on.http.get(OLD_CARD + slash)).json()
            card = types_v03.AgentCard.model_validate(old)
            assert (card.url, card.preferred_transport) == (f"{on.base_url}/a2a/jsonrpc", "JSONRPC")
            assert card.protocol_version == "0.3.0"
            assert card.security == [{"bearer": []}]
            new = (await on.http.get(f"/.well-known/agent-card.json{slash}")).json()
            assert not {"url", "protocolVersion", "preferredTransport"} & set(new)
            versions = [item["protocolVersion"] for item in new["supportedInterfaces"]]
            assert versions == ["1.0", "1.0", "0.3", "0.3"]


async def test_what_03_sends_passes_the_same_guard(tmp_path: Path) -> None:
    async with served(tmp_path, token="t" * 43) as on:
        del on.http.headers["Authorization"]
        call = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": old_send("hi")}
        for path in ("/a2a/jsonrpc", "/a2a/rest/v1/message:send"):
            assert (await on.http.post(path, json=call)).status_code == 401


async def test_the_extension_is_activated_by_its_old_header_too(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        uris = headers(extended=True)["A2A-Extensions"]
        sent = await old_rpc(on, "message/send", old_send("hi"), **{"X-A2A-Extensions": uris})
        assert sent["result"]["metadata"][uris]["last_seq"] == 3


def test_every_method_of_03_has_a_meaning() -> None:
    kinds = get_args(types_v03.A2ARequest.model_fields["root"].annotation)
    assert set(METHODS) == {kind.model_fields["method"].default for kind in kinds}


PARTS: list[JsonObject] = [
    {"text": "x"},
    {"data": {"n": 1}},
    {"data": [1, "two"]},
    {"url": "https://example.com/a", "filename": "a", "mediaType": "text/plain"},
    {"raw": "aGk="},
]


def test_a_task_is_translated_as_the_sdk_does() -> None:
    message = {"messageId": "m", "role": "ROLE_AGENT", "parts": PARTS, "taskId": "t"}
    task: JsonObject = {
        "id": "t",
        "contextId": "c",
        "status": {
            "state": "TASK_STATE_CANCELED",
            "timestamp": "2025-11-24T16:00:00.123456Z",
            "message": message,
        },
        "artifacts": [{"artifactId": "a", "name": "n", "parts": PARTS}],
        "history": [{**message, "role": "ROLE_USER"}],
        "metadata": {"k": 1},
    }
    theirs = conversions.to_compat_task(ParseDict(task, Task()))
    ours = types_v03.Task.model_validate(Old(proto=False).task(task))
    assert ours == theirs
    item = json.dump({"task": task})
    assert types_v03.Task.model_validate(json.decode(Old(proto=False).item(item))) == theirs


def test_a_message_alone_is_translated_as_the_sdk_does() -> None:
    message = {"messageId": "m", "role": "ROLE_AGENT", "parts": PARTS, "contextId": "c"}
    theirs = conversions.to_compat_message(ParseDict(message, Message()))
    sent = Old(proto=False).sent({"message": message})
    assert types_v03.Message.model_validate(sent) == theirs
    item = json.decode(Old(proto=False).item(json.dump({"message": message})))
    assert types_v03.Message.model_validate(item) == theirs
