"""A foreign A2A 1.0 agent that costs nearly nothing: JSON-RPC and streams, none of our extension.

`python -m tests.bench.foreign` says one line of JSON when it answers. It echoes as task, artifact,
completed; `events N` makes N status messages. Keeps its tasks in memory, knows nothing of ours.
"""

import itertools
import json
import sys
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

PATH: Final = "/a2a/jsonrpc"
GROUP: Final = 32  # events of one write: an agent that has much to say

_tasks: Final[dict[str, dict[str, Any]]] = {}
_numbers: Final = itertools.count(1)


def _task(message: dict[str, Any]) -> dict[str, Any]:
    number = next(_numbers)
    task_id = f"task-{number}"
    context_id = message.get("contextId") or f"context-{number}"
    said = {**message, "taskId": task_id, "contextId": context_id}
    task = {
        "id": task_id,
        "contextId": context_id,
        "status": {"state": "TASK_STATE_SUBMITTED"},
        "history": [said],
    }
    _tasks[task_id] = task
    return task


def _events(task: dict[str, Any], text: str) -> Iterator[dict[str, Any]]:
    """Everything of a run; the task is at its end with the last of them."""
    ids = {"taskId": task["id"], "contextId": task["contextId"]}
    yield {"task": task}
    if text.startswith("events "):
        for n in range(int(text.split()[1])):
            said = {
                **ids,
                "messageId": f"{task['id']}-{n}",
                "role": "ROLE_AGENT",
                "parts": [{"text": f"status {n}"}],
            }
            status = {"state": "TASK_STATE_WORKING", "message": said}
            task["history"].append(said)
            yield {"statusUpdate": {**ids, "status": status}}
    else:
        artifact = {"artifactId": "echo", "name": "echo", "parts": [{"text": text}]}
        task["artifacts"] = [artifact]
        yield {"artifactUpdate": {**ids, "artifact": artifact, "lastChunk": True}}
    task["status"] = {"state": "TASK_STATE_COMPLETED"}
    yield {"statusUpdate": {**ids, "status": task["status"]}}


def _written(number: Any, events: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    while group := list(itertools.islice(events, GROUP)):
        items = [{"jsonrpc": "2.0", "id": number, "result": event} for event in group]
        yield b"".join(b"data: %b\n\n" % json.dumps(item).encode() for item in items)


async def _each(pieces: Iterator[bytes]) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


async def _rpc(request: Request) -> Response:
    asked = await request.json()
    method, params = asked["method"], asked["params"]
    if method in ("SendMessage", "SendStreamingMessage"):
        message = params["message"]
        text = message["parts"][0]["text"]
        events = _events(_task(message), text)
        if method == "SendStreamingMessage":
            written = _written(asked["id"], events)
            return StreamingResponse(_each(written), media_type="text/event-stream")
        task = next(events)["task"]
        for _ in events:
            pass
        result: dict[str, Any] = {"task": task}
    elif method == "GetTask" and params["id"] in _tasks:
        result = _tasks[params["id"]]
    elif method == "ListTasks":
        result = {"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0}
    else:
        error = {"code": -32001, "message": "no such task or method"}
        return JSONResponse({"jsonrpc": "2.0", "id": asked["id"], "error": error})
    return JSONResponse({"jsonrpc": "2.0", "id": asked["id"], "result": result})


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        _card["supportedInterfaces"][0]["url"] = f"http://127.0.0.1:{port}{PATH}"
        sys.stdout.write(json.dumps({"port": port, "token": ""}) + "\n")
        sys.stdout.flush()


_card: Final[dict[str, Any]] = {
    "name": "Foreign",
    "description": "Says it again.",
    "version": "1",
    "capabilities": {"streaming": True},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "skills": [{"id": "echo", "name": "Echo", "description": "Echoes.", "tags": ["echo"]}],
    "supportedInterfaces": [{"url": "", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
}


async def _show_card(_request: Request) -> Response:
    return JSONResponse(_card)


def main() -> None:
    routes = [
        Route("/.well-known/agent-card.json", _show_card),
        Route(PATH, _rpc, methods=["POST"]),
    ]
    config = uvicorn.Config(Starlette(routes=routes), port=0, log_config=None, access_log=False)
    _Server(config).run()


if __name__ == "__main__":
    main()
