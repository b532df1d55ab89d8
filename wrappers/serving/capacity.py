"""How many runs this machine, or the container we are in, carries at once. Knows no agent."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MEMORY_KEPT: Final = 2 * 1024**3  # bytes left to the system
MEMORY_OURS: Final = 512 * 1024**2  # bytes left to the wrapper, of what its container may take
MEMORY_A_RUN: Final = 512 * 1024**2  # bytes; an agent's CLI was seen at 244 MB after 21 turns
ROOT: Final = Path("/")


def default_capacity(agents: int = 1, root: Path = ROOT) -> int:
    """Runs at once of each of `agents` with processes: two a core, and what memory carries."""
    free = min(_physical() - MEMORY_KEPT, memory(root) - MEMORY_OURS)
    return max(1, min(2 * cores(root), free // MEMORY_A_RUN) // agents)


def cores(root: Path = ROOT) -> int:
    """Those that this process may use: of the machine, by affinity, by its groups' quota."""
    counts = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    for group in _groups(root, "cpu"):
        quota, period = _quota(group)
        if quota > 0 and period > 0:
            counts.append(max(1, math.ceil(quota / period)))
    return min(counts)


def memory(root: Path = ROOT) -> int:
    """Bytes that this process may have: of the machine, or the least limit of its groups."""
    limits = [_physical()]
    for group in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += _numbers(group / name)[:1]
    return min(limits)


def _physical() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of those above it, of either version.

    See cgroups(7). Inside a container the files of its own group stand at the top, whatever path
    the kernel names: folders that are not there are passed over.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0":
            top = root / "sys/fs/cgroup"
        elif controller in names.split(","):
            top = root / "sys/fs/cgroup" / controller
        else:
            continue
        parts = Path(path.lstrip("/"))
        yield from (top / group for group in (parts, *parts.parents) if (top / group).is_dir())


def _quota(group: Path) -> tuple[int, int]:
    """Microseconds of cores' time in a period, and the period's; zero where there is no limit."""
    if found := _numbers(group / "cpu.max"):
        return (found[0], found[1]) if len(found) > 1 else (0, 0)
    old = [*_numbers(group / "cpu.cfs_quota_us"), *_numbers(group / "cpu.cfs_period_us")]
    return (old[0], old[1]) if len(old) > 1 else (0, 0)


def _numbers(file: Path) -> list[int]:
    """Those in a file; `max` is none. Version 1 writes "no limit" as -1 or close to 2**63."""
    words = _text(file).split()
    return [int(word) for word in words if word.lstrip("-").isdigit()]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
