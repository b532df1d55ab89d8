"""A wrapper as a real process, started by its command, and a caller of it. Knows no agent."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx

from gateway.core import extension, json
from gateway.core.face.tokens import read_token
from gateway.core.json import JsonObject, as_object

COMMAND = (sys.executable, "-P", "-m", "wrappers.launch")
START_S = 30.0  # two shared cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """`ready` is the line it said; calls carry the token and activate the extension."""

    process: asyncio.subprocess.Process
    ready: JsonObject
    client: httpx.AsyncClient

    async def rpc(self, method: str, params: JsonObject) -> JsonObject:
        """The result of a JSON-RPC call. Fails the test on an error."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = (await self.client.post(self.ready["jsonrpc_url"], json=body)).json()
        assert "result" in answer, answer
        return answer["result"]

    async def send(
        self, text: str, cwd: Path, *, wait: bool = True, **request: object
    ) -> JsonObject:
        """The task after a first message that asks for `request`."""
        message = spoken(text, cwd, **request)
        configuration = {"returnImmediately": not wait}
        sent = await self.rpc("SendMessage", {"message": message, "configuration": configuration})
        return sent["task"]

    async def events(self, task_id: str, after: int = 0) -> AsyncGenerator[JsonObject]:
        """The run's events, from the log and then live, until the stream ends."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": task_id}}
        headers = {extension.LAST_EVENT_ID_HEADER: str(after), "Accept": "text/event-stream"}
        async with self.client.stream(
            "POST", self.ready["jsonrpc_url"], json=body, headers=headers
        ) as response:
            async for line in response.aiter_lines():
                item = json.decode_object(line[5:]) if line.startswith("data:") else {}
                if event := event_of(item):
                    yield event

    async def stop(self, number: int) -> int:
        """Its exit status after a signal."""
        self.process.send_signal(number)
        with anyio.fail_after(START_S):
            return await self.process.wait()


def spoken(text: str, cwd: Path, **request: object) -> JsonObject:
    return {
        "messageId": "m-1",
        "role": "ROLE_USER",
        "parts": [{"text": text}],
        "metadata": {extension.URI: {"cwd": str(cwd), **request}},
    }


def event_of(item: JsonObject) -> JsonObject:
    """The extension's event in a stream item; empty for one that carries none."""
    for update in as_object(item.get("result")).values():
        return as_object(as_object(update).get("metadata")).get(extension.URI) or {}
    return {}


@asynccontextmanager
async def launched(
    environment: Mapping[str, str], *arguments: str, cwd: Path | None = None
) -> AsyncGenerator[Launched]:
    """A wrapper that said that it is ready; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        "--json",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=dict(environment),
        cwd=cwd,
    )
    assert process.stdout is not None
    try:
        with anyio.fail_after(START_S):
            ready = json.decode_object(await process.stdout.readline())
        headers = {extension.VERSION_HEADER: "1.0", extension.EXTENSIONS_HEADER: extension.URI}
        if ready["token_file"]:
            headers["Authorization"] = f"Bearer {read_token(Path(ready['token_file']))}"
        async with httpx.AsyncClient(headers=headers, timeout=START_S) as client:
            yield Launched(process=process, ready=ready, client=client)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def refused(environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Exit status and stderr of a start that must not succeed."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
    )
    with anyio.fail_after(START_S):
        _, errors = await process.communicate()
    return process.returncode or 0, errors.decode()


async def gone(*pids: int) -> None:
    """Wait until these processes are no more."""
    handles = [handle for pid in pids if (handle := _handle(pid)) is not None]
    try:
        with anyio.fail_after(START_S):
            for handle in handles:
                await anyio.wait_readable(handle)
    finally:
        for handle in handles:
            os.close(handle)


def _handle(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
