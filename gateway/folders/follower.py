"""Run folders, written behind the commits by a thread of their own; no run waits for them.

Knows when to write what; not how the files look. The log's appends are noted and gathered, and what
the thread does not get to is read from the log later: a slow disk costs neither memory nor events.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from gateway.core.record import Run
from gateway.core.store.log import RunLog
from gateway.folders.arrears import Arrears
from gateway.folders.gathered import Gathered
from gateway.folders.places import Places
from gateway.folders.projection import Moved, Projection, merged
from gateway.folders.source import Source, SourceError
from gateway.folders.troubles import Troubles

GATHER_S: Final = 0.2  # between looks: what happened meanwhile to a run is one write
CLOSE_S: Final = 5.0  # for what is still to be written at the end; the next start does the rest
BUSY_S: Final = 1.0  # until a file that another process writes is looked at again
GIVE_UP_S: Final = 3600.0  # after so long without success an ended run's folder is left as it is
DUE_MAX: Final = 1000  # runs that wait to be written; those beyond it are found in the log later
# Of the time that writing took it rests this much before it writes again: it shares the loop's
# interpreter, and with many runs there is always something to write.
REST: Final = 9.0
REST_MAX_S: Final = 2.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Due:
    """A run to be written at `at` (monotonic seconds), and not at all after `until`."""

    moved: Moved
    at: float
    until: float


class Follower:
    """The thread. `here(name)`, asked on the loop, says whether an agent works in folders of this
    machine."""

    def __init__(self, log: RunLog, here: Callable[[str], bool], note: Path) -> None:
        source = self._source = Source(log)
        self._loop = log.loop
        self._places = Places(here)
        self._gathered = Gathered(self._places.has_folder)
        self.note = self._gathered.note
        self._projection = Projection(source)
        self._arrears = Arrears(source, note)
        self._troubles = Troubles()
        self._due: dict[str, _Due] = {}
        self._rest_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="run-folders", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def settle(self) -> None:
        """Wait until everything is written that was durable before."""
        done: asyncio.Future[None] = self._loop.create_future()

        def tell() -> None:
            if not done.done():
                done.set_result(None)

        def settled() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(tell)

        self._gathered.when_taken(settled)
        await done

    async def close(self) -> None:
        """Write what is left, for `CLOSE_S` at most. A thread that a disk holds up is left to it."""
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(CLOSE_S):
                await self.settle()
            self._over.set()
            self._gathered.woken.set()
            self._gathered.hurry.set()
            with anyio.move_on_after(CLOSE_S):
                await asyncio.to_thread(self._thread.join, CLOSE_S)

    # -- the thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                self._round()
            except Exception:
                # A mistake of ours costs the folders of these runs, until they move again.
                logger.exception("some run folders were not written; runs go on")
                self._due.clear()
                self._pause(BUSY_S)
                self._gathered.woken.set()

    def _round(self) -> None:
        self._wait()
        for moved in self._gathered.take():
            self._add(moved)
        if self._arrears.left and len(self._due) < DUE_MAX // 2:
            self._look_back()
        hurried = self._gathered.hurry.is_set()
        now = time.monotonic()
        self._write_all([due for due in self._due.values() if due.at <= now or hurried], hurried)
        self._rest_s = min((time.monotonic() - now) * REST, REST_MAX_S)
        if not self._owed():
            self._gathered.settled()
        if not any(due.moved.run.terminal for due in self._due.values()):
            self._arrears.note(at_once=hurried)

    def _wait(self) -> None:
        """Until there is something to do; then a moment for more of it, unless in a hurry."""
        now = time.monotonic()
        nearest = min((due.at for due in self._due.values()), default=None)
        if self._arrears.left:
            nearest = now
        if nearest is None or nearest > now:
            self._gathered.woken.wait(None if nearest is None else nearest - now)
        if not self._gathered.hurry.is_set():
            self._pause(max(GATHER_S, self._rest_s))
        self._gathered.woken.clear()

    def _pause(self, seconds: float) -> None:
        """Ends early when somebody is in a hurry."""
        self._gathered.hurry.wait(seconds)

    def _owed(self) -> bool:
        """True while something could be written now."""
        return self._arrears.left or any(
            not self._troubles.left_s(_folder(due.moved.run)) for due in self._due.values()
        )

    def _look_back(self) -> None:
        try:
            runs = self._arrears.page()
            places = self._places
            found = self._source.asked(lambda: [run for run in runs if places.has_folder(run)])
            for run in found:
                self._add(Moved(run=run, session=True))
        except SourceError as exc:
            logger.warning("run folders of earlier runs are looked at later: %s", exc)
            self._pause(BUSY_S)

    def _add(self, moved: Moved) -> None:
        run = moved.run
        due = self._due.get(run.id)
        now = time.monotonic()
        if due is None and len(self._due) >= DUE_MAX:
            self._arrears.owe(run)
        elif due is None:
            self._due[run.id] = _Due(moved, now, now + GIVE_UP_S)
        elif due.moved.run.last_seq <= run.last_seq:
            due.moved, due.at = merged(due.moved, moved), now

    def _write_all(self, dues: list[_Due], hurried: bool) -> None:
        dues.sort(key=lambda due: _folder(due.moved.run))
        try:
            with self._projection.steps([due.moved for due in dues]):
                for due in dues:
                    self._write(due, now=hurried)
        except SourceError as exc:
            logger.warning("run folders are written later: %s", exc)
            self._pause(BUSY_S)

    def _write(self, due: _Due, *, now: bool) -> None:
        run_id, folder = due.moved.run.id, _folder(due.moved.run)
        left = self._troubles.left_s(folder)
        if not left:
            left = self._step(folder, due, now=now)
        if left is None or (due.moved.run.terminal and time.monotonic() > due.until):
            del self._due[run_id]
            return
        due.at = time.monotonic() + left
        # What is at hand was written, or is read from the log again: nothing is held meanwhile.
        due.moved = Moved(run=due.moved.run)

    def _step(self, folder: str, due: _Due, *, now: bool) -> float | None:
        run_id = due.moved.run.id
        try:
            left = self._projection.step(due.moved, now=now)
        except (FileNotFoundError, NotADirectoryError) as exc:
            self._projection.forget(run_id)
            if exc.filename == folder:
                return None  # the folder is not on this machine
            return self._troubles.failed(folder, run_id, exc)
        except BlockingIOError:
            self._projection.forget(run_id)
            return BUSY_S
        except (OSError, SourceError, ValueError) as exc:
            self._projection.forget(run_id)
            return self._troubles.failed(folder, run_id, exc)
        self._troubles.worked(folder)
        return left


def _folder(run: Run) -> str:
    return run.request.cwd or ""


@asynccontextmanager
async def run_folders(
    log: RunLog, *, here: Callable[[str], bool], note: Path
) -> AsyncGenerator[Follower]:
    """Run folders of the log's runs are written until the block ends. `note`: a file in the home."""
    follower = Follower(log, here, note)
    log.on_append(follower.note)
    follower.start()
    try:
        yield follower
    finally:
        log.on_append(None)
        await follower.close()
