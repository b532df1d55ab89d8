"""`python -m tests.core.lag`: how long large requests keep everybody else waiting, and what a
blocking send costs the face alone.

Figures, no test. Calls go straight into the ASGI app, so client and network are not in them; the
writer and the database of a run are.
"""

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final

from starlette.types import ASGIApp, Message, Scope

from gateway.core import json
from gateway.core.face.cards import Face, Skill, build_card
from gateway.core.face.guard import Guard
from gateway.core.face.routes import FaceApp
from gateway.core.face.serving import run
from gateway.core.json import JsonObject
from gateway.core.server import task_server
from tests.core.drivers import Player
from tests.core.faces import AGENT, params

TICK_S: Final = 0.001
SENDS: Final = 500
MEBIBYTE: Final = 1024 * 1024


async def call(app: ASGIApp, method: str, parameters: JsonObject) -> bytes:
    """The body of a JSON-RPC call's answer."""
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    asked: list[Message] = [{"type": "http.request", "body": json.dump(call), "more_body": False}]
    told: list[bytes] = []
    headers = [
        (b"host", b"127.0.0.1"),
        (b"content-type", b"application/json"),
        (b"a2a-version", b"1.0"),
    ]
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/a2a/jsonrpc",
        "query_string": b"",
        "headers": headers,
        "state": {},
    }

    async def receive() -> Message:
        if not asked:
            await asyncio.get_running_loop().create_future()
        return asked.pop()

    async def send(message: Message) -> None:
        told.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(told)


async def measured(name: str, work: Awaitable[bytes]) -> bytes:
    """The outcome of `work`; says how long others had to wait meanwhile."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            since = time.perf_counter()
            await asyncio.sleep(TICK_S)
            longest = max(longest, time.perf_counter() - since - TICK_S)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(TICK_S)
    since = time.perf_counter()
    body = await work
    took = time.perf_counter() - since
    await asyncio.sleep(TICK_S)
    ticking.cancel()
    sys.stdout.write(
        f"{name:36} {took * 1000:7.1f} ms, others waited {longest * 1000:6.1f} ms at most, "
        f"{len(body) / 1e6:6.2f} MB\n"
    )
    return body


def task_id(body: bytes) -> JsonObject:
    return {"id": json.decode(body)["result"]["task"]["id"]}


async def large(app: ASGIApp) -> None:
    def send(text: str, *parts: JsonObject, **more: Any) -> JsonObject:
        return params(text, parts=[{"text": text}, *parts], **more)

    texts = [{"text": "x" * MEBIBYTE}] * 3
    sent = await measured("send 3 MiB", call(app, "SendMessage", send("finish ok", *texts)))
    await measured("get it", call(app, "GetTask", task_id(sent)))
    wide = [{"text": "é" * 900_000}] * 2
    await measured("send 3.6 MB, not ASCII", call(app, "SendMessage", send("finish ok", *wide)))
    values = {"data": [1.0] * 11_000 + ["x" * 100] * 11_000}
    await measured("send 22,000 values", call(app, "SendMessage", send("finish ok", values)))
    many = ";".join(["big 100000"] * 100)
    none = {"historyLength": 0}
    sent = await measured(
        "run of 100 messages of 100 kB", call(app, "SendMessage", send(many, configuration=none))
    )
    await measured("get it", call(app, "GetTask", task_id(sent)))
    await measured("stream such a run", call(app, "SendStreamingMessage", send(many)))
    sent = await measured(
        "run with an answer of 10 MB", call(app, "SendMessage", send("long 10000000"))
    )
    await measured("get it", call(app, "GetTask", task_id(sent)))
    for _ in range(20):
        await call(app, "SendMessage", send("count 100"))
    everything = {"historyLength": 100, "includeArtifacts": True}
    await measured("list 20 tasks of 100 messages", call(app, "ListTasks", everything))


async def small(app: ASGIApp) -> None:
    since = time.process_time()
    for _ in range(SENDS):
        await call(app, "SendMessage", params("finish ok"))
    each = (time.process_time() - since) / SENDS * 1e6
    sys.stdout.write(f"CPU of a blocking send with its run, one at a time: {each:.0f} us\n")


async def main() -> None:
    logging.disable(logging.CRITICAL)
    skill = Skill(id="play", name="Play", description="Plays.")
    card = build_card(
        name="Player",
        description="Plays.",
        base_url="http://127.0.0.1",
        version="1",
        skills=[skill],
    )
    with tempfile.TemporaryDirectory() as folder:
        async with task_server(database=Path(folder) / "runs.db", driver_for=Player) as tasks:
            app = Guard(FaceApp(tasks, Face(agent=AGENT, card=card)), token=None)
            await small(app)
            await large(app)


if __name__ == "__main__":
    run(main())
