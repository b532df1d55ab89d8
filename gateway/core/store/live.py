"""What this process knows of runs without asking the database: records, last events, waiters.

Knows no database. An active run stays until it ends or another process owns it; an ended one for a
while, since its callers are about to ask for it.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gateway.core.record import Run
from gateway.core.store.entry import Recorded

TAIL_EVENTS: Final = 64  # committed events a run keeps in memory for readers at its end
ENDED_KEPT: Final = 256  # ended runs
ENDED_CHARS: Final = 32 * 1024 * 1024  # of what all of them were asked and answered; some are large


@dataclass(slots=True)
class Live:
    """A run's durable record, its last events, and who waits for more."""

    run: Run
    tail: deque[Recorded] = field(default_factory=lambda: deque[Recorded](maxlen=TAIL_EVENTS))
    waiters: set[asyncio.Future[None]] = field(default_factory=set[asyncio.Future[None]])
    chars: int = 0  # of its message and its answer, once it has ended

    def wake(self) -> None:
        _wake(self.waiters)

    def recent(self, after: int, limit: int, types: Sequence[str]) -> list[Recorded] | None:
        """Events with `seq > after` when all of them are here, else None."""
        if self.run.last_seq <= after:
            return []
        if not self.tail or self.tail[0].seq > after + 1:
            return None
        return [e for e in self.tail if e.seq > after and (not types or e.type in types)][:limit]


class LiveRuns:
    """The runs that are active here, those that ended a moment ago, and who waits for others."""

    def __init__(self) -> None:
        # Kept: to ask asyncio for it costs a system call each time, and readers wait often.
        self._loop = asyncio.get_running_loop()
        self._active: dict[str, Live] = {}
        self._ended: OrderedDict[str, Live] = OrderedDict()
        self._ended_chars = 0
        self._elsewhere: dict[str, set[asyncio.Future[None]]] = {}

    def find(self, run_id: str) -> Live | None:
        return self._active.get(run_id) or self._ended.get(run_id)

    def active(self, run_id: str) -> Live | None:
        return self._active.get(run_id)

    def all_active(self) -> list[Run]:
        return [live.run for live in self._active.values()]

    def track(self, run: Run) -> Run:
        """Remember an active run; what is known here already is at least as new."""
        if (known := self.find(run.id)) is not None:
            return known.run
        return run if run.terminal else self._active.setdefault(run.id, Live(run)).run

    def take_over(self, runs: Iterable[Run]) -> None:
        """These runs, as they were stored by another process, are active here from now on."""
        self._active.update({run.id: Live(run) for run in runs})

    def advance(self, after: Run, events: Sequence[Recorded]) -> None:
        """A run moved on durably: readers are woken when there is an event for them."""
        live = self.find(after.id) or self._active.setdefault(after.id, Live(after))
        live.run = after
        live.tail.extend(events)
        if after.terminal:
            self._active.pop(after.id, None)
            self._keep_ended(live)
        if events:
            live.wake()

    def _keep_ended(self, live: Live) -> None:
        if (kept := self._ended.pop(live.run.id, None)) is not None:  # it learned where it lives
            self._ended_chars -= kept.chars
        answer = live.run.result.final_response if live.run.result else None
        live.chars = live.run.message.length + len(answer or "")
        self._ended[live.run.id] = live
        self._ended_chars += live.chars
        while len(self._ended) > ENDED_KEPT or self._ended_chars > ENDED_CHARS:
            _, oldest = self._ended.popitem(last=False)
            self._ended_chars -= oldest.chars

    def forget(self, run_id: str) -> None:
        """What is known of the run is old: it is another process's, or was deleted."""
        if (ended := self._ended.pop(run_id, None)) is not None:
            self._ended_chars -= ended.chars
        if (live := self._active.pop(run_id, None)) is not None:
            live.wake()

    def wake(self) -> None:
        """Let everybody who waits look."""
        for live in self._active.values():
            live.wake()

    async def moved(self, live: Live, after: int, timeout_s: float | None) -> bool:
        """Wait until an active run has an event after `after`; False when the time passed."""
        if live.run.last_seq <= after:
            await self._wait(live.waiters, timeout_s)
        return live.run.last_seq > after

    async def heard(self, run_id: str, timeout_s: float) -> None:
        """Wait until another process says that the run moved, or the time has passed."""
        waiters = self._elsewhere.setdefault(run_id, set())
        try:
            await self._wait(waiters, timeout_s)
        finally:
            if not waiters:
                self._elsewhere.pop(run_id, None)

    def hear(self, run_id: str) -> None:
        """Another process said so."""
        _wake(self._elsewhere.pop(run_id, set()))

    async def _wait(self, waiters: set[asyncio.Future[None]], timeout_s: float | None) -> None:
        """Until a waker resolves it, or the time has passed."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        waiters.add(waiter)
        try:
            if timeout_s is None:
                await waiter
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(waiter, timeout_s)
        finally:
            waiters.discard(waiter)


def _wake(waiters: set[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
