"""A foreign agent that a test plays by hand: each method answers what the test says, in any shape."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.core import json
from gateway.core.face.serving import Listener
from tests.gateway.foreigners import card_of, liar

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A JSON-RPC error."""

    code: int
    text: str = "no"


@dataclass(frozen=True, slots=True)
class Broken:
    """The request arrives; its answer does not."""

    status: int = 500


# One answer: a result, the items of a stream, an error, or what makes one of the params.
Reply: TypeAlias = Json | list[Json] | Refusal | Broken | Callable[[Json], Any]


@dataclass(frozen=True, slots=True)
class Turns:
    replies: tuple[Reply, ...]


@dataclass(slots=True)
class Script:
    """What each method answers: always the same, one after another (the last one stays), or what a
    function makes of the params. A method without an answer does not exist."""

    parts: dict[str, Reply | Turns]
    calls: list[tuple[str, Json]] = field(default_factory=list[tuple[str, Json]])
    _called: dict[str, anyio.Event] = field(default_factory=dict[str, anyio.Event])

    def count(self, *methods: str) -> int:
        return sum(method in methods for method, _ in self.calls)

    def heard(self, method: str = "SendStreamingMessage") -> list[Json]:
        """The messages that came by this method."""
        return [params["message"] for name, params in self.calls if name == method]

    async def called(self, method: str, times: int = 1) -> None:
        with anyio.fail_after(30):
            while self.count(method) < times:
                await self._called.setdefault(method, anyio.Event()).wait()

    async def answer(self, request: Request) -> Response:
        body = json.decode_object(await request.body())
        method, number = str(body["method"]), int(body["id"])
        params = json.as_object(body.get("params"))
        part = self.parts.get(method, Refusal(-32601, "method not found"))
        nth = self.count(method)
        self.calls.append((method, params))
        self._called.pop(method, anyio.Event()).set()
        reply = part.replies[min(nth, len(part.replies) - 1)] if isinstance(part, Turns) else part
        return _response(reply(params) if callable(reply) else reply, number)


def turns(*replies: Reply) -> Turns:
    """The first answer, the second, ...; the last one stays."""
    return Turns(replies)


def _response(
    reply: Json | list[Json] | Refusal | Broken | AsyncGenerator[Json, None], number: int
) -> Response:
    if isinstance(reply, Broken):
        return Response(status_code=reply.status)
    if isinstance(reply, Refusal):
        error = {"code": reply.code, "message": reply.text}
        body = json.encode({"jsonrpc": "2.0", "id": number, "error": error})
        return Response(body, media_type="application/json")
    if isinstance(reply, dict):
        body = json.encode({"jsonrpc": "2.0", "id": number, "result": reply})
        return Response(body, media_type="application/json")
    return StreamingResponse(_stream(reply, number), media_type="text/event-stream")


async def _stream(
    reply: list[Json] | AsyncGenerator[Json, None], number: int
) -> AsyncGenerator[str, None]:
    if isinstance(reply, list):
        for item in reply:
            yield _line(item, number)
        return
    async with aclosing(reply):
        async for item in reply:
            yield _line(item, number)


def _line(item: Json, number: int) -> str:
    return f"data: {json.encode({'jsonrpc': '2.0', 'id': number, 'result': item})}\n\n"


@asynccontextmanager
async def playing(script: Script, *, streaming: bool = True) -> AsyncGenerator[Listener, None]:
    """The agent on a real socket."""

    def card(url: str) -> Json:
        return card_of(url, capabilities={"streaming": streaming})

    async with liar(script.answer, card) as listener:
        yield listener


# -- what agents say -----------------------------------------------------------------------------


def said(text: str, message_id: str, role: str = "AGENT") -> Json:
    return {"messageId": message_id, "role": f"ROLE_{role}", "parts": [{"text": text}]}


def made(text: str, artifact_id: str = "a-1") -> Json:
    return {"artifactId": artifact_id, "name": artifact_id, "parts": [{"text": text}]}


def task(state: str, message: Json | None = None, **more: Any) -> Json:
    """A task, as GetTask answers it; `{"task": task(...)}` in streams."""
    status = {"state": f"TASK_STATE_{state}", **({"message": message} if message else {})}
    return {"id": "t-1", "contextId": "c-1", "status": status, **more}


def update(state: str, message: Json | None = None, **more: Any) -> Json:
    status = {"state": f"TASK_STATE_{state}", **({"message": message} if message else {})}
    return {"statusUpdate": {"taskId": "t-1", "contextId": "c-1", "status": status, **more}}


def piece(text: str, artifact_id: str = "a-1", **more: Any) -> Json:
    item = {"taskId": "t-1", "contextId": "c-1", "artifact": made(text, artifact_id), **more}
    return {"artifactUpdate": item}


async def until(
    event: anyio.Event, *first: Json, then: tuple[Json, ...] = ()
) -> AsyncGenerator[Json, None]:
    """A live stream: `first`, and `then` when the event has come."""
    for item in first:
        yield item
    await event.wait()
    for item in then:
        yield item
