"""A scripted Responses endpoint: the prompt is the script, so the real Codex CLI runs offline.

Knows nothing of the gateway; the script's verbs stand in `openai_script`. It keeps no state but
the count of refusals (`@http`).

    python -m tests.models.openai_responses --port 0       (prints its base URL)
"""

import argparse
import asyncio
import itertools
import json
import socket
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.models.openai_script import (
    CALLS,
    OWN,
    TEXTS,
    Json,
    Script,
    Step,
    lines,
    new_id,
    read_script,
)

MODEL = "gpt-5.5"  # has the plain exec_command, apply_patch and update_plan tools
CODING = "gpt-6-sol"  # has one tool, and calls all others from the JavaScript that it gives it
KEY_NAME = "SCRIPTED_MODEL_KEY"
KEY = "sk-scripted-model"  # no word of a text: what is told of runs has keys masked
USAGE: Json = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 200},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 10},
    "total_tokens": 1050,
}


@dataclass
class _Reply:
    """One response's stream of server-sent events."""

    model: str
    output: list[Json] = field(default_factory=list[Json])
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    id: str = field(default_factory=lambda: new_id("resp"))

    def event(self, kind: str, **more: object) -> bytes:
        data = {"type": f"response.{kind}", "sequence_number": next(self.numbers), **more}
        return f"event: response.{kind}\ndata: {json.dumps(data)}\n\n".encode()

    def response(self, status: str, **more: object) -> Json:
        return {"id": self.id, "object": "response", "model": self.model, "status": status, **more}

    def item(self, item: Json, started: Json, *deltas: Json) -> Iterator[bytes]:
        where: Json = {"output_index": len(self.output)}
        yield self.event("output_item.added", item=started, **where)
        for delta in deltas:
            kind = delta.pop("kind")
            yield self.event(kind, item_id=item["id"], **where, **delta)
        yield self.event("output_item.done", item=item, **where)
        self.output.append(item)

    def call(self, item: Json) -> Iterator[bytes]:
        kind, key = "function_call_arguments", "arguments"
        if item["type"] == "custom_tool_call":
            kind, key = "custom_tool_call_input", "input"
        delta = {"kind": f"{kind}.delta", "delta": item[key], "call_id": item["call_id"]}
        return self.item(item, item, delta, {"kind": f"{kind}.done", key: item[key]})

    def reasoning(self, text: str) -> Iterator[bytes]:
        part = {"type": "summary_text", "text": text}
        item: Json = {"type": "reasoning", "id": new_id("rs"), "summary": [part], "content": None}
        item["encrypted_content"] = "c2NyaXB0ZWQ="
        at: Json = {"summary_index": 0}
        return self.item(
            item,
            {**item, "summary": []},
            {"kind": "reasoning_summary_part.added", "part": {**part, "text": ""}, **at},
            {"kind": "reasoning_summary_text.delta", "delta": text, **at},
            {"kind": "reasoning_summary_text.done", "text": text, **at},
        )

    async def text(self, pieces: list[str], phase: str, pause: float = 0.0) -> AsyncIterator[bytes]:
        whole = {"type": "output_text", "text": "".join(pieces), "annotations": list[Json]()}
        item: Json = {"type": "message", "id": new_id("msg"), "role": "assistant", "phase": phase}
        item |= {"status": "completed", "content": [whole]}
        at: Json = {"kind": "output_text.delta", "content_index": 0}
        started: Json = {**item, "status": "in_progress", "content": []}
        for chunk in self.item(item, started, *({**at, "delta": piece} for piece in pieces)):
            yield chunk
            if pause and b"output_text.delta" in chunk:
                await asyncio.sleep(pause)

    def ending(self, step: Step) -> bytes | None:
        """The last bytes of a response that does not complete; None when `step` is none of it."""
        match step.verb:
            case "fail":
                code, _, message = step.rest.partition(" ")
                error = {"code": code, "message": message or code}
                return self.event("failed", response=self.response("failed", error=error))
            case "incomplete":
                details = {"reason": "max_output_tokens"}
                response = self.response("incomplete", incomplete_details=details)
                return self.event("incomplete", response=response)
            case "cut":
                return b""
            case "garbage":
                return b"event: response.output_item.done\ndata: {no json\n\n"
            case _:
                return None

    async def stream(self, script: Script) -> AsyncIterator[bytes]:
        yield self.event("created", response=self.response("in_progress"))
        for step in script.steps:
            if (end := self.ending(step)) is not None:
                yield end
                return
            async for chunk in self._step(step, script):
                yield chunk
        done = self.response("completed", output=self.output, usage=_usage(script))
        yield self.event("completed", response=done)

    async def _step(self, step: Step, script: Script) -> AsyncIterator[bytes]:
        match step.verb:
            case "sleep":
                await asyncio.sleep(float(step.rest))
            case verb if verb in TEXTS:
                async for chunk in self._text(step, script):
                    yield chunk
            case _:
                for chunk in self._at_once(step):
                    yield chunk

    def _at_once(self, step: Step) -> Iterator[bytes]:
        match step.verb:
            case verb if verb in CALLS:
                return self.call(CALLS[verb](step.rest))
            case verb if verb in OWN:
                item = OWN[verb](step.rest)
                return self.item(item, {**item, "status": "in_progress"})
            case "reason":
                return self.reasoning(step.rest)
            case _:
                return iter(())

    def _text(self, step: Step, script: Script) -> AsyncIterator[bytes]:
        phase = TEXTS[step.verb]
        if step.verb == "results":
            return self.text([script.heard], phase)
        if step.verb == "stream":
            times, delay, text = step.rest.split(" ", 2)
            return self.text([text] * int(times), phase, float(delay))
        return self.text([lines(step.rest)], phase)


def _usage(script: Script) -> Json:
    said = [int(step.rest) for step in script.steps if step.verb == "tokens"]
    size = said[-1] if said else USAGE["input_tokens"]
    return {**USAGE, "input_tokens": size, "total_tokens": size + USAGE["output_tokens"]}


# -- the endpoint -------------------------------------------------------------------------------


class Endpoint:
    """The app, the requests it saw (`headers` beside them), and how often it refused."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self._refused: Counter[str] = Counter()
        self.app = Starlette(
            routes=[
                Route("/v1/responses", self._responses, methods=["POST"]),
                Route("/v1/models", self._models),
            ]
        )

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [], "models": []})

    async def _responses(self, request: Request) -> Response:
        body: Json = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        script = read_script(body)
        for step in list(script.steps):
            if step.verb == "http" and (refusal := self._refusal(step, script)) is not None:
                return refusal
            if step.verb == "cut" and self._over(step.rest.split(), script):
                script.steps.remove(step)
        stream = _Reply(str(body.get("model"))).stream(script)
        return StreamingResponse(stream, media_type="text/event-stream")

    def _refusal(self, step: Step, script: Script) -> Response | None:
        code, *times = step.rest.split()
        if self._over(times, script):
            return None
        name = {"401": "invalid_api_key", "429": "rate_limit_exceeded"}.get(code, "server_error")
        error = {"message": f"scripted {code}", "type": "scripted", "code": name}
        return JSONResponse({"error": error}, status_code=int(code))

    def _over(self, times: list[str], script: Script) -> bool:
        """Whether a script has been refused as often as it wants to be."""
        self._refused[script.prompt] += 1
        return bool(times) and self._refused[script.prompt] > int(times[0])


class _Server(uvicorn.Server):
    """uvicorn in a loop that is not its own: the process's signals are left alone."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def running(port: int = 0) -> AsyncGenerator[Endpoint]:
    """The endpoint on a loopback port of its own, in this event loop."""
    endpoint = Endpoint()
    with socket.create_server(("127.0.0.1", port), backlog=256) as listener:
        endpoint.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        server = _Server(
            uvicorn.Config(
                endpoint.app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield endpoint
        finally:
            server.should_exit = True
            await serving


def codex_home(
    folder: Path,
    base_url: str,
    *,
    extra: str = "",
    tables: str = "",
    key_name: str = KEY_NAME,
    model: str = MODEL,
) -> dict[str, str]:
    """A private CODEX_HOME that points at the endpoint; returns what the environment needs.

    `extra` are further lines for the top of config.toml, `tables` further tables for its end;
    `key_name` is the variable of the API key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = f"""\
model = "{model}"
model_provider = "scripted"
check_for_update_on_startup = false
{extra}
[model_providers.scripted]
name = "scripted"
base_url = "{base_url}"
wire_api = "responses"
env_key = "{key_name}"
request_max_retries = 1
stream_max_retries = 1

[features]
plugins = false

[analytics]
enabled = false
{tables}
"""
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return {"CODEX_HOME": str(folder), key_name: KEY, "A2A_AGENT_PASS_ENV": key_name}


async def _main(port: int) -> None:
    async with running(port) as endpoint:
        sys.stdout.write(f"{endpoint.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="scripted Responses endpoint")
    parser.add_argument("--port", type=int, default=0)
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args().port))
