"""Whose turn it is: runs of a context one after another, and so many at work at once.

Pure bookkeeping of run ids; it starts nothing and knows no driver and no status. A change costs
O(log n) of the runs that wait, whatever their number, and an event that changes no status nothing.
"""

from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from gateway.core.json import JsonObject

# A run that is at work may wait for its child, so the child needs no slot of its own: with a
# capacity of 1 both come to their end. One child a parent is enough for that, and keeps what runs
# at most at capacity x (1 + lineage.DEPTH_MAX) processes; further children take their turn after it
# or an ordinary slot.
RESERVE_PER_PARENT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """Where a run stands that has not started: `place` 1 is the next by arrival.

    `blocked_by` is the run that has the turn of its context; None when it only waits for a slot.
    """

    place: int
    blocked_by: str | None = None

    @property
    def text(self) -> str:
        """Why a queued run takes no message, and what to do."""
        behind = f", behind run {self.blocked_by} of its session" if self.blocked_by else ""
        return (
            f"it is queued at place {self.place}{behind} and has not started; wait until it runs, "
            "or cancel it and start another"
        )

    def to_json(self) -> JsonObject:
        """As tasks show it: `queue_place`, and `blocked_by` where there is one."""
        shown: JsonObject = {"queue_place": self.place}
        return shown if self.blocked_by is None else shown | {"blocked_by": self.blocked_by}


@dataclass(slots=True, eq=False)
class _Entry:
    number: int  # by arrival
    run_id: str
    context_id: str
    parent_id: str | None  # an entry's run id
    started: bool = False
    holds: bool = False  # a slot, or a place in the parent's reserve
    lender: str | None = None  # the parent whose reserve it holds


class Slots:
    """Turns per context and `capacity` slots (None: no bound), by run id.

    A slot is held while a run is `running` only. A run that waits for somebody keeps the turn of
    its context. One that goes on takes its slot back at once, even beyond the capacity: its agent
    is there, its parent may be waiting for it, and new runs start only when there is room again.
    """

    def __init__(self, capacity: int | None) -> None:
        self._capacity = capacity
        self._used = 0
        self._arrivals = 0
        self._entries: dict[str, _Entry] = {}
        self._lines: dict[str, OrderedDict[str, _Entry]] = {}  # a context's; its first has the turn
        self._queued: list[int] = []  # numbers of those that have not started, sorted
        self._ready: list[tuple[int, _Entry]] = []  # a heap: they have the turn and want a slot
        self._children: dict[str, list[tuple[int, _Entry]]] = {}  # heaps of ready ones, by parent
        self._lent: dict[str, list[_Entry]] = {}  # who holds a parent's reserve
        self._due: list[str] = []  # parents whose reserve may take somebody

    @property
    def queued(self) -> int:
        """How many runs have not started."""
        return len(self._queued)

    def state(self, run_id: str) -> Queued | None:
        """Where a queued run stands; None for any other."""
        entry = self._entries.get(run_id)
        if entry is None or entry.started:
            return None
        first = next(iter(self._lines[entry.context_id]))
        place = bisect_left(self._queued, entry.number) + 1
        return Queued(place=place, blocked_by=None if first == run_id else first)

    def at_turn(self, context_id: str) -> str | None:
        """The run of a context that has started and not ended."""
        line = self._lines.get(context_id)
        first = next(iter(line.values())) if line else None
        return first.run_id if first is not None and first.started else None

    # -- the life of an entry --------------------------------------------------------------------

    def enter(self, run_id: str, context_id: str, parent_id: str | None = None) -> None:
        """A new run; `take` says when it starts. `parent_id` counts when that run is here."""
        self._arrivals += 1
        known = parent_id if parent_id in self._entries else None
        entry = _Entry(self._arrivals, run_id, context_id, known)
        self._entries[run_id] = entry
        self._queued.append(entry.number)
        line = self._lines.setdefault(context_id, OrderedDict())
        line[run_id] = entry
        if len(line) == 1:
            self._make_ready(entry)

    def seize(self, run_id: str, *, running: bool) -> bool:
        """Start an entered run that had started before the server did, if its context is free.

        It had its slot before, so it needs none now; False: it waits for its turn as any other.
        """
        entry = self._entries[run_id]
        if next(iter(self._lines[entry.context_id])) != run_id:
            return False
        self._start(entry)
        if running:
            self._hold(entry)
        return True

    def take(self) -> list[str]:
        """The runs that start now, oldest first; they hold their slots when this returns."""
        started: list[str] = []
        while self._ready and (self._capacity is None or self._used < self._capacity):
            _, entry = heappop(self._ready)
            if self._is_queued(entry):
                self._start(entry)
                self._hold(entry)
                started.append(entry.run_id)
        while self._due:
            self._lend(self._due.pop(), started)
        return started

    def waits(self, run_id: str) -> None:
        """The run waits for somebody: its slot is free, its context's turn is not."""
        entry = self._entries.get(run_id)
        if entry is not None and entry.holds:
            self._release(entry)

    def goes_on(self, run_id: str) -> None:
        """The run is at work (again)."""
        entry = self._entries.get(run_id)
        if entry is not None and entry.started and not entry.holds:
            self._hold(entry, reserve=True)

    def leave(self, run_id: str) -> None:
        """The run has ended, or will not start."""
        entry = self._entries.pop(run_id, None)
        if entry is None:
            return
        if not entry.started:
            del self._queued[bisect_left(self._queued, entry.number)]
        elif entry.holds:
            self._release(entry)
        self._children.pop(run_id, None)
        line = self._lines[entry.context_id]
        had_turn = next(iter(line)) == run_id
        del line[run_id]
        if not line:
            del self._lines[entry.context_id]
        elif had_turn:
            self._make_ready(next(iter(line.values())))

    # -- its parts -------------------------------------------------------------------------------

    def _is_queued(self, entry: _Entry) -> bool:
        return not entry.started and self._entries.get(entry.run_id) is entry

    def _make_ready(self, entry: _Entry) -> None:
        heappush(self._ready, (entry.number, entry))
        if entry.parent_id is not None and entry.parent_id in self._entries:
            heappush(self._children.setdefault(entry.parent_id, []), (entry.number, entry))
            self._due.append(entry.parent_id)

    def _start(self, entry: _Entry) -> None:
        entry.started = True
        del self._queued[bisect_left(self._queued, entry.number)]

    def _hold(self, entry: _Entry, *, reserve: bool = False) -> None:
        entry.holds = True
        if reserve and entry.parent_id is not None and self._has_reserve(entry.parent_id):
            entry.lender = entry.parent_id
            self._lent.setdefault(entry.parent_id, []).append(entry)
        else:
            self._used += 1
        if entry.run_id in self._children:
            self._due.append(entry.run_id)

    def _has_reserve(self, parent_id: str) -> bool:
        """True while the parent itself is at work and its reserve is not all lent."""
        parent = self._entries.get(parent_id)
        lent = len(self._lent.get(parent_id, ()))
        return parent is not None and parent.holds and lent < RESERVE_PER_PARENT

    def _lend(self, parent_id: str, started: list[str]) -> None:
        children = self._children.get(parent_id)
        while children and self._has_reserve(parent_id):
            _, entry = heappop(children)
            if self._is_queued(entry):
                self._start(entry)
                self._hold(entry, reserve=True)
                started.append(entry.run_id)
        if not children:
            self._children.pop(parent_id, None)

    def _release(self, entry: _Entry) -> None:
        entry.holds = False
        if entry.lender is None:
            self._used -= 1
        else:
            self._lent[entry.lender].remove(entry)
            self._due.append(entry.lender)
            entry.lender = None
        # Whoever holds its reserve does so no longer because of it: they count as any other.
        for child in self._lent.pop(entry.run_id, ()):
            child.lender = None
            self._used += 1
