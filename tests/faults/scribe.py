"""A task server that writes run folders as fast as it can, to be killed: python -m … FOLDER RUNS

Starts RUNS runs (and goes on with those it finds), says `ready`, and with RUNS 0 ends when all have
ended and every folder is written.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    CommandFinished,
    RunCompleted,
    RunStarted,
)
from gateway.core.extension import Answer, CodingRequest
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message, user_text
from gateway.core.record import Run
from gateway.core.server import task_server
from gateway.folders import arrears, follower
from gateway.folders.follower import run_folders

ME = "local"
EVENTS = 400
PROJECTS = 2


class Talker:
    """Says numbers, long outputs between them, from wherever the log stands."""

    deadline_grace_s = 0.0
    upstream = True

    def __init__(self, run: Run) -> None:
        del run

    def outlasts(self, run: Run) -> bool:
        del run
        return True

    async def drive(self, writer: RunWriter) -> None:
        while (n := writer.run.last_seq + 1) < EVENTS:
            if n == 1:
                await writer.emit(RunStarted())
            elif n % 40 == 0:
                await writer.emit(CommandFinished(command="c", output=f"é{n}" * 30_000))
            elif n % 55 == 0:
                parts = [{"text": f"part {n} " + "x" * 3000}]
                await writer.emit(ArtifactAdded(artifact_id=f"a-{n}", parts=parts))
            else:
                await writer.emit(AgentMessage(text=f"{n} \u2028 word"))
            if n % 20 == 0:
                await writer.flush()
        await writer.emit(RunCompleted(final_response="done"))

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        """Nobody asks."""

    async def steer(self, message: Message) -> None:
        """Nobody steers."""

    async def cancel(self) -> None:
        """Nobody cancels."""


async def main(folder: Path, runs: int) -> None:
    # The note of what is written moves on quickly, so that a kill finds it just behind.
    arrears.NOTE_S, arrears.SLACK_US = 0.0, 2_000_000  # type: ignore[misc]
    follower.GATHER_S = 0.02  # type: ignore[misc]
    async with (
        task_server(database=folder / "runs.db", driver_for=Talker, replica="scribe") as tasks,
        run_folders(tasks.log, here=lambda _: True, note=folder / "folders.json") as folders,
    ):
        for n in range(runs):
            request = CodingRequest(cwd=str(folder / f"project-{n % PROJECTS}"))
            message = user_text("m", "talk")
            await tasks.send(principal=ME, agent="talker", message=message, request=request)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        if runs:
            await asyncio.Event().wait()
        for run in tasks.log.active():
            await tasks.settled(ME, run.id)
        await folders.settle()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
