"""What happened to runs since somebody last looked; noted by the loop, taken by a thread.

Knows no file. What it holds is bounded: events beyond that are let go, as the log has them.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.core.record import Run
from gateway.core.store.batch import Append
from gateway.core.store.entry import Entry
from gateway.folders.projection import Moved

HELD_MAX: Final = 8192  # events, of at most about 4 KB each
_UNIT: Final = 4096  # bytes of payload that count as one


@dataclass(slots=True)
class _Noted:
    run: Run
    entries: list[Entry] = field(default_factory=list[Entry])
    session: bool = False


class Gathered:
    """`woken` is set when there is something to take, `hurry` while somebody waits for it."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.hurry = threading.Event()
        self._lock = threading.Lock()
        self._noted: dict[str, _Noted] = {}
        self._held = 0
        self._waiting: list[Callable[[], None]] = []

    def note(self, append: Append) -> None:
        """An append is durable. Called on the loop, for each of them."""
        before, after, entries = append.before, append.after, append.entries
        held = len(entries)
        for entry in entries:
            for payload in entry.payloads:
                held += len(payload.content) // _UNIT
        with self._lock:
            noted = self._noted.get(after.id)
            if noted is None:
                noted = self._noted[after.id] = _Noted(after)
            noted.run = after
            if self._held + held <= HELD_MAX:
                self._held += held
                noted.entries += entries
            if append.backend_session_id is not None or after.remote is not before.remote:
                noted.session |= _session_moved(append)
            first = len(self._noted) == 1
        if first:
            self.woken.set()

    def take(self) -> list[Moved]:
        """All of it."""
        with self._lock:
            noted, self._noted, self._held = self._noted, {}, 0
        return [
            Moved(run=item.run, entries=tuple(item.entries), session=item.session)
            for item in noted.values()
        ]

    def when_taken(self, done: Callable[[], None]) -> None:
        """Have `done` called by `settled`, once nothing is left that was noted until now."""
        with self._lock:
            self._waiting.append(done)
            self.hurry.set()
        self.woken.set()

    def settled(self) -> None:
        """Everything that was taken is dealt with."""
        with self._lock:
            if self._noted or not self._waiting:
                return
            waiting, self._waiting = self._waiting, []
            self.hurry.clear()
        for done in waiting:
            done()


def _session_moved(append: Append) -> bool:
    """True when the session learned where it lives or what its agent calls it; `src_seq` moves
    with every event and is not it."""
    before, after = append.before.remote, append.after.remote
    if append.backend_session_id is not None:
        return True
    if before is None or after is None:
        return after is not before
    return (before.task_id, before.context_id) != (after.task_id, after.context_id)
