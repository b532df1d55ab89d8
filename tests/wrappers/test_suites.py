"""What conformance suites ask of the scripted agent, by its command and over real sockets."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core import json
from gateway.core.json import JsonObject
from gateway.core.messages import Message, TextPart
from tests.wrappers.launched import Launched, launched
from wrappers.scripted.suites import SCRIPTS, behaviour_of, goes_on, script_of


def said(text: str, message_id: str = "m-1") -> Message:
    return Message(message_id=message_id, role="user", parts=(TextPart(text=text),))


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (said("hi", "tck-artifact-file-url-1234"), "tck-artifact-file-url"),
        (said("hi", "tck-artifact-file-1234"), "tck-artifact-file"),
        (said("tck-artifact-data please"), "tck-artifact-data"),
        (said("tck-cancel now", "tck-complete-task-1"), "tck-complete-task"),
        (said("do tck-cancel"), None),
        (said(""), None),
        (said("tck-cancelled"), None),
    ],
)
def test_a_message_id_goes_before_the_first_word_and_the_longest_prefix_before_a_shorter(
    message: Message, word: str | None
) -> None:
    assert behaviour_of(message) == word
    assert script_of(message) == (message.text if word is None else SCRIPTS[word])


def test_what_keeps_a_task_waiting_for_input() -> None:
    assert goes_on(said("more", "tck-input-required-1"), "")
    assert not goes_on(said("more", "tck-complete-task-1"), "")
    assert goes_on(said("more"), "done")
    assert not goes_on(said(" Done "), "done")
    assert not goes_on(None, "done")


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncGenerator[Launched]:
    work = tmp_path / "work"
    work.mkdir()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "A2A_GATEWAY_HOME": str(tmp_path),
    }
    async with launched(environment, "scripted", "--root", str(work), "--no-auth") as agent:
        del agent.client.headers["A2A-Extensions"]  # as a client that knows A2A alone
        yield agent


def params(text: str, message_id: str = "m-1", **more: Any) -> JsonObject:
    message = {"messageId": message_id, "role": "ROLE_USER", "parts": [{"text": text}], **more}
    return {"message": message}


async def send(agent: Launched, text: str, message_id: str = "m-1", **more: Any) -> JsonObject:
    return (await agent.rpc("SendMessage", params(text, message_id, **more)))["task"]


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("tck-artifact-text", {"text": "Generated text content"}),
        ("tck-artifact-data", {"data": {"key": "value", "count": 42}}),
    ],
)
async def test_an_artifact_is_what_the_suite_named(
    agent: Launched, word: str, part: JsonObject
) -> None:
    task = await send(agent, word)
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert task["artifacts"][0]["parts"] == [part]


async def test_a_conversation_waits_until_it_is_told_to_end(agent: Launched) -> None:
    task = await send(agent, "tck-multi-turn start")
    for text, state in (("more", "TASK_STATE_INPUT_REQUIRED"), ("done", "TASK_STATE_COMPLETED")):
        task = await send(agent, text, taskId=task["id"])
        assert task["status"]["state"] == state
    task = await send(agent, "hi", "tck-input-required-1")
    for word, state in (
        ("tck-input-required", "TASK_STATE_INPUT_REQUIRED"),
        ("tck-complete-task", "TASK_STATE_COMPLETED"),
    ):
        task = await send(agent, "hi", f"{word}-1", taskId=task["id"])
        assert task["status"]["state"] == state


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("tck-auth-required", "TASK_STATE_AUTH_REQUIRED"),
        ("tck-reject-task", "TASK_STATE_REJECTED"),
        ("tck-task-failure", "TASK_STATE_FAILED"),
    ],
)
async def test_a_task_takes_the_state_the_suite_named(
    agent: Launched, word: str, state: str
) -> None:
    assert (await send(agent, word))["status"]["state"] == state


async def test_a_message_is_answered_by_a_message_alone_where_the_agent_says_so(
    agent: Launched,
) -> None:
    asked = params("tck-message-response")
    answer = await agent.rpc("SendMessage", asked)
    assert list(answer) == ["message"]
    assert answer["message"]["role"] == "ROLE_AGENT"
    assert answer["message"]["parts"] == [{"text": "Direct message response"}]
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": asked}
    streamed = await agent.client.post(agent.ready["jsonrpc_url"], json=body)
    items = [json.decode_object(line[6:]) for line in streamed.text.splitlines() if "data:" in line]
    assert [list(item["result"]) for item in items] == [["message"]]


async def test_an_extension_that_is_required_is_asked_of_every_caller(tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "A2A_GATEWAY_HOME": str(tmp_path),
    }
    uri = "urn:example:accounting"
    async with launched(environment, "scripted", "--no-auth", "--require", uri) as agent:
        card = (await agent.client.get(agent.ready["card_url"])).json()
        declared = {item["uri"]: item for item in card["capabilities"]["extensions"]}
        assert declared[uri]["required"] is True
        body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params("hello")}
        url = agent.ready["jsonrpc_url"]
        refused: httpx.Response = await agent.client.post(url, json=body)
        assert uri in refused.json()["error"]["message"]
        taken = await agent.client.post(url, json=body, headers={"A2A-Extensions": uri})
        assert "task" in taken.json()["result"]
