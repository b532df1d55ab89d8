"""What runs' events said, read back from the log: only those a task shows, from the end.

Knows the log, not the wire's forms.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.core import json, redact
from gateway.core.face import wire
from gateway.core.face.pacing import Pace
from gateway.core.face.snapshot import Spoken
from gateway.core.record import Run
from gateway.core.status import WAITING
from gateway.core.store.entry import Recorded
from gateway.core.store.history import Wanted
from gateway.core.tasks import Tasks

# Bytes of history in one answer; what goes beyond is left out, oldest first. The specification
# (3.2.4) lets a server show fewer messages than it was asked for.
HISTORY_MAX: Final = 8 * 1024 * 1024


async def recall(
    tasks: Tasks, runs: Sequence[Run], *, length: int, artifacts: bool
) -> dict[str, list[Spoken]]:
    """By run: its last `length` messages and the one its status shows, and its artifacts.

    Complete: what was split off is put back. Nothing after a run's `last_seq` is told.
    """
    found = await tasks.log.shown([_wanted(run, length, artifacts) for run in runs])
    pace = Pace()
    left = HISTORY_MAX
    told: dict[str, list[Spoken]] = {}
    for run in runs:
        spoken: list[Spoken] = []
        for event in reversed(found[run.id]):
            size = _size(event)
            if event.type in wire.MESSAGE_TYPES and event.type not in wire.ASKING_TYPES:
                left = left - size if size <= left else -1
                if left < 0:
                    continue
            data = await tasks.whole(run, event)
            spoken.append(Spoken(seq=event.seq, type=event.type, data=data))
            if pace.over(size):
                await pace.rest()
        told[run.id] = spoken[::-1]
    return told


def _wanted(run: Run, length: int, artifacts: bool) -> Wanted:
    made: Iterable[int] = ()
    if artifacts and run.result is not None:
        made = {item["artifact_id"]: item["seq"] for item in run.result.artifacts}.values()
    return Wanted(
        run_id=run.id,
        upto=run.last_seq,
        messages=length + 1 if length else 0,  # one may be the status' own
        asking=run.status in WAITING,
        artifacts=tuple(made),
    )


def _size(event: Recorded) -> int:
    """Characters of an event's complete data, near enough."""
    if not wire.is_split(event):
        return len(event.data)
    refs = redact.refs_of(json.decode_object(event.data))
    return len(event.data) + sum(int(ref.get("total_bytes", 0)) for ref in refs.values())
