"""A driver whose strings the test holds: it does what it is told, when it is told."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from gateway.core.errors import NotSteerableError
from gateway.core.events import HOW_RESOLVED, Event, InputRequired, RunStarted, StatusChanged
from gateway.core.extension import Answer
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message, user_text
from gateway.core.outcomes import Sent
from gateway.core.record import Run, resolution
from gateway.core.server import task_server
from gateway.core.tasks import Tasks

ME = "local"


class Puppet:
    """One run's driver. `say` appends; what the server told it stands in `heard`."""

    def __init__(self, run: Run, *, upstream: bool = False) -> None:
        self.run = run
        self.upstream = upstream
        self.deadline_grace_s = 0.0
        self.heard: list[tuple[str, Any]] = []
        self.steerable = True
        self.deaf: asyncio.Event | None = None  # until it is set, what is said does not arrive
        self.listening = asyncio.Event()  # something was said
        self.on_cancel: list[Event] = [StatusChanged(status="cancelled")]
        self.started = asyncio.Event()
        self.told_to_stop = asyncio.Event()
        self._over = asyncio.Event()
        self._failure: Exception | None = None
        self._writer: RunWriter | None = None

    def outlasts(self, run: Run) -> bool:
        return self.upstream

    @property
    def writer(self) -> RunWriter:
        assert self._writer is not None
        return self._writer

    async def drive(self, writer: RunWriter) -> None:
        self._writer = writer
        if writer.run.last_seq == 0:
            await writer.emit(RunStarted())
        await writer.flush()
        self.started.set()
        await self._over.wait()
        if self._failure is not None:
            raise self._failure

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        del message
        await self._listen()
        self.heard.append(("answer", list(answers)))

    async def steer(self, message: Message) -> None:
        await self._listen()
        if not self.steerable:
            raise NotSteerableError(self.run.id, "the agent cannot")
        self.heard.append(("steer", message.text))

    async def _listen(self) -> None:
        self.listening.set()
        if self.deaf is not None:
            await self.deaf.wait()

    async def cancel(self) -> None:
        self.heard.append(("cancel", None))
        self.told_to_stop.set()
        if self.on_cancel:
            await self.say(*self.on_cancel)
            self.leave()

    # -- the strings -----------------------------------------------------------------------------

    async def say(self, *events: Event) -> None:
        await self.writer.emit(*events)
        await self.writer.flush()

    async def ask(self, *ids: str) -> None:
        before = [item.to_json() for item in self.writer.run.pending]
        for request_id in ids:
            before.append(
                {
                    "request_id": request_id,
                    "kind": "permission",
                    "text": f"{request_id}?",
                    "options": [{"id": "allow", "label": "Allow"}, {"id": "deny", "label": "Deny"}],
                }
            )
            await self.say(InputRequired(text=f"{request_id}?", pending=list(before)))

    async def resolve(self, request_id: str, how: HOW_RESOLVED = "answered") -> None:
        await self.say(resolution(self.writer.run, request_id, how=how))

    async def end(self, *events: Event) -> None:
        await self.say(*events)
        self.leave()

    def leave(self) -> None:
        self._over.set()

    def fail(self, failure: Exception) -> None:
        self._failure = failure
        self._over.set()


class Stage:
    """A task server whose every run is a puppet."""

    def __init__(
        self, *, upstream: bool = False, puppet: Callable[[Run], Puppet] | None = None
    ) -> None:
        self.puppet = puppet or partial(Puppet, upstream=upstream)
        self.puppets: dict[str, Puppet] = {}
        self.tasks: Tasks

    def driver_for(self, run: Run) -> Puppet:
        puppet = self.puppet(run)
        self.puppets[run.id] = puppet
        return puppet

    async def send(self, text: str = "go", **more: Any) -> Sent:
        return await self.tasks.send(
            principal=ME, agent="puppet", message=user_text("m", text), **more
        )

    async def begin(self, **more: Any) -> tuple[Run, Puppet]:
        """A new run whose driver is at work."""
        sent = await self.send(**more)
        puppet = self.puppets[sent.run.id]
        with anyio.fail_after(5):
            await puppet.started.wait()
        return sent.run, puppet

    async def get(self, run: Run) -> Run:
        return await self.tasks.get(ME, run.id)


@asynccontextmanager
async def stage(
    folder: Path,
    *,
    upstream: bool = False,
    puppet: Callable[[Run], Puppet] | None = None,
    **settings: Any,
) -> AsyncGenerator[Stage]:
    """A stage on `folder`'s database; `settings` are those of `task_server`."""
    made = Stage(upstream=upstream, puppet=puppet)
    database = folder / "runs.db"
    async with task_server(database=database, driver_for=made.driver_for, **settings) as tasks:
        made.tasks = tasks
        yield made


def place(tasks: Tasks, run_id: str) -> int | None:
    """A queued run's place, 1 is next; None when it does not wait for its turn here."""
    queued = tasks.queue_state(run_id)
    return None if queued is None else queued.place
