"""Where a server's time goes: samples of all its threads, or the calls of its event loop counted.

Standard library only; knows no server.
"""

import cProfile
import io
import pstats
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

EVERY_S: Final = 0.001  # of processor time, of all threads together
TOP: Final = 160
# Functions in which a thread waits for work. (The loop's own is `Runner.run`: uvloop at work or
# waiting, for events or for the interpreter.)
IDLE: Final = frozenset({"wait", "select", "_worker", "_next_batch", "_write"})


class Sampler:
    """Looks at the threads each time the process used some CPU; counts the function on top and all
    that led to it.

    By signal, so that the event loop is caught wherever it is: a thread that looks gets its turn
    only when the others let go of the interpreter, and would see little but their system calls.
    For the other threads exactly that is true here: theirs are places where they let go.
    """

    def __init__(self) -> None:
        self._own: dict[str, Counter[str]] = {}
        self._under: dict[str, Counter[str]] = {}
        self._seen: Counter[str] = Counter()
        self._main = threading.get_ident()
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def _look(self, _number: int, frame: FrameType | None) -> None:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]  # documented
        if frame is not None:
            frames[self._main] = frame
        for ident, top in frames.items():
            if top.f_code.co_name not in IDLE:
                self._count(names.get(ident, "?"), top)

    def _count(self, name: str, frame: FrameType) -> None:
        thread = name.rstrip("0123456789_")
        self._seen[thread] += 1
        self._own.setdefault(thread, Counter())[_place(frame)] += 1
        below: set[str] = set()
        at: FrameType | None = frame
        while at is not None:
            below.add(_place(at))
            at = at.f_back
        self._under.setdefault(thread, Counter()).update(below)

    def report(self) -> str:
        signal.setitimer(signal.ITIMER_PROF, 0)
        lines: list[str] = []
        for thread, count in self._seen.most_common():
            lines.append(f"\nthread {thread}: {count} samples that were not waiting for work")
            for title, counted in (("own", self._own), ("with callees", self._under)):
                lines.append(f"  {title}")
                lines += [
                    f"    {100 * n / count:5.1f} %  {place}"
                    for place, n in counted[thread].most_common(TOP)
                ]
        return "\n".join(lines)


def _place(frame: FrameType) -> str:
    code = frame.f_code
    folders = code.co_filename.split("/")[-3:]
    return f"{'/'.join(folders)}:{code.co_firstlineno} {code.co_qualname}"


def thread_times() -> str:
    """Processor seconds of each thread alive, and the share of the loop's."""
    lines: list[str] = []
    for thread in threading.enumerate():
        stat = Path(f"/proc/self/task/{thread.native_id}/stat")
        if stat.exists():
            fields = stat.read_text("utf-8").rpartition(")")[2].split()
            lines.append(f"{(int(fields[11]) + int(fields[12])) / 100:7.2f} s  {thread.name}")
    return "\n".join(lines)


@contextmanager
def profiled(file: Path | None) -> Generator[list[str]]:
    """Write to `file` what the block's threads did; `*.calls` counts calls (slower), else samples.

    What the block puts on the list is written too.
    """
    said: list[str] = []
    if file is None:
        yield said
        return
    began, cpu = time.perf_counter(), time.process_time()
    if file.suffix == ".calls":
        profile = cProfile.Profile()
        profile.enable()
        yield said
        profile.disable()
        out = io.StringIO()
        pstats.Stats(profile, stream=out).strip_dirs().sort_stats("tottime").print_stats(TOP)
        said.append(out.getvalue())
    else:
        sampler = Sampler()
        yield said
        said.append(sampler.report())
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    text = "\n".join(said)
    file.write_text(f"{wall:.1f} s, CPU {used:.1f} s\n{text}\n", encoding="utf-8")
