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
DONE: Final = b"."
LOOK_S: Final = 0.05
CLEAN: Final = 3  # looks in a row that find nobody: one process may fork and exit during a look
SWEEP_S: Final = 5.0  # what a fork bomb may take; who hangs in the kernel is left to it
DEAD: Final = (b"Z", b"X")


def limit_of(mark: str) -> int:
    """The resource limit of the processes of `mark`."""
    wrapper, instance = [*mark.split("/"), ""][:2]
    return BASE | _bits(wrapper, 28) << 34 | _bits(instance, 16) << 18 | _bits(mark, 18)


def _bits(text: str, number: int) -> int:
    return zlib.crc32(text.encode()) >> (32 - number)


def sweep(mark: str, within_s: float = SWEEP_S) -> int:
    """Kill every process of `mark`, until nobody is found any more. How many there were."""
    until = time.monotonic() + within_s
    killed: set[int] = set()
    clean = 0
    while clean < CLEAN and time.monotonic() < until:
        found = _kill(mark)
        killed |= found
        clean = 0 if found else clean + 1
    return len(killed)


def _kill(mark: str) -> set[int]:
    """One pass that kills each as it finds it, the youngest first: they may fork and exit."""
    found: set[int] = set()
    for pid in _pids():
        if not is_marked(pid, mark):
            continue
        with suppress(OSError):
            handle = os.pidfd_open(pid)
            try:
                if is_marked(pid, mark):  # still the process that was looked at
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    found.add(pid)
            finally:
                os.close(handle)
    return found


def is_marked(pid: int, mark: str) -> bool:
    """Whether it lives and belongs to `mark` or to a part of it."""
    with suppress(OSError):
        return (_has_limit(pid, mark) or _has_variable(pid, mark)) and not _is_dead(pid)
    return False


def _has_limit(pid: int, mark: str) -> bool:
    bits = OPEN_BITS.get(mark.count("/") + 1)
    if bits is None or resource is None or not hasattr(resource, "RLIMIT_RTTIME"):
        return False
    with suppress(OSError):  # somebody else's
        _, limit = resource.prlimit(pid, resource.RLIMIT_RTTIME)
        return limit >> bits == limit_of(mark) >> bits
    return False


def _has_variable(pid: int, mark: str) -> bool:
    with open(f"/proc/{pid}/environ", "rb") as file:
        environment = b"\0" + file.read() + b"\0"
    text = f"\0{VARIABLE}={mark}".encode()
    return text + b"\0" in environment or text + b"/" in environment


def _is_dead(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] in DEAD


def _pids() -> list[int]:
    """Everybody but this process, the youngest first."""
    try:
        found = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    return [pid for pid in reversed(found) if pid != os.getpid()]


def main(mark: str, grace_ms: str) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
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
