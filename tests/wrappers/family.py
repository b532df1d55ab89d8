"""A CLI that leaves everything behind that a CLI can: a child, a session leader, a daemon.

Prints one line `pid N` for each, itself first, and `ready`; then does what its argument says: exits
or waits. Standard library only: it runs as a script.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable


def stay(name: str, ignore: tuple[signal.Signals, ...] = ()) -> None:
    for signum in ignore:
        signal.signal(signum, signal.SIG_IGN)
    os.write(1, f"{name} {os.getpid()}\n".encode())
    time.sleep(600)
    os._exit(0)


def in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid


def stubborn_session() -> None:
    os.setsid()
    stay("session", (signal.SIGINT, signal.SIGTERM))


def daemon() -> None:
    os.setsid()
    in_child(lambda: stay("daemon"))
    os._exit(0)


def main(then: str) -> None:
    os.write(1, f"cli {os.getpid()}\n".encode())
    if then == "stubborn":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    command = subprocess.Popen(["sleep", "600"])
    os.write(1, f"command {command.pid}\n".encode())
    in_child(stubborn_session)
    os.waitpid(in_child(daemon), 0)
    if then == "exit":
        sys.stdin.readline()  # until the test has seen everybody
        os._exit(3)
    time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1])
