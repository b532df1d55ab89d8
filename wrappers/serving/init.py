"""What a program has to do that runs as process 1, in a container: hand signals on, collect the dead.

Knows nothing of the program. Processes whose parents ended become children of process 1, and stay
zombies until it collects them; the program itself runs as its only child.
"""

import os
import signal
import sys
from typing import Final

_HANDED_ON: Final = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
)
_FROM_KERNEL: Final = 0x80  # si_code of what a terminal sends: to its whole foreground group


def stay_first() -> None:
    """In process 1: go on in a child, and be its init. Anywhere else nothing happens.

    To be called before threads are started. The first process exits as its child does.
    """
    if os.getpid() != 1 or sys.platform != "linux":
        return
    watched = {*_HANDED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        news = signal.sigwaitinfo(watched)
        if news.si_signo == signal.SIGCHLD:
            _collect(child)
        elif news.si_code != _FROM_KERNEL:  # else the child has it from the terminal
            os.kill(child, news.si_signo)


def _collect(child: int) -> None:
    """Collect every dead process; exit with `child`'s status when it is among them."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        if pid == 0:
            return
