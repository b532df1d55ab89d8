"""Stands between an adapter and its CLI: what either of them says is kept in a file, line by line.

    tee.py LOG PROGRAM ARGUMENT…

Knows no vendor, and nothing of this project: it is run as a program, in the CLI's environment.
"""

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO


def _pass_on(who: str, source: IO[bytes], target: IO[bytes], log: IO[bytes]) -> None:
    """Each line goes into the log before anybody can react to it."""
    for line in source:
        log.write(json.dumps([who, line.decode()]).encode() + b"\n")
        log.flush()
        with contextlib.suppress(BrokenPipeError):
            target.write(line)
            target.flush()
    with contextlib.suppress(BrokenPipeError):
        target.close()


def main(log_path: str, *command: str) -> int:
    """The exit status is the program's."""
    with (
        Path(log_path).open("ab") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child,
    ):
        if child.stdin is None or child.stdout is None:
            return 1
        said = ("wrapper", sys.stdin.buffer, child.stdin, log)
        threading.Thread(target=_pass_on, args=said, daemon=True).start()
        _pass_on("cli", child.stdout, sys.stdout.buffer, log)
        return child.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
