"""What a run's events said, read back from the log: only the types a task shows.

Knows the log, not the wire's forms.
"""

from collections import deque
from collections.abc import AsyncGenerator
from typing import Final

from gateway.core.face import wire
from gateway.core.face.snapshot import Spoken
from gateway.core.record import Run
from gateway.core.status import WAITING
from gateway.core.store.entry import Recorded
from gateway.core.tasks import Tasks

READ_BATCH: Final = 500  # events of one read


async def recall(tasks: Tasks, run: Run, *, length: int, artifacts: bool) -> list[Spoken]:
    """The run's last `length` messages and the one its status shows, and its artifacts.

    Complete: what was split off is put back. Nothing after `run.last_seq` is told.
    """
    said: deque[Recorded] = deque(maxlen=length + 1)
    kept: dict[int, Recorded] = {}
    asked: Recorded | None = None
    async for event in _events(tasks, run, _types(run, length, artifacts)):
        if event.type == wire.ARTIFACT_TYPE:
            kept[event.seq] = event
        else:
            said.append(event)
        if event.type in wire.ASKING_TYPES:
            asked = event
    kept |= {event.seq: event for event in (*said, *([asked] if asked else ()))}
    return [
        Spoken(seq=seq, type=kept[seq].type, data=await tasks.whole(run, kept[seq]))
        for seq in sorted(kept)
    ]


def _types(run: Run, length: int, artifacts: bool) -> list[str]:
    types: list[str] = []
    if length:
        types += wire.MESSAGE_TYPES
    elif run.status in WAITING:
        types += wire.ASKING_TYPES
    if artifacts and run.result is not None and run.result.artifacts:
        types.append(wire.ARTIFACT_TYPE)
    return types


async def _events(tasks: Tasks, run: Run, types: list[str]) -> AsyncGenerator[Recorded]:
    after = 0
    while types and after < run.last_seq:
        found = await tasks.log.read(run.id, after, READ_BATCH, types)
        for event in found:
            if event.seq <= run.last_seq:
                yield event
        if len(found) < READ_BATCH:
            return
        after = found[-1].seq
