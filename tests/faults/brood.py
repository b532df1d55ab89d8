"""A command that leaves behind whatever a command can, each in a process that shows `canary`.

Standard library only: it runs as a script, in whatever sandbox an agent has.

    brood.py canary        a child, a session leader that ignores polite signals, a daemon, a daemon
                           with an empty environment, and one that forks into a new session and
                           exits, over and over; then it waits for its own end
    brood.py canary stay   wait
"""

import os
import signal
import sys
import time
from collections.abc import Callable

MEMBERS = 6
POLITE = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def stay() -> None:
    time.sleep(600)


def stubborn() -> None:
    os.setsid()
    for signum in POLITE:
        signal.signal(signum, signal.SIG_IGN)
    stay()


def daemon(then: Callable[[], None]) -> None:
    os.setsid()
    for signum in POLITE:
        signal.signal(signum, signal.SIG_IGN)
    if os.fork() == 0:
        then()
    os._exit(0)


def bare() -> None:
    os.execve(sys.executable, [sys.executable, "-I", "-S", __file__, sys.argv[1], "stay"], {})


def runner() -> None:
    until = time.monotonic() + 600
    while time.monotonic() < until:
        time.sleep(0.002)
        if os.fork() != 0:
            os._exit(0)
        os.setsid()


def fork(work: Callable[[], None]) -> None:
    if os.fork() == 0:
        work()
        os._exit(0)


def main() -> None:
    if sys.argv[2:] == ["stay"]:
        stay()
    fork(stay)
    fork(stubborn)
    for then in (stay, bare, runner):
        fork(lambda then=then: daemon(then))
    stay()


if __name__ == "__main__":
    main()
