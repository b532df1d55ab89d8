"""JSON-RPC client of one `codex app-server` process: calls out, messages in, routed by thread.

Knows the wire (JSON lines without a version member) and how the process ends; knows no run, no
event and no meaning of a message.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.core import json
from gateway.core.json import JsonObject, as_object
from wrappers.codex.router import CodexGoneError, Inbox, Router
from wrappers.codex.wire import RequestId
from wrappers.processes.process import Child, spawn

OVERRIDES: Final = (
    "analytics.enabled=false",  # whatever config.toml says: no telemetry
    "features.plugins=false",  # looks plugins up at two hosts otherwise
    "features.unbounded_connection_retries=false",  # an unreachable model would retry for ever
    "check_for_update_on_startup=false",
    "tools.update_plan.enabled=true",  # off by default: no todo list
    "features.default_mode_request_user_input=true",  # else questions exist in plan mode only
    "suppress_unstable_features_warning=true",
    "thread_unload_delay_secs=0",  # what is unsubscribed is unloaded, not kept for half an hour
)
# Notifications nobody reads; not sending them saves parsing. A message's text comes whole with its
# item: in pieces it would fill the callers' contexts with what they are told again.
QUIET: Final = (
    "account/rateLimits/updated",
    "app/list/updated",
    "item/agentMessage/delta",
    "item/plan/delta",
    "item/reasoning/summaryPartAdded",
    "item/reasoning/summaryTextDelta",
    "item/reasoning/textDelta",
    "remoteControl/status/changed",
    "skills/changed",
    "thread/readState/changed",
    "thread/settings/updated",
)
CALL_TIMEOUT_S: Final = 60.0  # the slowest answer seen is thread/start with an MCP server, 1.8 s
OVERLOADED: Final = -32001  # "Server overloaded; retry later."
UNKNOWN_METHOD: Final = -32601
RETRIES: Final = 5  # with doubling pauses from 0.1 s: 3 s in all
KILL_S: Final = 0.7  # of the 2 s of a cancel; a killed tree was gone within 50 ms

log = logging.getLogger(__name__)


class RpcError(Exception):
    """The app-server refused a call; `code` is JSON-RPC's."""

    def __init__(self, method: str, error: Mapping[str, Any]) -> None:
        self.code = error.get("code")
        self.text = str(error.get("message", "no reason given"))
        super().__init__(f"codex refused {method}: {self.text}")


class CodexClient:
    """Owns the process and its two readers; ends them in `close`."""

    def __init__(self, child: Child) -> None:
        self.threads: dict[str, JsonObject] = {}  # those that are loaded, and with what settings
        self._child = child
        self._ids = itertools.count(1)
        self._calls: dict[int, asyncio.Future[JsonObject]] = {}
        self._router = Router()
        self._gone: CodexGoneError | None = None
        self._stderr: deque[str] = deque(maxlen=20)
        self._readers = (
            asyncio.create_task(self._read(), name="codex stdout"),
            asyncio.create_task(self._read_stderr(), name="codex stderr"),
        )

    @classmethod
    async def start(
        cls, binary: Path, *, cwd: Path, env: Mapping[str, str], overrides: tuple[str, ...] = ()
    ) -> "CodexClient":
        """Start the process and shake hands. Raises: CodexGoneError, RpcError, OSError."""
        options = [part for setting in (*OVERRIDES, *overrides) for part in ("-c", setting)]
        argv = [str(binary), *options, "app-server", "--listen", "stdio://"]
        client = cls(await spawn(argv, cwd=cwd, env=env, tag="codex"))
        try:
            await client.call("initialize", _HELLO)
            client._send({"method": "initialized"})
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def alive(self) -> bool:
        return self._gone is None

    @property
    def mark(self) -> str:
        """What marks its processes, see `process.sweep`."""
        return self._child.mark

    async def call(
        self, method: str, params: JsonObject | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> JsonObject:
        """The result of a call. Raises: RpcError, CodexGoneError (also when no answer comes)."""
        for attempt in itertools.count():
            try:
                return await self._call_once(method, params, timeout_s)
            except RpcError as exc:
                if exc.code != OVERLOADED or attempt >= RETRIES:
                    raise
            await asyncio.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable")

    async def _call_once(
        self, method: str, params: JsonObject | None, timeout_s: float
    ) -> JsonObject:
        number = next(self._ids)
        future: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            self._send({"id": number, "method": method, "params": params or {}})
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError as exc:
            raise CodexGoneError(f"codex did not answer {method} in {timeout_s:.0f} s") from exc
        finally:
            del self._calls[number]
        if (error := answer.get("error")) is not None:
            raise RpcError(method, as_object(error))
        return as_object(answer.get("result"))

    def reply(self, request_id: RequestId, result: JsonObject) -> None:
        """Answer a request of the app-server; too late is no error."""
        with contextlib.suppress(CodexGoneError):
            self._send({"id": request_id, "result": result})

    def refuse(self, request_id: RequestId, text: str) -> None:
        """Answer a request with an error: Codex then fails closed."""
        with contextlib.suppress(CodexGoneError):
            self._send({"id": request_id, "error": {"code": UNKNOWN_METHOD, "message": text}})

    def listen(self, thread: str) -> Inbox:
        """The messages of `thread` and of its sub-agents from now on, and the end of the process."""
        inbox = self._router.listen(thread)
        if self._gone is not None:
            inbox.put_nowait(self._gone)
        return inbox

    def unlisten(self, thread: str) -> None:
        self._router.unlisten(thread)

    def sub_agents(self, thread: str) -> list[str]:
        """The threads that were seen to work for `thread`."""
        return self._router.sub_agents(thread)

    def forget(self, thread: str) -> None:
        self._router.forget(thread)

    async def close(self) -> None:
        """End the process with everything it started, and wait for it."""
        self._end("codex app-server was stopped")
        try:
            await self._child.close()
        finally:
            await asyncio.gather(*self._readers, return_exceptions=True)

    async def kill(self, why: str) -> None:
        """End a process that answers no more; what it had started has ended, or soon will."""
        self._child.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_S):
                await self._child.wait()
        self._end(why)

    # -- the wire ------------------------------------------------------------------------------

    def _send(self, message: JsonObject) -> None:
        if self._gone is not None:
            raise self._gone
        if self._child.stdin.is_closing():  # it was killed, and its end was not read yet
            raise CodexGoneError("codex app-server takes nothing any more")
        self._child.stdin.write(json.encode(message).encode() + b"\n")

    async def _read(self) -> None:
        try:
            while line := await self._child.stdout.readline():
                self._take(line)
        except (OSError, ValueError) as exc:  # ValueError: a line beyond the stream's limit
            log.warning("codex app-server: cannot read on: %s", exc)
            self._child.terminate()
        code = await self._child.wait()
        if self._gone is None:
            log.warning("codex app-server ended with code %s: %s", code, " | ".join(self._stderr))
        self._end(f"codex app-server ended with code {code}")

    def _take(self, line: bytes) -> None:
        try:
            message = json.decode_object(line)
        except ValueError:
            log.warning("codex app-server wrote a line that is no JSON object")
            return
        number = message.get("id")
        if "method" not in message:
            future = self._calls.get(number) if isinstance(number, int) else None
            if future is not None and not future.done():
                future.set_result(message)
            return
        params = as_object(message.get("params"))
        if not self._router.route(str(message["method"]), params, number) and number is not None:
            self.refuse(number, "nobody works on this thread now")

    async def _read_stderr(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := await self._child.stderr.readline():
                text = line.decode(errors="replace").rstrip()
                self._stderr.append(text)
                log.debug("codex: %s", text)

    def _end(self, text: str) -> None:
        if self._gone is not None:
            return
        self._gone = CodexGoneError(text)
        for future in self._calls.values():
            if not future.done():
                future.set_exception(self._gone)
        self._router.end(self._gone)


_HELLO: Final[JsonObject] = {
    "clientInfo": {"name": "a2a_gateway", "title": "A2A gateway", "version": "1"},
    "capabilities": {
        "experimentalApi": True,
        "requestAttestation": False,
        "optOutNotificationMethods": list(QUIET),
    },
}
