"""A real wrapper around a real CLI on a scripted model, and the two kinds of clients it has: one that
knows A2A alone (the SDK's), one that knows the coding-run extension.

Knows how each vendor's model is told what to do; no test.
"""

import json
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
from a2a.client import Client, ClientConfig, create_client
from a2a.types import Message, Part, Role, SendMessageRequest, StreamResponse, TaskState

from gateway.core import extension
from gateway.core.face.tokens import read_token
from gateway.core.json import JsonObject, as_object
from tests.conftest import built_environment
from tests.models import anthropic_messages, openai_responses
from tests.models.codex_program import codex_program
from tests.wrappers.held import PATIENCE_S
from tests.wrappers.launched import Launched, launched

OPTIONS: Final = [
    {"label": "blue", "description": "cold"},
    {"label": "green", "description": "hot"},
]
QUESTION: Final = {"id": "colour", "header": "Colour", "question": "Which?", "options": OPTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """What the tests say to one vendor's model; `@say`, `@sh`, `@http`, … both understand.

    `two`: two requests for permission at once, to make the files `one` and `two`. `plan`: hand in
    the plan "First this."; `structured`: answer with the data that follows. `refused`: 401 until
    the run is tried again; `limited`: once too busy; `login`: what says how to log in.
    """

    name: str
    arguments: tuple[str, ...] = ()
    question: str
    two: str
    plan: str
    structured: str
    refused: str
    limited: str
    login: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


CODEX: Final = Vendor(
    name="codex",
    question=f"@input {json.dumps({'questions': [QUESTION]})}\n@results",
    two="\n".join(
        (  # a sub-agent's and its own
            f"@ns multi_agent_v1 spawn_agent {json.dumps({'message': '@sh touch one'})}",
            "@sh touch two",
            '@ns multi_agent_v1 wait_agent {"targets": ["$agent"], "timeout_ms": 30000}',
            "@say ok",
        )
    ),
    plan="@say <proposed_plan>\\nFirst this.\\n</proposed_plan>",
    structured="@say ",
    refused="@http 401 1",
    limited="@http 500 1",  # a 429 ends its turn at once
    login=openai_responses.KEY_NAME,  # the scripted provider knows no `codex login`
)
CLAUDE: Final = Vendor(
    name="claude_code",
    arguments=("--allow-root",),
    question="@question Which?|blue|green\n@results",
    two="@agent @sh touch one\n&@agent @sh touch two\n@say ok",
    plan="@plan First this.",
    structured="@schema ",
    refused="@http 401 1",
    limited="@http 429 1",
    login="claude auth login",
    environment={"CLAUDE_CODE_MAX_RETRIES": "1", "A2A_AGENT_PASS_ENV": "CLAUDE_CODE_MAX_RETRIES"},
)
VENDORS: Final = {vendor.name: vendor for vendor in (CODEX, CLAUDE)}


@dataclass(slots=True, kw_only=True)
class Station:
    """One wrapper of one vendor. Its only root is `root`, where clients of A2A alone work."""

    vendor: Vendor
    wrapper: Launched
    model: openai_responses.Endpoint | anthropic_messages.Endpoint
    root: Path
    _folders: int = 0

    def folder(self) -> Path:
        """A folder that no other test works in."""
        self._folders += 1
        made = self.root / f"work-{self._folders}"
        made.mkdir()
        return made

    def told(self) -> str:
        """All that the model was sent last."""
        return json.dumps(self.model.requests[-1], ensure_ascii=False)

    async def inspected(self) -> None:
        """Wait until the wrapper has looked at its agent's program."""
        url = f"{self.wrapper.ready['base_url']}/status"
        with anyio.fail_after(PATIENCE_S):
            while (await self.wrapper.client.get(url)).json()["findings"] is None:
                pass

    # -- a client that knows the extension -----------------------------------------------------

    async def send(
        self, text: str, cwd: Path | None = None, /, *, wait: bool = True, **request: Any
    ) -> JsonObject:
        """The task after a first message; `context` names the conversation to go on with."""
        context = request.pop("context", None)
        message = said(text)
        if context is not None:
            message["contextId"] = context
        if cwd is not None:
            request["cwd"] = str(cwd)
        message["metadata"] = {extension.URI: request}
        return await self.post(message, wait=wait)

    async def post(self, message: JsonObject, *, wait: bool = True) -> JsonObject:
        configuration = {"returnImmediately": not wait}
        with anyio.fail_after(PATIENCE_S):
            sent = await self.wrapper.rpc(
                "SendMessage", {"message": message, "configuration": configuration}
            )
        return sent["task"]

    async def answer(self, task: JsonObject, *answers: JsonObject, wait: bool = True) -> JsonObject:
        """The task after a follow-up that answers requests by their ids."""
        parts: list[JsonObject] = [{"data": answer} for answer in answers]
        return await self.post({**said(""), "parts": parts, "taskId": task["id"]}, wait=wait)

    async def refusal(self, method: str, params: JsonObject) -> JsonObject:
        """The error of a call."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        url = self.wrapper.ready["jsonrpc_url"]
        answer = (await self.wrapper.client.post(url, json=body)).json()
        assert "error" in answer, answer
        return answer["error"]

    async def events(self, task: JsonObject, after: int = 0) -> list[JsonObject]:
        """The events of a run that is over, or to the end of one that is not."""
        with anyio.fail_after(PATIENCE_S):
            return [event async for event in self.wrapper.events(task["id"], after)]

    async def until(
        self, task: JsonObject, over: Callable[[JsonObject], bool], after: int = 0
    ) -> JsonObject:
        """The first event, from the log or live, of which `over` is true."""
        with anyio.fail_after(PATIENCE_S):
            async with aclosing(self.wrapper.events(task["id"], after)) as events:
                async for event in events:
                    if over(event):
                        return event
        raise AssertionError(f"run {task['id']} ended without it")

    async def get(self, task: JsonObject) -> JsonObject:
        return await self.wrapper.rpc("GetTask", {"id": task["id"]})

    # -- a client that does not ----------------------------------------------------------------

    @asynccontextmanager
    async def plain(self) -> AsyncGenerator[Client]:
        token = read_token(Path(self.wrapper.ready["token_file"]))
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S) as http:
            config = ClientConfig(httpx_client=http)
            client = await create_client(self.wrapper.ready["base_url"], config)
            with anyio.fail_after(PATIENCE_S):
                yield client


def said(text: str) -> JsonObject:
    """A user's message."""
    return {"messageId": uuid.uuid4().hex, "role": "ROLE_USER", "parts": [{"text": text}]}


def state(task: JsonObject) -> str:
    return task["status"]["state"].removeprefix("TASK_STATE_").lower()


def pending(task: JsonObject) -> list[JsonObject]:
    """What a task waits for, as its status message says it."""
    parts: Sequence[JsonObject] = as_object(task["status"].get("message")).get("parts") or ()
    for part in parts:
        if "pending" in as_object(part.get("data")):
            return part["data"]["pending"]
    return []


def final(task: JsonObject) -> str:
    """The text of the final response."""
    for artifact in task.get("artifacts") or ():
        if artifact["artifactId"] == "final-response":
            return "".join(part.get("text", "") for part in artifact["parts"])
    return ""


def spoken(text: str, *, task_id: str = "", mode: str = "") -> SendMessageRequest:
    """The same as the SDK's value; the permission `mode` is all it may say of the extension."""
    message = Message(message_id=uuid.uuid4().hex, role=Role.ROLE_USER, task_id=task_id)
    message.parts.append(Part(text=text))
    if mode:
        message.metadata.update({extension.URI: {"permission_mode": mode}})
    return SendMessageRequest(message=message)


def last_state(items: list[StreamResponse]) -> str:
    """What the last item of a stream says; a run that was quick is over in the task already."""
    last = items[-1]
    status = last.task.status if last.HasField("task") else last.status_update.status
    return TaskState.Name(status.state).removeprefix("TASK_STATE_").lower()


@asynccontextmanager
async def station_of(
    name: str, folder: Path, *arguments: str, root: Path | None = None
) -> AsyncGenerator[Station]:
    """A wrapper whose whole state lies below `folder`: started again there, it is the same one."""
    vendor = VENDORS[name]
    models = {"codex": openai_responses, "claude_code": anthropic_messages}
    async with (
        models[name].running() as model,
        served(vendor, model, folder, *arguments, root=root) as station,
    ):
        yield station


@asynccontextmanager
async def served(
    vendor: Vendor,
    model: openai_responses.Endpoint | anthropic_messages.Endpoint,
    folder: Path,
    *arguments: str,
    root: Path | None = None,
) -> AsyncGenerator[Station]:
    """The wrapper beside a model that is there already."""
    root = root or folder / "root"
    root.mkdir(parents=True, exist_ok=True)
    environment = {**built_environment(folder / "home"), **vendor.environment}
    if vendor is CODEX:
        codex_program()  # skips where there is none
        environment |= openai_responses.codex_home(folder / "codex", model.url)
    else:
        environment |= anthropic_messages.claude_home(folder / "claude", model.url)
    words = (vendor.name, *vendor.arguments, "--root", str(root), *arguments)
    async with launched(environment, *words) as wrapper:
        yield Station(vendor=vendor, wrapper=wrapper, model=model, root=root)
