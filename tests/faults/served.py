"""A task-server process and its callers' side: start, call, read, kill. Knows no fault."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import httpx

from gateway.core import json
from gateway.core.extension import EXTENSIONS_HEADER, LAST_EVENT_ID_HEADER, URI, VERSION_HEADER
from gateway.core.json import JsonObject, as_object
from tests.faults.server import TOKEN
from tests.wrappers.launched import event_of

START_S = 30.0  # two shared cores
PATH = "/a2a/jsonrpc"
HEADERS = {
    "Authorization": f"Bearer {TOKEN}",
    VERSION_HEADER: "1.0",
    EXTENSIONS_HEADER: URI,
}


class RefusedError(Exception):
    """The server answered with an error; `code` is ours (`storage_full`, `run_ended`, …)."""

    def __init__(self, error: JsonObject) -> None:
        super().__init__(str(error))
        self.text = str(error.get("message"))
        details: list[JsonObject] = error.get("data") or []
        facts = [as_object(one.get("metadata")) for one in details]
        self.code = next((str(one["code"]) for one in facts if "code" in one), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running task server. Calls raise RefusedError, or httpx.HTTPError when it is gone."""

    process: asyncio.subprocess.Process
    http: httpx.AsyncClient

    async def rpc(self, method: str, params: JsonObject) -> JsonObject:
        """The result of a unary call."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = (await self.http.post(PATH, json=body)).json()
        if "error" in answer:
            raise RefusedError(answer["error"])
        return answer["result"]

    async def send(self, params: JsonObject, *, wait: bool = False) -> JsonObject:
        """The task that SendMessage answers."""
        configuration = {"returnImmediately": not wait}
        return (await self.rpc("SendMessage", params | {"configuration": configuration}))["task"]

    async def task(self, task_id: str) -> JsonObject:
        return await self.rpc("GetTask", {"id": task_id})

    async def cancel(self, task_id: str) -> JsonObject:
        return await self.rpc("CancelTask", {"id": task_id})

    async def events(self, task_id: str, after: int = 0) -> AsyncGenerator[JsonObject]:
        """The run's events after one, from the log and then live, until it has ended."""
        headers = {LAST_EVENT_ID_HEADER: str(after)}
        items = self.stream("SubscribeToTask", {"id": task_id}, headers)
        async for item in items:
            if event := event_of(item):
                yield event

    async def stream(
        self, method: str, params: JsonObject, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[JsonObject]:
        """The items of a streaming call, as they are."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self.http.stream("POST", PATH, json=body, headers=headers) as response:
            async for line in response.aiter_lines():
                if not line.startswith("data:"):
                    continue
                item = json.decode_object(line[5:])
                if "error" in item:
                    raise RefusedError(item["error"])
                yield item

    async def kill(self) -> None:
        """SIGKILL, at once."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def serving(database: object) -> AsyncGenerator[Served]:
    """A server on `database`, a path or a URL; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.server", str(database)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        with anyio.fail_after(START_S):
            ready = json.decode_object(await process.stdout.readline())
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(
            base_url=ready["url"], headers=HEADERS, timeout=START_S, limits=limits
        ) as http:
            yield Served(process=process, http=http)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def spoken(text: str, key: str, task_id: str | None = None) -> JsonObject:
    """The parameters of a message under a request_key."""
    message: JsonObject = {
        "messageId": key,
        "role": "ROLE_USER",
        "parts": [{"text": text}],
        "metadata": {URI: {"request_key": key}},
    }
    if task_id is not None:
        message["taskId"] = task_id
    return {"message": message}
