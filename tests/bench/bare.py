"""The agents without us: the least client of each that still gets an answer.

Knows the vendors' protocols; nothing of ours.
"""

import asyncio
import itertools
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage

from gateway.core import json

LINE_MAX = 64 * 1024 * 1024  # bytes; a command's whole output is one line


class FailedError(Exception):
    """A bare turn did not complete, so its time says nothing."""


class Bare(Protocol):
    """One conversation with a warm process."""

    async def start(self) -> None:
        """Start the process and the conversation."""
        ...

    async def turn(self, prompt: str) -> float:
        """Seconds from the prompt to the turn's end. Raises: FailedError."""
        ...

    async def anew(self, prompt: str) -> float:
        """Seconds of a first turn in another conversation. Raises: FailedError."""
        ...

    async def close(self) -> None: ...


class BareCodex:
    """`codex app-server`, one thread. Every line is decoded, none is kept."""

    def __init__(self, program: Path, environment: Mapping[str, str], cwd: Path) -> None:
        self._program = program
        self._environment = environment
        self._cwd = cwd
        self._ids = itertools.count(1)
        self._thread = ""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            self._program,
            "app-server",
            "--listen",
            "stdio://",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            limit=LINE_MAX,
            env=self._environment,
            cwd=self._cwd,
        )
        client = {"name": "bench", "title": "bench", "version": "1"}
        capabilities = {"experimentalApi": True, "requestAttestation": False}
        await self._call("initialize", {"clientInfo": client, "capabilities": capabilities})
        self._send({"method": "initialized"})
        await self._converse()

    async def _converse(self) -> None:
        terms = {"cwd": str(self._cwd), "approvalPolicy": "never", "sandbox": "workspace-write"}
        self._thread = (await self._call("thread/start", terms))["thread"]["id"]

    async def anew(self, prompt: str) -> float:
        kept = self._thread
        began = time.perf_counter()
        await self._converse()
        await self.turn(prompt)
        taken = time.perf_counter() - began
        self._thread = kept
        return taken

    async def turn(self, prompt: str) -> float:
        began = time.perf_counter()
        said = {"type": "text", "text": prompt, "text_elements": list[Any]()}
        self._send(
            {
                "id": next(self._ids),
                "method": "turn/start",
                "params": {"threadId": self._thread, "input": [said]},
            }
        )
        while (message := await self._next()).get("method") != "turn/completed":
            pass
        taken = time.perf_counter() - began
        if message["params"]["turn"]["status"] != "completed":
            raise FailedError(str(message))
        return taken

    async def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()  # it ends at once, with what it runs
            await self._process.wait()

    async def _call(self, method: str, params: json.JsonObject) -> json.JsonObject:
        number = next(self._ids)
        self._send({"id": number, "method": method, "params": params})
        while (message := await self._next()).get("id") != number or "method" in message:
            pass
        if "result" not in message:
            raise FailedError(f"{method}: {message}")
        return message["result"]

    def _send(self, message: json.JsonObject) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.encode(message).encode() + b"\n")

    async def _next(self) -> json.JsonObject:
        assert self._process is not None
        assert self._process.stdout is not None
        if line := await self._process.stdout.readline():
            return json.decode_object(line)
        raise FailedError("codex app-server ended")


class BareClaude:
    """ClaudeSDKClient, connected once; a turn ends with its ResultMessage."""

    def __init__(self, program: Path, environment: Mapping[str, str], cwd: Path) -> None:
        environment = dict(environment)
        if os.geteuid() == 0:
            environment["IS_SANDBOX"] = "1"  # else it does not skip permissions
        environment["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
        self._options = ClaudeAgentOptions(
            cwd=cwd,
            cli_path=program,
            env=environment,
            permission_mode="bypassPermissions",
            setting_sources=[],
            system_prompt={"type": "preset", "preset": "claude_code"},
            max_buffer_size=LINE_MAX,
        )
        self._client = ClaudeSDKClient(self._options)

    async def start(self) -> None:
        await self._client.connect()

    async def anew(self, prompt: str) -> float:
        kept, self._client = self._client, ClaudeSDKClient(self._options)
        try:
            began = time.perf_counter()
            await self.start()
            await self.turn(prompt)
            taken = time.perf_counter() - began
            await self.close()
        finally:
            self._client = kept
        return taken

    async def turn(self, prompt: str) -> float:
        began = time.perf_counter()
        await self._client.query(prompt)
        result: ResultMessage | None = None
        async for message in self._client.receive_response():
            if isinstance(message, ResultMessage):
                result = message
        taken = time.perf_counter() - began
        if result is None or result.is_error:
            raise FailedError(str(result))
        return taken

    async def close(self) -> None:
        await self._client.disconnect()
