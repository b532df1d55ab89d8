"""Where a server's time goes: a sampling of all its threads and a profile of its event loop.

Standard library only; knows no server.
"""

import cProfile
import io
import pstats
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

EVERY_S: Final = 0.002
TOP: Final = 45
# Threads that stand here wait for something.
IDLE: Final = frozenset({"wait", "get", "select", "_worker", "_next_batch", "run", "getting"})


class Sampler:
    """Looks at every thread now and then; counts the function on top and all below it."""

    def __init__(self) -> None:
        self._own: dict[str, Counter[str]] = {}
        self._under: dict[str, Counter[str]] = {}
        self._seen: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sampler", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        me = threading.get_ident()
        while not self._over.wait(EVERY_S):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]  # documented
            for ident, frame in frames.items():
                if ident != me and frame.f_code.co_name not in IDLE:
                    self._count(names.get(ident, "?"), frame)

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
        self._over.set()
        self._thread.join()
        lines: list[str] = []
        for thread, count in self._seen.most_common():
            lines.append(f"\nthread {thread}: {count} samples that were not waiting")
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


@contextmanager
def profiled(file: Path | None) -> Generator[None]:
    """Write to `file` what the block's threads did; `*.calls` counts calls (slower), else samples."""
    if file is None:
        yield
        return
    began, cpu = time.perf_counter(), time.process_time()
    if file.suffix == ".calls":
        profile = cProfile.Profile()
        profile.enable()
        yield
        profile.disable()
        said = io.StringIO()
        stats = pstats.Stats(profile, stream=said)
        stats.strip_dirs().sort_stats("tottime").print_stats(TOP)
        text = said.getvalue()
    else:
        sampler = Sampler()
        yield
        text = sampler.report()
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    file.write_text(f"{wall:.1f} s, CPU {used:.1f} s\n{text}\n", encoding="utf-8")
