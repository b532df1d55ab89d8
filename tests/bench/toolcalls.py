"""Callers of the tools that cost nearly nothing: a relay's pipes, or /mcp over one connection.

Knows JSON-RPC and the two eras of MCP; no SDK, so that what is measured is the bridge.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

import anyio

from gateway.core import json
from gateway.core.json import JsonObject, as_object
from tests.bench.caller import RefusedError, Target

Era = Literal["2025", "2026"]
ERAS: Final[tuple[Era, ...]] = ("2025", "2026")
VERSION: Final[Mapping[Era, str]] = {"2025": "2025-06-18", "2026": "2026-07-28"}
RELAY: Final = (sys.executable, "-P", "-m", "mcp_bridge.stdio")
LINE_MOST: Final = 2**24
END_S: Final = 10.0
PLAIN: Final[JsonObject] = {"name": "bench", "version": "1"}
TERMINAL: Final = frozenset({"completed", "failed", "cancelled", "rejected"})


class Caller(Protocol):
    """Asks one thing at a time."""

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        """The result. Raises: RefusedError."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Numbers:
    """The requests of one client, as its SDK would write them."""

    era: Era
    last: int = 0

    def request(self, method: str, params: JsonObject) -> JsonObject:
        self.last += 1
        meta: JsonObject = {"progressToken": self.last}
        if self.era == "2026":
            meta["io.modelcontextprotocol/protocolVersion"] = VERSION["2026"]
            meta["io.modelcontextprotocol/clientInfo"] = PLAIN
            meta["io.modelcontextprotocol/clientCapabilities"] = {}
        params = {**params, "_meta": meta}
        return {"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}

    def result(self, line: bytes) -> JsonObject | None:
        """The result in a message, if it is the answer to the last request. Raises: RefusedError."""
        message = json.decode_object(line)
        if message.get("id") != self.last:
            return None
        if "result" not in message or as_object(message["result"]).get("isError"):
            raise RefusedError(line.decode()[:500])
        return as_object(message["result"])


HELLO: Final[JsonObject] = {
    "protocolVersion": VERSION["2025"],
    "capabilities": {},
    "clientInfo": PLAIN,
}


class Pipe:
    """A relay as a client starts it. `started`: seconds from its start to `initialize` answered."""

    def __init__(self, process: asyncio.subprocess.Process, era: Era) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.started = 0.0
        self._in, self._out = process.stdin, process.stdout
        self._numbers = Numbers(era)

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        self._in.write(json.encode(self._numbers.request(method, params)).encode() + b"\n")
        while line := await self._out.readline():
            if (result := self._numbers.result(line)) is not None:
                return result
        raise RefusedError("the relay ended")

    def close(self) -> None:
        self._in.close()


@asynccontextmanager
async def pipe(
    environment: Mapping[str, str], cwd: Path, era: Era = "2025", *arguments: str
) -> AsyncGenerator[Pipe]:
    """A relay that has shaken hands, as its era does."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *RELAY,
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=cwd,
        limit=LINE_MOST,
    )
    caller = Pipe(process, era)
    try:
        if era == "2025":
            await caller.ask("initialize", HELLO)
        else:
            await caller.ask("server/discover", {})
        caller.started = time.perf_counter() - began
        yield caller
    finally:
        caller.close()
        with anyio.CancelScope(shield=True), anyio.move_on_after(END_S):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


@dataclass(slots=True)
class Wire:
    """/mcp on one kept connection, as the HTTP clients of agents do."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    port: int
    token: str
    numbers: Numbers = field(default_factory=lambda: Numbers("2025"))

    async def ask(self, method: str, params: JsonObject) -> JsonObject:
        body = json.encode(self.numbers.request(method, params)).encode()
        self.writer.write(b"".join((self._head(method, params, len(body)), body)))
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RefusedError(head.decode())
        content = await self._content(head.lower())
        for line in content.splitlines():
            if line.startswith((b"{", b"data:")):
                result = self.numbers.result(line.removeprefix(b"data:"))
                if result is not None:
                    return result
        raise RefusedError(f"no answer in {content[:500]!r}")

    def _head(self, method: str, params: JsonObject, length: int) -> bytes:
        era = self.numbers.era
        lines = [
            "POST /mcp HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {self.token}",
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            f"Content-Length: {length}",
            f"MCP-Protocol-Version: {VERSION[era]}",
        ]
        if era == "2026":
            lines.append(f"Mcp-Method: {method}")
            if "name" in params:
                lines.append(f"Mcp-Name: {params['name']}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def _content(self, head: bytes) -> bytes:
        if (at := head.find(b"content-length:")) >= 0:
            return await self.reader.readexactly(int(head[at + 15 :].split(b"\r\n", 1)[0]))
        pieces: list[bytes] = []
        while size := int(await self.reader.readline(), 16):
            pieces.append((await self.reader.readexactly(size + 2))[:-2])
        await self.reader.readline()
        return b"".join(pieces)

    def close(self) -> None:
        self.writer.close()


async def wire(target: Target, era: Era = "2025") -> Wire:
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=LINE_MOST)
    return Wire(reader, writer, target.port, target.token, Numbers(era))


async def call(caller: Caller, tool: str, **arguments: object) -> JsonObject:
    """The structured result of a tool. Raises: RefusedError."""
    result = await caller.ask("tools/call", {"name": tool, "arguments": arguments})
    return as_object(result["structuredContent"])


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds from the call of spawn_run, and of one poll after all was read."""

    run_id: str
    spawned: float
    terminal: float
    polled: float
    events: int
    polls: int


async def run(caller: Caller, asked: JsonObject, *, again: bool = True) -> Run:
    """Spawn, poll until terminal, and (`again`) poll once more. Raises: RefusedError."""
    began = time.perf_counter()
    run_id = (await call(caller, "spawn_run", **asked))["run_id"]
    spawned = time.perf_counter() - began
    after = events = polls = 0
    while True:
        page = await call(caller, "poll_events", run_id=run_id, after_seq=after)
        after, events, polls = page["next_after_seq"], events + len(page["events"]), polls + 1
        if page["status"] in TERMINAL and not page["has_more"]:
            break
    terminal = time.perf_counter() - began
    if page["status"] != "completed":
        raise RefusedError(f"run {run_id} is {page['status']}")
    if again:
        began = time.perf_counter()
        await call(caller, "poll_events", run_id=run_id, after_seq=after)
    return Run(run_id, spawned, terminal, time.perf_counter() - began, events, polls)
