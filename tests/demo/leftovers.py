"""Processes that still carry a folder in their environment or command line.

Everything the demo starts gets its private folder in one of the two, so a process that shows it
after the end is one that was left behind.
"""

import os
import subprocess
from pathlib import Path


def processes_of(folder: Path) -> dict[int, str]:
    """pid -> command line of the processes of `folder`, this one excepted."""
    found = _by_proc(os.fsencode(folder)) if Path("/proc/self").exists() else _by_ps(str(folder))
    found.pop(os.getpid(), None)
    return found


def _by_proc(needle: bytes) -> dict[int, str]:
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if command and (needle in command or needle in (process / "environ").read_bytes()):
                found[int(process.name)] = (
                    command.replace(b"\0", b" ").decode(errors="replace").strip()
                )
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
    return found


def _by_ps(needle: str) -> dict[int, str]:
    listing = subprocess.run(
        ["ps", "-axEww", "-o", "pid=,command="], capture_output=True, encoding="utf-8", check=False
    )
    rows = (line.strip().partition(" ") for line in listing.stdout.splitlines() if needle in line)
    return {int(pid): command for pid, _, command in rows if not command.startswith("ps -axEww")}
