"""Finds and kills what is left of process trees by the marks that they inherit; stands by for that.

Standard library only and nothing of this package: it also runs as a script with `python -I -S`.

    sweeper.py MARK GRACE_MS

As a script it outlives its wrapper: standard input is a pipe from it, whose end without a `.` says
that the wrapper was killed. After GRACE_MS, in which guardians end their trees politely, it kills
whatever of MARK still lives, guardians too. So nobody is left when a wrapper and all its guardians
are killed at once.

A mark is a path, `wrapper/instance/agent/tree`, and every process of a tree has it twice: in its
environment, which a command can clear or overwrite, and as a resource limit, which only a process
that means to can change, and nobody else's command sets. Linux only; elsewhere nothing is found.
"""

import os
import signal
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Final

try:
    import resource
except ImportError:  # not on Windows
    resource = None

VARIABLE: Final = "A2A_PROCESS_TREE"
# RLIMIT_RTTIME: microseconds that a real-time process may go on without a pause. Ours begin at
# 2**62, 146,000 years, so nothing ever meets one. Below come 28 bits of the wrapper, 16 of its
# instance and 18 of the tree.
BASE: Final = 1 << 62
OPEN_BITS: Final = {1: 34, 2: 18, 4: 0}  # parts of a mark -> bits of the limit that it leaves open
PR_SET_NAME: Final = 15  # linux/prctl.h
NAME: Final = b"a2a-sweeper"  # in ps and top, and out of the way of a `killall python3`
DONE: Final = b"."
LOOK_S: Final = 0.05
CLEAN: Final = 5  # looks in a row that find nobody: one process may fork and exit during a look
PAUSE_S: Final = 0.01  # between looks for those without a name: an exec hides one for a moment
SWEEP_S: Final = 5.0  # what a fork bomb may take; who hangs in the kernel is left to it
TICKS: Final = os.sysconf("SC_CLK_TCK")  # a second
DEAD: Final = (b"Z", b"X")


def limit_of(mark: str) -> int:
    """The resource limit of the processes of `mark`."""
    wrapper, instance = [*mark.split("/"), ""][:2]
    return BASE | _bits(wrapper, 28) << 34 | _bits(instance, 16) << 18 | _bits(mark, 18)


def _bits(text: str, number: int) -> int:
    return zlib.crc32(text.encode()) >> (32 - number)


def sweep(mark: str) -> int:
    """Kill every process of `mark`, until nobody is found any more. How many there were."""
    # Limits are read ten times as fast as environments: who forks and exits has less time to.
    return _kill(lambda pid: _is_limited(pid, mark)) + _kill(lambda pid: is_marked(pid, mark))


def sweep_part(mark: str, since: float) -> int:
    """Kill every process of `mark`, a part of a tree, and what else must be of it. How many.

    A part has no limit of its own. So a process of the tree that has thrown away its environment,
    and its parents, is taken for one of the part that started others after `since` (see `now`);
    when another part did so, too, nobody can tell, and it stays.
    """
    tree = mark.rpartition("/")[0]
    killed = _kill(lambda pid: _has_limit(pid, tree) and is_marked(pid, mark)) + sweep(mark)
    if any(_is_of_another(pid, tree, mark, since) for pid in _pids()):
        return killed
    return killed + _kill(lambda pid: _is_nameless(pid, tree, since), PAUSE_S)


def now() -> float:
    """Seconds since the machine was started, in the kernel's ticks."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return int(time.clock_gettime(clock) * TICKS) / TICKS


def is_marked(pid: int, mark: str) -> bool:
    """Whether it lives and belongs to `mark` or to a part of it."""
    with suppress(OSError):
        if _has_limit(pid, mark) or _within(_mark_of(pid), mark):
            return _started(pid) > 0
    return False


def _is_limited(pid: int, mark: str) -> bool:
    with suppress(OSError):
        return _has_limit(pid, mark) and _started(pid) > 0
    return False


def _is_of_another(pid: int, tree: str, mark: str, since: float) -> bool:
    """Whether it is of a part of `tree` that is not `mark`."""
    with suppress(OSError):
        named = _mark_of(pid)
        if named != tree and _within(named, tree) and not _within(named, mark):
            return _started(pid) >= since
    return False


def _is_nameless(pid: int, tree: str, since: float) -> bool:
    with suppress(OSError):
        return _has_limit(pid, tree) and _started(pid) >= since and not _mark_of(pid)
    return False


def _kill(is_wanted: Callable[[int], bool], pause_s: float = 0) -> int:
    until = time.monotonic() + SWEEP_S
    killed: set[int] = set()
    clean = 0
    while clean < CLEAN and time.monotonic() < until:
        found = {pid for pid in _pids() if is_wanted(pid) and _kill_one(pid, is_wanted)}
        killed |= found
        clean = 0 if found else clean + 1
        time.sleep(pause_s)
    return len(killed)


def _kill_one(pid: int, is_wanted: Callable[[int], bool]) -> bool:
    with suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if is_wanted(pid):  # still the process that was looked at
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return True
        finally:
            os.close(handle)
    return False


def _within(named: str, mark: str) -> bool:
    return named == mark or named.startswith(f"{mark}/")


def _has_limit(pid: int, mark: str) -> bool:
    bits = OPEN_BITS.get(mark.count("/") + 1)
    if bits is None or resource is None or not hasattr(resource, "RLIMIT_RTTIME"):
        return False
    with suppress(OSError):  # somebody else's
        _, limit = resource.prlimit(pid, resource.RLIMIT_RTTIME)
        return limit >> bits == limit_of(mark) >> bits
    return False


def _mark_of(pid: int) -> str:
    """What its environment says."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        _, found, rest = (b"\0" + file.read()).partition(f"\0{VARIABLE}=".encode())
    return rest.partition(b"\0")[0].decode(errors="replace") if found else ""


def _started(pid: int) -> float:
    """When, as `now` counts; 0 for a dead one (proc(5), fields 3 and 22)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return 0 if fields[0] in DEAD else int(fields[19]) / TICKS


def _pids() -> list[int]:
    """Everybody but this process, the youngest first."""
    try:
        found = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    return [pid for pid in reversed(found) if pid != os.getpid()]


def _name_process() -> None:
    with suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - only the script needs it

        ctypes.CDLL(None).prctl(PR_SET_NAME, NAME, 0, 0, 0)


def main(mark: str, grace_ms: str) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    _name_process()
    last = b""
    while news := os.read(0, 16):
        last = news
    if last == DONE:
        return
    until = time.monotonic() + int(grace_ms) / 1000
    while time.monotonic() < until and any(is_marked(pid, mark) for pid in _pids()):
        time.sleep(LOOK_S)
    sweep(mark)


if __name__ == "__main__":
    main(*sys.argv[1:])
