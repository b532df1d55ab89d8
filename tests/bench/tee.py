"""Stands between a wrapper and its agent's CLI and notes when the CLI wrote each line.

    python -S tee.py NOTES PROGRAM [ARGUMENT …]

Standard library only. The time is taken before a line is passed on, so what is measured from it is
the way behind this process; the way through it lies before. `CLOCK_MONOTONIC` is the machine's: the
reader of an event in another process compares its own `time.perf_counter()`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path


def main(notes: str, program: list[str]) -> int:
    with (
        Path(notes).open("ab", buffering=0) as kept,
        subprocess.Popen(program, stdout=subprocess.PIPE) as cli,
    ):
        assert cli.stdout is not None
        rest = b""
        while data := os.read(cli.stdout.fileno(), 1 << 16):
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            *lines, rest = (rest + data).split(b"\n")
            # First: whoever sees an event of a line must find the line noted. It takes about 20 us.
            kept.write(b"".join(b"%d %s\n" % (now, line) for line in lines))
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    return cli.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
