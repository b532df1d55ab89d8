"""A task server as a process of its own, for tests that kill it: `python -m tests.faults.server DATABASE`.

The whole path of a wrapper (guard, face, tasks, log) around an agent that plays its prompt:
`say N` (N messages, one every other millisecond), `ask` (one question), `hold` (until cancelled).
Says one line of JSON, its port, when it answers.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.core import json
from gateway.core.events import (
    AgentMessage,
    Event,
    InputRequired,
    RunCompleted,
    RunFailed,
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
from gateway.core.status import WAITING

TOKEN: Final = "for-tests"
AGENT: Final = "scripted"
QUESTION: Final = "q-1"
PACE_S: Final = 0.002


class Scripted:
    """Plays one run's prompt, and goes on after a restart where that is true: a `say` counts on
    from its last number, a question stays open; anything else was interrupted."""

    upstream = False
    deadline_grace_s = 0.0

    def __init__(self, run: Run) -> None:
        self._run = run
        self._heard: asyncio.Queue[str] = asyncio.Queue()
        self._cancelled = asyncio.Event()

    def outlasts(self, run: Run) -> bool:
        return False

    async def drive(self, writer: RunWriter) -> None:
        verb, _, number = self._run.message.text.partition(" ")
        again = writer.run.last_seq > 0
        if not again:
            await writer.emit(RunStarted())
        match verb:
            case "say":
                await self._say(writer, writer.run.last_seq, int(number))
            case "ask" if not again or writer.run.status in WAITING:
                await self._ask(writer, again)
            case "hold" if not again:
                await self._cancelled.wait()
                await writer.emit(StatusChanged(status="cancelled"))
            case _:
                await writer.emit(RunFailed(message="the agent is gone", reason="interrupted"))

    async def _say(self, writer: RunWriter, first: int, last: int) -> None:
        """Message n is event n + 1: after a restart the log says which is next."""
        for n in range(first, last + 1):
            if self._cancelled.is_set():
                await writer.emit(StatusChanged(status="cancelled"))
                return
            await writer.emit(AgentMessage(text=f"tick {n}"))
            await asyncio.sleep(PACE_S)
        await writer.emit(RunCompleted(final_response=f"said {last}"))

    async def _ask(self, writer: RunWriter, again: bool) -> None:
        if not again:
            await writer.emit(_question())
        heard = await self._heard.get()
        if self._cancelled.is_set():
            await writer.emit(StatusChanged(status="cancelled"))
            return
        await writer.emit(AgentMessage(text=f"heard {heard}"), RunCompleted(final_response=heard))

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        del answers
        self._heard.put_nowait(message.text)

    async def steer(self, message: Message) -> None:
        del message

    async def cancel(self) -> None:
        self._cancelled.set()
        self._heard.put_nowait("")


def _question() -> Event:
    asked = {
        "request_id": QUESTION,
        "kind": "question",
        "text": "Which?",
        "questions": [{"id": "0", "question": "Which?"}],
    }
    return InputRequired(text="Which?", pending=[asked])


async def serve(database: Path | str) -> None:
    listener = Listener()
    card = build_card(
        name="Scripted",
        description="Plays its prompt.",
        base_url=listener.base_url,
        version="1",
        skills=[Skill(id="play", name="Play", description="Plays.")],
    )
    async with task_server(database=database, driver_for=Scripted, replica=AGENT) as tasks:
        face = FaceApp(tasks, Face(agent=AGENT, card=card), [health_route(AGENT, "1")])
        app = Guard(face, token=TOKEN)
        await listener.serve(app, on_ready=_say)


def _say(url: str) -> None:
    sys.stdout.write(json.encode({"url": url}) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.server", description=__doc__)
    parser.add_argument("database", help="a file, or a URL of PostgreSQL")
    database: str = parser.parse_args().database
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    run(serve(database if "://" in database else Path(database)))


if __name__ == "__main__":
    main()
