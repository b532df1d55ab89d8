"""The insides of a wrapper of the scripted agent, in this process: its task server and driver."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from gateway.core import json
from gateway.core.extension import CodingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import DataPart, Message, user_text
from gateway.core.record import Run
from gateway.core.server import task_server
from gateway.core.tasks import Tasks
from wrappers.running.contexts import Contexts
from wrappers.running.conversations import Conversations
from wrappers.running.driver import AdapterDriver, Wrapped
from wrappers.scripted.adapter import ScriptedAdapter


class Wrapper:
    """One wrapper's insides on a folder; `tasks` is its task server."""

    def __init__(self, tasks: Tasks, cwd: Path) -> None:
        self.tasks = tasks
        self.cwd = cwd

    async def start(
        self, script: str, *, context_id: str | None = None, request: CodingRequest | None = None
    ) -> Run:
        sent = await self.tasks.send(
            principal="local",
            agent="scripted",
            message=user_text("m-1", script),
            request=request or CodingRequest(cwd=str(self.cwd)),
            context_id=context_id,
        )
        return sent.run

    async def settled(self, run: Run) -> Run:
        with anyio.fail_after(10):
            return await self.tasks.settled("local", run.id)

    async def until(self, run: Run, done: Callable[[Run], bool]) -> Run:
        """The run as soon as `done` is true of it."""
        with anyio.fail_after(10):
            while not done(run):
                await self.tasks.log.changed(run.id, run.last_seq)
                run = await self.tasks.get("local", run.id)
        return run

    async def ended(self, run: Run) -> Run:
        return await self.until(run, lambda run: run.terminal)

    async def play(self, script: str, **how: object) -> Run:
        return await self.ended(await self.start(script, **how))  # type: ignore[arg-type]

    async def tell(self, run: Run, *answers: JsonObject, text: str = "") -> None:
        message = user_text("m-2", text)
        if answers:
            parts = tuple(DataPart(data=answer) for answer in answers)
            message = Message(message_id="m-2", role="user", parts=parts)
        await self.tasks.send(principal="local", agent="scripted", message=message, run_id=run.id)

    async def events(self, run: Run) -> list[tuple[str, JsonObject]]:
        page = await self.tasks.events("local", run.id, limit=1000)
        return [(event.type, json.decode_object(event.data)) for event in page.events]


@asynccontextmanager
async def wrapper(folder: Path, *, capacity: int | None = None) -> AsyncGenerator[Wrapper]:
    (folder / "project").mkdir(exist_ok=True)
    adapter = ScriptedAdapter(env={"PATH": "/usr/bin:/bin"}, home=folder)
    wrapped = Wrapped(
        conversations=Conversations(adapter),
        contexts=Contexts(folder / "contexts.db", [folder]),
        check=adapter.check,
        environment=lambda _request: {},
    )
    try:
        async with task_server(
            database=folder / "runs.db",
            driver_for=lambda run: AdapterDriver(run, wrapped),
            capacity=capacity,
        ) as tasks:
            yield Wrapper(tasks, folder / "project")
    finally:
        await wrapped.conversations.close()
        wrapped.contexts.close()
