"""A scripted Messages endpoint: the prompt is the script, so the real Claude Code runs offline.

Knows nothing of the gateway; the script's verbs stand in `anthropic_script`. It keeps no state but
the count of refusals (`@http`).

    python -m tests.models.anthropic_messages --port 0       (prints its URL)
"""

import argparse
import asyncio
import socket
import sys
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.core import json
from gateway.core.json import JsonObject
from tests.models.anthropic_script import Fault, Step, next_step

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Endpoint:
    """The app, the requests it saw, and how often it refused."""

    def __init__(self) -> None:
        self.requests: list[JsonObject] = []
        self.url = ""
        self._refused: Counter[tuple[str, int]] = Counter()
        self.app = Starlette(
            routes=[
                Route("/v1/messages", self._messages, methods=["POST"]),
                Route("/v1/messages/count_tokens", self._count_tokens, methods=["POST"]),
            ]
        )

    async def _count_tokens(self, request: Request) -> Response:
        return JSONResponse({"input_tokens": max(1, len(await request.body()) // 4)})

    async def _messages(self, request: Request) -> Response:
        body = json.decode_object(await request.body())
        self.requests.append(body)
        script, number, step = next_step(body)
        fault = self._due(script, number, step)
        if fault is not None and fault.kind == "http":
            return _refusal(fault)
        await asyncio.sleep(step.delay_s)
        blocks = step.blocks or [{"type": "text", "text": "done"}]
        if body.get("stream"):
            items = _stream(body, step, blocks)
            if fault is not None:
                items = _broken(fault, items)
            return StreamingResponse(items, media_type="text/event-stream", headers=step.headers)
        if fault is not None and fault.kind == "overload":
            return _refusal(Fault("http", status=529))
        if fault is not None:
            return Response(content=b'{"id": "msg_', media_type="application/json")
        return JSONResponse({**_message(body, step), "content": blocks}, headers=step.headers)

    def _due(self, script: str, number: int, step: Step) -> Fault | None:
        """The step's fault, as often as it is to happen."""
        if step.fault is None:
            return None
        self._refused[script, number] += 1
        times = step.fault.times
        return step.fault if times is None or self._refused[script, number] <= times else None


def _refusal(fault: Fault) -> JSONResponse:
    text = fault.text or f"scripted {fault.status}"
    error = {"type": _ERROR_TYPES.get(fault.status, "api_error"), "message": text}
    headers = {"retry-after": "1"} if fault.status == 429 else {}
    return JSONResponse({"type": "error", "error": error}, fault.status, headers=headers)


async def _broken(fault: Fault, items: AsyncIterator[str]) -> AsyncIterator[str]:
    """The beginning of a stream, and what goes wrong with it."""
    async for item in items:
        if "content_block_stop" in item:
            break
        yield item
    if fault.kind == "garbage":
        yield "event: content_block_delta\ndata: {this is no JSON\n\n"
    if fault.kind == "overload":
        error = {"type": "overloaded_error", "message": "Overloaded"}
        yield _sse("error", {"error": error})


def _message(body: JsonObject, step: Step) -> JsonObject:
    return {
        "id": f"msg_{uuid.uuid4().hex[:20]}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "stop_reason": step.stop_reason or ("tool_use" if step.calls_tool else "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": step.input_tokens,
            "output_tokens": 20,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }


def _sse(name: str, data: JsonObject) -> str:
    return f"event: {name}\ndata: {json.encode({'type': name, **data})}\n\n"


async def _stream(body: JsonObject, step: Step, blocks: list[JsonObject]) -> AsyncIterator[str]:
    whole = _message(body, step)
    begin: JsonObject = {**whole, "content": [], "stop_reason": None}
    yield _sse("message_start", {"message": begin})
    for index, block in enumerate(blocks):
        for pause, name, data in _block(block, step):
            await asyncio.sleep(pause)
            yield _sse(name, {"index": index, **data})
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _sse("message_delta", {"delta": delta, "usage": {"output_tokens": 20}})
    yield _sse("message_stop", {})


def _block(block: JsonObject, step: Step) -> Iterator[tuple[float, str, JsonObject]]:
    """The stream items of one content block, each with the pause before it."""
    empty: JsonObject
    deltas: list[JsonObject]
    match block["type"]:
        case "text":
            empty = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": block["text"]}] * step.chunks
        case "thinking":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case _:
            empty = {**block, "input": {}}
            partial = json.encode(block["input"])
            deltas = [{"type": "input_json_delta", "partial_json": partial}]
    yield 0, "content_block_start", {"content_block": empty}
    for delta in deltas:
        yield step.chunk_delay_s, "content_block_delta", {"delta": delta}
    yield 0, "content_block_stop", {}


# -- running it --------------------------------------------------------------------------------


def claude_home(folder: Path, base_url: str) -> dict[str, str]:
    """What a Claude Code needs to run against this endpoint, all of it below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": "sk-ant-scripted",
        "CLAUDE_CONFIG_DIR": str(folder / "claude"),
        "HOME": str(folder),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }


@asynccontextmanager
async def running(port: int = 0) -> AsyncGenerator[Endpoint]:
    """The endpoint on a loopback port of its own, in this event loop."""
    endpoint = Endpoint()
    with socket.create_server(("127.0.0.1", port)) as listener:
        endpoint.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(endpoint.app, log_level="warning", timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield endpoint
        finally:
            server.should_exit = True
            await serving


async def _main(port: int) -> None:
    async with running(port) as endpoint:
        sys.stdout.write(f"{endpoint.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="scripted Messages endpoint")
    parser.add_argument("--port", type=int, default=0)
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args().port))
