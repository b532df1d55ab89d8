"""A gateway as a process, started by its command, and a caller of it. Knows no test."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

from gateway.core import json
from gateway.core.extension import VERSION_HEADER
from gateway.core.face.tokens import read_token
from gateway.core.json import JsonObject
from gateway.home import Home
from mcp_bridge.within import PARENT_HEADER

COMMAND = (sys.executable, "-P", "-m", "gateway.cli")
START_S = 60.0  # two shared cores, and the MCP libraries


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    process: asyncio.subprocess.Process
    url: str
    home: Home
    http: httpx.AsyncClient

    async def rpc(self, agent: str, method: str, params: JsonObject) -> JsonObject:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = await self.http.post(f"/agents/{agent}/a2a/jsonrpc", json=body)
        return answer.json()

    async def ask(
        self, tool: str, /, *, within: str | None = None, toolsets: str = "", **arguments: Any
    ) -> JsonObject:
        """What one of the seven tools, or of `toolsets`, answers; a refusal is {"refused": text}.
        `within`: the run from within which it is called."""
        params = {"name": tool, "arguments": arguments}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {"Accept": "application/json, text/event-stream"}
        if within is not None:
            headers[PARENT_HEADER] = within
        path = f"/mcp?toolsets={toolsets}" if toolsets else "/mcp"
        answer = await self.http.post(path, json=body, headers=headers)
        text = answer.text
        if answer.headers["content-type"].startswith("text/event-stream"):
            text = next(line[5:] for line in text.splitlines() if line.startswith("data:"))
        result = json.decode_object(text)["result"]
        if result.get("isError"):
            return {"refused": result["content"][0]["text"]}
        return result["structuredContent"]

    async def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        with anyio.fail_after(START_S):
            return await self.process.wait()


@asynccontextmanager
async def started(environment: Mapping[str, str], *arguments: str) -> AsyncGenerator[Gateway, None]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "serve", "--json", *arguments, stdout=subprocess.PIPE, env=dict(environment)
    )
    assert process.stdout is not None
    try:
        with anyio.fail_after(START_S):
            ready = json.decode_object(await process.stdout.readline())
        token = read_token(Path(ready["token_file"]))
        headers = {"Authorization": f"Bearer {token}", VERSION_HEADER: "1.0"}
        home = Home(Path(environment["A2A_GATEWAY_HOME"]))
        async with httpx.AsyncClient(
            base_url=ready["url"], headers=headers, timeout=START_S
        ) as http:
            yield Gateway(process=process, url=ready["url"], home=home, http=http)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def command(environment: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
    )
    with anyio.fail_after(START_S):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()
