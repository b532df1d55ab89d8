"""What happened to runs since somebody last looked; noted by the loop, taken by a thread.

Knows no file. What it holds is bounded: events beyond that are let go, as the log has them.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.core.record import Run
from gateway.core.store.batch import Append
from gateway.folders.documents import EventLines
from gateway.folders.projection import Moved, Piece, piece_of

HELD_MAX: Final = 8 * 1024 * 1024  # bytes of lines and payloads


@dataclass(slots=True)
class _Noted:
    run: Run
    pieces: list[Piece] = field(default_factory=list[Piece])
    session: bool = False


class Gathered:
    """`woken` is set when there is something to take, `hurry` while somebody waits for it.

    `wanted` says which runs have a folder.
    """

    def __init__(self, wanted: Callable[[Run], bool]) -> None:
        self.woken = threading.Event()
        self.hurry = threading.Event()
        self._wanted = wanted
        self._lock = threading.Lock()
        self._lines: dict[str, EventLines] = {}  # of active runs
        self._noted: dict[str, _Noted] = {}
        self._held = 0
        self._waiting: list[Callable[[], None]] = []

    def note(self, append: Append) -> None:
        """An append is durable. Called on the loop, for each of them.

        The lines are made at once: 0.5 us an event while it is in the processor's cache, three
        times that in the thread, later, and nothing but the lines is held meanwhile.
        """
        run = append.after
        if not self._wanted(run):
            return
        piece = self._piece(append)
        held = 0
        if piece is not None:
            held = len(piece.lines)
            for entry in piece.split:
                held += sum([len(payload.content) for payload in entry.payloads])
        with self._lock:
            noted = self._noted.get(run.id)
            if noted is None:
                noted = self._noted[run.id] = _Noted(run)
            noted.run = run
            if piece is not None and self._held + held <= HELD_MAX:
                self._held += held
                noted.pieces.append(piece)
            if append.backend_session_id is not None or append.before.remote is not run.remote:
                noted.session = noted.session or _session_moved(append)
            first = len(self._noted) == 1
        if first:
            self.woken.set()

    def _piece(self, append: Append) -> Piece | None:
        run = append.after
        lines = self._lines.get(run.id)
        if lines is None:
            lines = self._lines[run.id] = EventLines(run)
        if run.terminal:
            del self._lines[run.id]
        return piece_of(lines, append.entries) if append.entries else None

    def take(self) -> list[Moved]:
        """All of it."""
        with self._lock:
            noted, self._noted, self._held = self._noted, {}, 0
        return [
            Moved(run=item.run, pieces=tuple(item.pieces), session=item.session)
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
    if before is after:
        return False
    if before is None or after is None:
        return True
    return (before.task_id, before.context_id) != (after.task_id, after.context_id)
