"""A task server whose agents write to one another as fast as they can, to be killed: python -m … DB

Prints `ready`, then a line for each message that was acknowledged: its seq, recipient and key.
"""

import asyncio
import sys
import uuid
from pathlib import Path

from gateway.core.extension import CodingRequest
from gateway.core.messages import user_text
from gateway.core.peers import Note
from gateway.core.server import task_server
from tests.core.puppet import Puppet

ME = "local"
NAMES = ("ann", "bob")
SENDERS = 8


async def main(database: Path | str) -> None:
    async with task_server(database=database, driver_for=Puppet) as tasks:
        for name in NAMES:
            if not await tasks.log.agents.find(ME, name):
                request = CodingRequest(cwd="/w", nickname=name)
                message = user_text("m", "go")
                await tasks.send(principal=ME, agent="puppet", message=message, request=request)
        say("ready")

        async def write() -> None:
            while True:
                key = str(uuid.uuid4())
                for name in NAMES:
                    note = Note(to=name, message=user_text("", key), request_key=key)
                    letter, _ = await tasks.peers.send(ME, note)
                    say(f"{letter.seq} {name} {key}")

        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(write())


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])))
