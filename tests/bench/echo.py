"""The echo agent three times, each as a server process: on the SDK alone, as a floor, and ours.

`python -m tests.bench.echo sdk|floor|ours DATABASE [--profile FILE]` says one line of JSON when it
answers. Every server echoes as task, artifact, completed; `events N` makes N status messages.
"""

import argparse
import asyncio
import logging
import secrets
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from a2a.server.request_handlers import RequestHandler
from a2a.server.routes import create_jsonrpc_routes
from starlette.applications import Starlette
from starlette.types import ASGIApp

from gateway.core import json
from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    CommandFinished,
    RunCompleted,
    RunStarted,
    StatusChanged,
)
from gateway.core.extension import Answer
from gateway.core.face.cards import Face, Skill, build_card
from gateway.core.face.guard import Guard
from gateway.core.face.routes import FaceApp, health_route
from gateway.core.face.serving import Listener, run
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Run
from gateway.core.server import task_server
from tests.bench.references import ECHO, fixed_handler, sdk_handler
from tests.bench.sampling import profiled, thread_times

PATH: Final = "/a2a/jsonrpc"


class EchoDriver:
    """What a wrapper's driver does for an agent that takes no time.

    `events N` · `output N` (two commands that print N bytes each) · `hold` (until cancelled) ·
    anything else is echoed.
    """

    upstream = False
    deadline_grace_s = 0.0

    def __init__(self, run: Run) -> None:
        self._run = run
        self._cancelled = asyncio.Event()

    def outlasts(self, run: Run) -> bool:
        return False

    async def drive(self, writer: RunWriter) -> None:
        await writer.emit(RunStarted())
        text = self._run.message.text
        verb, _, rest = text.partition(" ")
        match verb:
            case "events":
                for n in range(int(rest)):
                    await writer.emit(AgentMessage(text=f"status {n}"))
            case "output":
                output = "0123456789abcde\n" * (int(rest) // 16)
                for _ in range(2):
                    await writer.emit(CommandFinished(command="x", output=output, exit_code=0))
            case "hold":
                await self._cancelled.wait()
                await writer.emit(StatusChanged(status="cancelled"))
                return
            case _:
                part = {"text": text}
                await writer.emit(ArtifactAdded(artifact_id=ECHO, name=ECHO, parts=[part]))
        await writer.emit(RunCompleted())

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        del answers, message

    async def steer(self, message: Message) -> None:
        del message

    async def cancel(self) -> None:
        self._cancelled.set()


@asynccontextmanager
async def ours(listener: Listener, database: Path | str, token: str) -> AsyncGenerator[ASGIApp]:
    """The whole path of a wrapper: guard, routes, tasks, supervisor, log."""
    card = build_card(
        name="Echo",
        description="Says it again.",
        base_url=listener.base_url,
        version="1",
        skills=[Skill(id="echo", name="Echo", description="Echoes.")],
    )
    async with task_server(database=database, driver_for=EchoDriver) as tasks:
        face = Face(agent=ECHO, card=card)
        yield Guard(FaceApp(tasks, face, [health_route(ECHO, "1")]), token=token)


@asynccontextmanager
async def reference(handler: RequestHandler) -> AsyncGenerator[ASGIApp]:
    """The SDK's own routes, nothing before them."""
    yield Starlette(routes=[health_route(ECHO, "1"), *create_jsonrpc_routes(handler, PATH)])


async def _serve(kind: str, database: str, said: list[str]) -> None:
    listener = Listener()
    token = secrets.token_hex(16)
    makers: dict[str, Callable[[], Any]] = {
        "sdk": lambda: reference(sdk_handler()),
        "floor": lambda: reference(fixed_handler()),
        "ours": lambda: ours(listener, database if "://" in database else Path(database), token),
    }
    async with makers[kind]() as app:
        await listener.serve(app, on_ready=lambda _url: _say(listener.port, token))
        said.append(thread_times())


def _say(port: int, token: str) -> None:
    sys.stdout.write(json.encode({"port": port, "token": token}) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.echo", description=__doc__)
    parser.add_argument("kind", choices=("sdk", "floor", "ours"))
    parser.add_argument("database", help="a file or a URL, for ours")
    parser.add_argument("--profile", type=Path, help="write where the time went to this file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with profiled(arguments.profile) as said:
        run(_serve(arguments.kind, arguments.database, said))


if __name__ == "__main__":
    main()
