"""The streaming A2A methods: our own bytes, numbered, replayed, never dropped.

Knows HTTP and runs. A stream reads the log at its reader's pace, so a slow reader costs nothing and
misses nothing; a reader that comes back with `Last-Event-ID` gets every later event exactly once.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

import anyio
from a2a.utils.error_handlers import build_rest_error_payload
from a2a.utils.errors import A2AError, InvalidParamsError, UnsupportedOperationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.core import extension, json
from gateway.core.errors import ReplayError, replay_expired
from gateway.core.face import wire
from gateway.core.face.caller import Caller, until_gone
from gateway.core.face.operations import Operations
from gateway.core.face.params import read_send, read_task
from gateway.core.face.pulse import Line, Pulse
from gateway.core.face.refusals import going_away, jsonrpc_error, translated
from gateway.core.face.wire import Item, TaskItems
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.status import TERMINAL, WAITING, RunStatus
from gateway.core.store.entry import Recorded

BATCH: Final = 64 * 1024  # bytes of one write: what a reader that takes nothing holds in memory
# What clients that split lines as Unicode does (httpx, so the Python SDK) take for a line's end:
# JSON lets these three stand in a string as they are.
_LINE_ENDS: Final = {char.encode(): b"\\u%04x" % ord(char) for char in "\x85\u2028\u2029"}


def _as_it_is(item: bytes) -> bytes:
    return item


@dataclass(frozen=True, slots=True)
class Framing:
    """How a transport wraps an item, and how it says an error inside a stream.

    `dress` turns an item into the form of another version of the protocol.
    """

    head: bytes
    tail: bytes
    error: Callable[[A2AError], JsonObject]
    dress: Callable[[bytes], bytes] = _as_it_is

    def encode(self, items: Sequence[Item]) -> bytes:
        pieces: list[bytes] = []
        for item in items:
            if item.seq is not None:
                pieces.append(b"id: %d\n" % item.seq)
            body = _one_line(self.dress(item.body))
            pieces += (b"data: ", self.head, body, self.tail, b"\n\n")
        return b"".join(pieces)

    def encode_error(self, error: A2AError) -> bytes:
        return b"event: error\ndata: %b\n\n" % _one_line(json.dump(self.error(error)))


def _one_line(text: bytes) -> bytes:
    if not text.isascii():
        for char, escaped in _LINE_ENDS.items():
            if char in text:
                text = text.replace(char, escaped)
    return text


def jsonrpc_framing(
    request_id: str | float | None, dress: Callable[[bytes], bytes] = _as_it_is
) -> Framing:
    head = f'{{"jsonrpc":"2.0","id":{json.encode(request_id)},"result":'
    return Framing(head.encode(), b"}", lambda error: jsonrpc_error(request_id, error), dress)


def rest_framing(dress: Callable[[bytes], bytes] = _as_it_is) -> Framing:
    return Framing(b"", b"", build_rest_error_payload, dress)


@dataclass(slots=True, kw_only=True)
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

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self.pulse = Pulse()

    async def send(self, caller: Caller, params: object) -> Subscription:
        """SendStreamingMessage: the task as it is once the message has arrived, then what follows;
        with `Last-Event-ID` every event after that one, so that nothing lies between.

        Raises: A2AError.
        """
        with translated("SendStreamingMessage"):
            self._operations.admit(caller)
            asked = read_send(params)
            sent = await self._operations.send(caller, asked)
            if (reply := await self._operations.reply(caller, asked, sent.run)) is not None:
                return _only(caller, sent.run, reply)
            if caller.extended and caller.last_event_id is not None:
                return await self._from_there(caller, sent.run)
            granted = await self._from_now(caller, sent.run)
            granted.over = sent.run.status in WAITING and not caller.extended
            return granted

    async def subscribe(self, caller: Caller, params: object) -> Subscription:
        """SubscribeToTask: a replay for those who say where they were, else snapshot and live.

        Raises: A2AError.
        """
        with translated("SubscribeToTask"):
            self._operations.admit(caller)
            run = await self._operations.run(caller, read_task(params).id)
            if caller.extended and caller.last_event_id is not None:
                return _replay(caller, run)
            if run.terminal:
                raise UnsupportedOperationError(
                    f"task {run.id} is already {run.status}; ask for it with GetTask",
                    {"code": "run_ended"},
                )
            return await self._from_now(caller, run)

    async def _from_there(self, caller: Caller, run: Run) -> Subscription:
        """The bare task (its ids, its log), then the events: they tell the rest. No SSE id on it,
        the reader's cursor stays where it was."""
        task = await self._operations.task(caller, run, history=0, artifacts=False)
        return replace(_replay(caller, run), first=Item(body=_first(task)))

    async def _from_now(self, caller: Caller, run: Run) -> Subscription:
        task = await self._operations.task(caller, run)
        return Subscription(
            caller=caller,
            run=run,
            first=Item(body=_first(task), seq=run.last_seq or None),
            after=run.last_seq,
            seen=run.status,
        )

    async def batches(self, granted: Subscription) -> AsyncGenerator[list[Item]]:
        """The items of a stream, in batches of a size that may be encoded at once.

        An idle stream keeps nothing that was sent: a thousand of them wait at the same time.
        """
        if granted.first is not None:
            batch, granted.first = [granted.first], None
            yield batch
            batch.clear()
        if granted.over:
            return
        run, caller = granted.run, granted.caller
        items = TaskItems(run.id, run.context_id, extended=caller.extended)
        seen = granted.seen
        follow = self._operations.tasks.follow(caller.principal, run.id, after=granted.after)
        async with aclosing(follow):
            async for events in follow:
                batch: list[Item] = []
                size = 0
                for event in events:
                    made = items.items(event, seen, await self._whole(run, event))
                    batch += made
                    over = not caller.extended and _interrupts(event, seen)
                    seen = event.status
                    size += sum(len(item.body) for item in made)
                    if batch and (over or size > BATCH):
                        yield batch
                        batch, size = [], 0
                    if over:
                        return
                events.clear()
                if batch:
                    yield batch
                    batch.clear()

    async def _whole(self, run: Run, event: Recorded) -> JsonObject | None:
        if not wire.is_split(event):
            return None
        return await self._operations.tasks.whole(run, event)


def _first(task: Sequence[bytes]) -> bytes:
    return b"".join([b'{"task":', *task, b"}"])


def _interrupts(event: Recorded, seen: RunStatus) -> bool:
    """True when a plain client's stream ends with this event: the run ended, or asks somebody."""
    if event.status in WAITING:
        return event.type in wire.ASKING_TYPES or seen not in WAITING
    return event.status in TERMINAL


def _only(caller: Caller, run: Run, reply: bytes) -> Subscription:
    """A stream of one item: specification 3.1.2, a stream with a message holds nothing else."""
    first = Item(body=reply)
    return Subscription(caller=caller, run=run, first=first, after=0, seen=run.status, over=True)


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
    if after + 1 < run.first_seq:
        raise replay_expired(run.id, run.first_seq)
    return Subscription(caller=caller, run=run, first=None, after=after, seen=run.status)


class EventStream(Response):
    """Server-sent events: the items of `granted` as they come, a sign of life when none do.

    It ends with the run, when the reader goes, or with an `error` item when the server stops.
    """

    def __init__(self, streams: Streams, granted: Subscription, framing: Framing) -> None:
        headers = {
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
        if granted.caller.extended:
            headers[extension.EXTENSIONS_HEADER] = extension.URI
        self.status_code = 200
        self.background = None
        self.init_headers(headers)
        self._streams = streams
        self._granted = granted
        self._framing = framing
        self._error: A2AError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with self._streams.pulse.keeping(send) as line:
            await self._pump_until_over(line, receive)
        ending = b"" if self._error is None else self._framing.encode_error(self._error)
        await line.write(ending, last=True)

    async def _pump_until_over(self, line: Line, receive: Receive) -> None:
        """To the end of the items, of the connection or of the server."""
        closing = self._granted.caller.closing
        with anyio.CancelScope() as over, closing.calling(over.cancel):
            watching = asyncio.create_task(until_gone(receive, over.cancel))
            try:
                await self._pump(line)
            finally:
                watching.cancel()
        if over.cancelled_caught and closing.begun:
            self._error = going_away(self._granted.run.id)

    async def _pump(self, line: Line) -> None:
        try:
            with translated(f"the stream of task {self._granted.run.id}"):
                async with aclosing(self._streams.batches(self._granted)) as batches:
                    async for batch in batches:
                        await line.write(self._framing.encode(batch))
        except A2AError as exc:
            self._error = exc
