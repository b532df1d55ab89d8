"""Clients that are not ours use our agents: the a2a-sdk's for Python, @a2a-js/sdk for JavaScript.

Each against a wrapper started by command and against the gateway's face of it, in both bindings.
"""

import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import anyio
import httpx
import pytest
from a2a.client import Client, ClientCallContext, ClientConfig, create_client
from a2a.types import (
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
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
from a2a.utils.errors import (
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import MessageToDict, ParseDict

from gateway.core.extension import URI
from gateway.core.messages import whole_numbers
from tests.conftest import built_environment
from tests.core.receiver import receiver
from tests.e2e.node import installed, program

ROOT: Final = Path(__file__).parent.parent.parent
JS: Final = Path(__file__).parent / "js" / "client.mjs"
JS_PACKAGE: Final = "@a2a-js/sdk@1.3.0"
BINDINGS: Final = ("JSONRPC", "HTTP+JSON")
STEPS: Final = 7  # of client.mjs


@dataclass(frozen=True, kw_only=True)
class Target:
    """An agent to call, by the address of its face."""

    base_url: str
    token: str | None
    cwd: Path

    @property
    def card_url(self) -> str:
        return f"{self.base_url}/.well-known/agent-card.json"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@asynccontextmanager
async def _started(
    module: str, *arguments: str, environment: dict[str, str]
) -> AsyncGenerator[dict[str, Any]]:
    """A process of ours and the line of JSON it said when it was ready; ended by SIGTERM."""
    command = [sys.executable, "-m", module, *arguments]
    async with await anyio.open_process(
        command, env=environment, stderr=sys.stderr, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            line = b""
            with anyio.fail_after(30):
                while not line.endswith(b"\n"):
                    line += await process.stdout.receive()
            yield json.loads(line)
        finally:
            process.terminate()
            with anyio.fail_after(15, shield=True):
                await process.wait()


@pytest.fixture(scope="module", params=["wrapper", "gateway"])
async def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Target]:
    folder = tmp_path_factory.mktemp("foreign")
    cwd = folder / "work"
    cwd.mkdir()
    environment = built_environment(folder / "home") | {"PYTHONPATH": str(ROOT)}
    if request.param == "wrapper":
        arguments = ("scripted", "--port", "0", "--json", "--no-auth")
        async with _started("wrappers.launch", *arguments, environment=environment) as ready:
            yield Target(base_url=ready["base_url"], token=None, cwd=cwd)
        return
    environment |= {"A2A_GATEWAY_LOCAL_AGENTS": '["scripted"]'}
    async with _started("gateway.cli", "serve", "--json", environment=environment) as ready:
        token = Path(ready["token_file"]).read_text("utf-8").strip()  # noqa: ASYNC240 - one line
        yield Target(base_url=f"{ready['url']}/agents/scripted", token=token, cwd=cwd)


# -- the Python SDK's client -------------------------------------------------------------------


@asynccontextmanager
async def _client(target: Target, binding: str, **more: Any) -> AsyncGenerator[Client]:
    timeout = httpx.Timeout(10, read=40)
    async with httpx.AsyncClient(headers=target.headers, timeout=timeout) as http:
        config = ClientConfig(
            httpx_client=http,
            supported_protocol_bindings=[binding],
            use_client_preference=True,
            **more,
        )
        client = await create_client(target.base_url, config)
        with anyio.fail_after(30):
            yield client


def _request(
    target: Target, text: str, *, task_id: str = "", context_id: str = "", wait: bool = True
) -> SendMessageRequest:
    message = Message(
        message_id=str(uuid4()),
        role=Role.ROLE_USER,
        parts=[Part(text=text)],
        task_id=task_id,
        context_id=context_id,
    )
    message.metadata.update({URI: {"cwd": str(target.cwd)}})
    return SendMessageRequest(
        message=message, configuration=SendMessageConfiguration(return_immediately=not wait)
    )


async def _send(client: Client, request: SendMessageRequest) -> Task:
    items = [item async for item in client.send_message(request)]
    assert len(items) == 1
    return items[0].task


async def _stream(client: Client, request: SendMessageRequest) -> list[StreamResponse]:
    return [item async for item in client.send_message(request)]


def _last_state(items: list[StreamResponse]) -> int:
    """What the last item says; a run that was quick is over in the snapshot already."""
    last = items[-1]
    return last.task.status.state if last.HasField("task") else last.status_update.status.state


@pytest.mark.parametrize("binding", BINDINGS)
async def test_the_python_client_sends_gets_lists_and_answers(target: Target, binding: str) -> None:
    async with _client(target, binding, streaming=False) as client:
        task = await _send(client, _request(target, "say hello\nartifact notes some text"))
        assert task.status.state == TaskState.TASK_STATE_COMPLETED
        assert [a.artifact_id for a in task.artifacts][-1] == "final-response"
        again = await client.get_task(GetTaskRequest(id=task.id))
        assert again == task

        asked = await _send(
            client, _request(target, "ask which colour?", context_id=task.context_id)
        )
        assert asked.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        assert "which colour?" in asked.status.message.parts[0].text
        done = await _send(client, _request(target, "blue", task_id=asked.id))
        assert (done.id, done.context_id) == (asked.id, task.context_id)
        assert done.status.state == TaskState.TASK_STATE_COMPLETED

        page = await client.list_tasks(ListTasksRequest(context_id=task.context_id, page_size=1))
        assert (page.tasks[0].id, page.total_size) == (done.id, 2)
        rest = await client.list_tasks(
            ListTasksRequest(context_id=task.context_id, page_token=page.next_page_token)
        )
        assert [listed.id for listed in rest.tasks] == [task.id]
        extended = await client.get_extended_agent_card(GetExtendedAgentCardRequest())
        assert extended.capabilities.streaming


@pytest.mark.parametrize("binding", BINDINGS)
async def test_the_python_client_streams_and_resubscribes(target: Target, binding: str) -> None:
    async with _client(target, binding) as client:
        items = await _stream(client, _request(target, "say one\nreason hm\nsay two"))
        assert items[0].HasField("task")
        said = [
            item.status_update.status.message.parts[0].text
            for item in items
            if item.status_update.status.HasField("message")
        ]
        assert said == ["one", "two"]
        assert _last_state(items) == TaskState.TASK_STATE_COMPLETED

        asked = await _stream(client, _request(target, "ask which size?\nsay thanks"))
        assert _last_state(asked) == TaskState.TASK_STATE_INPUT_REQUIRED
        task_id = asked[-1].status_update.task_id
        watching = client.subscribe(SubscribeToTaskRequest(id=task_id))
        first = await anext(watching)
        assert first.task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        answered = await _stream(client, _request(target, "large", task_id=task_id))
        assert _last_state(answered) == TaskState.TASK_STATE_COMPLETED
        watched = [item async for item in watching]
        assert _last_state(watched) == TaskState.TASK_STATE_COMPLETED


@pytest.mark.parametrize("binding", BINDINGS)
async def test_the_python_client_keeps_webhooks_that_are_told_of_its_task(
    target: Target, binding: str
) -> None:
    async with _client(target, binding, streaming=False) as client, receiver() as hook:
        request = _request(target, "say one\nask sure?\nsay two")
        inline = TaskPushNotificationConfig(url=hook.url, token="mine")
        inline.authentication.scheme, inline.authentication.credentials = "Bearer", "theirs"
        request.configuration.task_push_notification_config.CopyFrom(inline)
        task = await _send(client, request)
        late = TaskPushNotificationConfig(task_id=task.id, id="late", url=f"{hook.base_url}/late")
        assert await client.create_task_push_notification_config(late) == late
        about = GetTaskPushNotificationConfigRequest(task_id=task.id, id=task.id)
        stored = await client.get_task_push_notification_config(about)
        assert stored.authentication == inline.authentication
        listed = await client.list_task_push_notification_configs(
            ListTaskPushNotificationConfigsRequest(task_id=task.id)
        )
        assert {config.id for config in listed.configs} == {task.id, "late"}
        await client.delete_task_push_notification_config(
            DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="late")
        )
        await _send(client, _request(target, "yes", task_id=task.id))
        got = await hook.until("TASK_STATE_COMPLETED")
        assert {one.path for one in got} == {"/hook"}
        assert {one.headers["authorization"] for one in got} == {"Bearer theirs"}
        items = [ParseDict(one.item, StreamResponse()) for one in got]
        said = [
            item.status_update.status.message.parts[0].text
            for item in items
            if item.status_update.status.HasField("message")
        ]
        assert [text for text in said if text in ("one", "two")] == ["one", "two"]
        with pytest.raises(InvalidParamsError, match="not public"):
            await client.create_task_push_notification_config(
                TaskPushNotificationConfig(task_id=task.id, url="http://169.254.169.254/")
            )


@pytest.mark.parametrize("binding", BINDINGS)
async def test_the_python_client_sees_every_event_with_the_extension(
    target: Target, binding: str
) -> None:
    context = ClientCallContext(service_parameters={"A2A-Extensions": URI})
    async with _client(target, binding) as client:
        request = _request(target, "say one\nreason hm\ncommand ls => a.txt exit 0")
        items = [item async for item in client.send_message(request, context=context)]
    metadata = [whole_numbers(MessageToDict(item.status_update.metadata)) for item in items[1:]]
    found = [(about[URI]["seq"], about[URI]["type"]) for about in metadata if about]
    assert [seq for seq, _ in found] == list(range(found[0][0], found[0][0] + len(found)))
    assert {"agent_message", "reasoning", "command_finished", "run_completed"} <= {
        type_ for _, type_ in found
    }


@pytest.mark.parametrize("binding", BINDINGS)
async def test_the_python_client_cancels_and_is_refused_by_name(
    target: Target, binding: str
) -> None:
    async with _client(target, binding, streaming=False) as client:
        task = await _send(client, _request(target, "hang", wait=False))
        cancelled = await client.cancel_task(CancelTaskRequest(id=task.id))
        assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(CancelTaskRequest(id=task.id))
        with pytest.raises(TaskNotFoundError):
            await client.get_task(GetTaskRequest(id="no-such-task"))
        with pytest.raises(UnsupportedOperationError):
            await _send(client, _request(target, "more", task_id=task.id))


# -- the JavaScript SDK's client ---------------------------------------------------------------


@pytest.fixture(scope="session")
async def js_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return await installed(tmp_path_factory.mktemp("js"), JS, JS_PACKAGE)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_the_javascript_client_sends_streams_lists_cancels_and_answers(
    target: Target, js_client: Path, binding: str
) -> None:
    environment = {"PATH": os.environ["PATH"], "AGENT_CWD": str(target.cwd)}
    if target.token is not None:
        environment["AGENT_TOKEN"] = target.token
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [program(), str(js_client), target.card_url, binding], check=False, env=environment
        )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert len(json.loads(done.stdout)) == STEPS
