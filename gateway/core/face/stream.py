"""The streaming A2A methods: our own bytes, numbered, replayed, never dropped.

Knows HTTP and runs. A stream reads the log at its reader's pace, so a slow reader costs nothing and
misses nothing; a reader that comes back with `Last-Event-ID` gets every later event exactly once.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

import anyio
from a2a.server.request_handlers.response_helpers import build_error_response
from a2a.types import SendMessageRequest
from a2a.utils.error_handlers import build_rest_error_payload
from a2a.utils.errors import A2AError, InvalidParamsError, UnsupportedOperationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.core import extension, json
from gateway.core.errors import ReplayError
from gateway.core.face import wire
from gateway.core.face.a2a_server import A2AServer
from gateway.core.face.caller import Caller, check_terms
from gateway.core.face.refusals import going_away, translated
from gateway.core.face.wire import Item, TaskItems
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.status import TERMINAL, WAITING, RunStatus
from gateway.core.store.entry import Recorded

KEEP_ALIVE_S: Final = 15.0  # half of the shortest idle cut of common proxies (30 s)
_LINE_ENDS: Final = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}
_KEEP_ALIVE: Final = b": keep-alive\n\n"


@dataclass(frozen=True, slots=True)
class Framing:
    """How a transport wraps an item, and how it says an error inside a stream."""

    head: bytes
    tail: bytes
    error: Callable[[A2AError], str]

    def encode(self, items: Sequence[Item]) -> bytes:
        pieces: list[bytes] = []
        for item in items:
            if item.seq is not None:
                pieces.append(b"id: %d\n" % item.seq)
            pieces += (b"data: ", self.head, _one_line(item.body).encode(), self.tail, b"\n\n")
        return b"".join(pieces)

    def encode_error(self, error: A2AError) -> bytes:
        return f"event: error\ndata: {_one_line(self.error(error))}\n\n".encode()


def _one_line(text: str) -> str:
    """`text` without what clients that split lines as Unicode does (httpx, so the Python SDK)
    take for their end: JSON lets these three stand in a string as they are."""
    return text if text.isascii() else text.translate(_LINE_ENDS)


def jsonrpc_framing(request_id: str | int | None) -> Framing:
    head = f'{{"jsonrpc":"2.0","id":{json.encode(request_id)},"result":'
    return Framing(
        head.encode(), b"}", lambda error: json.encode(build_error_response(request_id, error))
    )


REST_FRAMING: Final = Framing(b"", b"", lambda error: json.encode(build_rest_error_payload(error)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A stream that was granted: its first item, and the events it goes on with.

    `seen` is the status its reader knows of. Without the extension a stream ends when the run
    waits for somebody; `over` when that is so from the start.
    """

    caller: Caller
    run: Run
    first: Item | None
    after: int
    seen: RunStatus
    over: bool = False


class Streams:
    """Grants streams on one face's runs and carries them out."""

    def __init__(self, server: A2AServer) -> None:
        self._server = server

    async def send(self, caller: Caller, params: SendMessageRequest) -> Subscription:
        """SendStreamingMessage: the task as it is once the message has arrived, then what follows;
        with `Last-Event-ID` every event after that one, so that nothing lies between.

        Raises: A2AError.
        """
        with translated("SendStreamingMessage"):
            sent = await self._server.send(caller, params)
            if caller.extended and caller.last_event_id is not None:
                return await self._from_there(caller, sent.run)
            granted = await self._from_now(caller, sent.run)
            waits = sent.run.status in WAITING and not caller.extended
            return replace(granted, over=waits)

    async def subscribe(self, caller: Caller, run_id: str) -> Subscription:
        """SubscribeToTask: a replay for those who say where they were, else snapshot and live.

        Raises: A2AError.
        """
        with translated("SubscribeToTask"):
            check_terms(caller, self._server.face.required)
            if not run_id:
                raise InvalidParamsError("id names the task to subscribe to")
            run = await self._server.run(caller, run_id)
            if caller.extended and caller.last_event_id is not None:
                return _replay(caller, run)
            if run.terminal:
                raise UnsupportedOperationError(
                    f"task {run_id} is already {run.status}; ask for it with GetTask",
                    {"code": "run_ended"},
                )
            return await self._from_now(caller, run)

    async def _from_there(self, caller: Caller, run: Run) -> Subscription:
        """The bare task (its ids, its log), then the events: they tell the rest. No SSE id on it,
        the reader's cursor stays where it was."""
        task = await self._server.task(caller, run, history=0, artifacts=False)
        first = replace(_items(caller, run).snapshot(task, run.last_seq), seq=None)
        return replace(_replay(caller, run), first=first)

    async def _from_now(self, caller: Caller, run: Run) -> Subscription:
        items = _items(caller, run)
        task = await self._server.task(caller, run)
        return Subscription(
            caller=caller,
            run=run,
            first=items.snapshot(task, run.last_seq),
            after=run.last_seq,
            seen=run.status,
        )

    async def batches(self, granted: Subscription) -> AsyncGenerator[list[Item]]:
        """The items of a stream, in the batches the log gives them out in."""
        if granted.first is not None:
            yield [granted.first]
        if granted.over:
            return
        run, caller = granted.run, granted.caller
        items = _items(caller, run)
        seen = granted.seen
        follow = self._server.tasks.follow(caller.principal, run.id, after=granted.after)
        async with aclosing(follow):
            async for events in follow:
                batch: list[Item] = []
                over = False
                for event in events:
                    batch += items.items(event, seen, await self._whole(run, event))
                    over = not caller.extended and _interrupts(event, seen)
                    seen = event.status
                    if over:
                        break
                if batch:
                    yield batch
                if over:
                    return

    async def _whole(self, run: Run, event: Recorded) -> JsonObject | None:
        return await self._server.tasks.whole(run, event) if wire.is_split(event) else None


def _items(caller: Caller, run: Run) -> TaskItems:
    return TaskItems(run.id, run.context_id, extended=caller.extended)


def _interrupts(event: Recorded, seen: RunStatus) -> bool:
    """True when a plain client's stream ends with this event: the run ended, or asks somebody."""
    if event.status in WAITING:
        return event.type in wire.ASKING_TYPES or seen not in WAITING
    return event.status in TERMINAL


def _replay(caller: Caller, run: Run) -> Subscription:
    text = caller.last_event_id or ""
    if not text.isdecimal():
        raise InvalidParamsError("Last-Event-ID is the seq of an event, a number from 0")
    after = int(text)
    if after > run.last_seq:
        raise ReplayError(
            "replay_diverged",
            f"task {run.id} has {run.last_seq} events here, none after {after}; "
            "ask for it with GetTask",
        )
    return Subscription(caller=caller, run=run, first=None, after=after, seen=run.status)


class EventStream(Response):
    """Server-sent events: `batches` as they come, a sign of life when none do.

    It ends with the run, when the reader goes, or with an `error` item when the server stops.
    """

    media_type = "text/event-stream"

    def __init__(
        self, granted: Subscription, batches: AsyncGenerator[list[Item]], framing: Framing
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if granted.caller.extended:
            headers[extension.EXTENSIONS_HEADER] = extension.URI
        self.status_code = 200
        self.background = None
        self.init_headers(headers)
        self._granted = granted
        self._batches = batches
        self._framing = framing
        self._error: A2AError | None = None
        self._quiet = True  # nothing was sent since the last look

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._batches), anyio.create_task_group() as group:
            group.start_soon(self._until_gone, receive, group.cancel_scope)
            group.start_soon(self._until_closing, group.cancel_scope)
            group.start_soon(self._keep_alive, send)
            await self._pump(send)
            group.cancel_scope.cancel()
        ending = b"" if self._error is None else self._framing.encode_error(self._error)
        await _write(send, ending, last=True)

    async def _pump(self, send: Send) -> None:
        try:
            with translated(f"the stream of task {self._granted.run.id}"):
                async for batch in self._batches:
                    self._quiet = False
                    await _write(send, self._framing.encode(batch))
        except A2AError as exc:
            self._error = exc

    async def _until_gone(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _until_closing(self, scope: anyio.CancelScope) -> None:
        await self._granted.caller.closing.wait()
        self._error = going_away(self._granted.run.id)
        scope.cancel()

    async def _keep_alive(self, send: Send) -> None:
        while True:
            self._quiet = True
            await anyio.sleep(KEEP_ALIVE_S)
            if self._quiet:
                await _write(send, _KEEP_ALIVE)


async def _write(send: Send, body: bytes, *, last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not last})
