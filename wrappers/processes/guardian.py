"""Runs one command and answers for its whole process tree: when the wrapper dies, nothing is left.

Standard library only and nothing of this package: it runs as a script with `python -I -S`.

    guardian.py FD GRACE_MS LIMIT COMMAND...

FD is one end of a socket pair. The byte I interrupts the command, T asks the whole tree to end, K
kills it; end of file means that the wrapper is gone. A `.` from us says that the tree is gone; the
end of file without it, that we were killed and others have to sweep. They know the tree by LIMIT,
see `sweeper`.

The tree also ends when the command exits: first SIGTERM to what it left behind, then, after
GRACE_MS, SIGKILL until nothing is left. The exit status is the command's, 128 + n for a signal.
Linux finds daemonised and setsid descendants too (subreaper); elsewhere the process group has to do.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from types import FrameType
from typing import Final, NoReturn

LINUX: Final = sys.platform == "linux"
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36
NAME: Final = b"a2a-guardian"  # in ps and top, and out of the way of a `killall python3`
DEAD: Final = (b"Z", b"X")
EXEC_FAILED: Final = 127  # what shells answer for a command that cannot be started
DONE: Final = b"."
CHASES: Final = 100  # 30 us each
KILL_AGAIN_S: Final = 0.05  # between two SIGKILL rounds: the tree may have forked meanwhile
END_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGHUP})


def prctl(option: int, value: int | bytes) -> None:
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def descendants() -> dict[int, int]:
    """Every living process below this one -> its group, by one pass over /proc.

    Those whose parents ended come back to us, so nobody is missing.
    """
    below: dict[int, list[tuple[int, int, bytes]]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue
        # Field 2, the name in parentheses, may hold anything.
        state, parent, group = stat.rpartition(b")")[2].split()[:3]
        below.setdefault(int(parent), []).append((int(name), int(group), state))
    found: dict[int, int] = {}
    look = [os.getpid()]
    while look:
        for pid, group, state in below.get(look.pop(), ()):
            look.append(pid)
            if state not in DEAD:
                found[pid] = group
    return found


def children() -> list[int]:
    """Our own, at once: who forks and exits over and over is among them, but in no list for long.

    Empty where the kernel was built without it.
    """
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def send(pid: int, signum: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(pid, signum)
        else:
            os.kill(pid, signum)


class Tree:
    """The command, all it started, and how far its end has come."""

    def __init__(self, command: int, grace_s: float) -> None:
        self.command = command
        self.grace_s = grace_s
        self.status: int | None = None
        self._kill_at: float | None = None

    def ask(self) -> None:
        """SIGTERM to everybody, and SIGCONT: who is stopped would not even die of it."""
        for signum in (signal.SIGTERM, signal.SIGCONT):
            if LINUX:
                for pid in descendants():
                    send(pid, signum)
            else:
                send(self.command, signum, group=True)

    def kill(self) -> None:
        """SIGKILL until a look finds nobody new: as long as there are, they may be forking.

        A group dies in one step, in which none of it can fork.
        """
        if not LINUX:
            send(self.command, signal.SIGKILL, group=True)
            return
        seen: set[int] = set()
        while fresh := {pid: group for pid, group in descendants().items() if pid not in seen}:
            for group in {*fresh.values()} - {0, os.getpgid(0)}:
                send(group, signal.SIGKILL, group=True)
            for pid in fresh:
                send(pid, signal.SIGKILL)
            seen.update(fresh)
            self.collect()
        for _ in range(CHASES):
            if not (orphans := children()):
                break
            for pid in orphans:
                send(pid, signal.SIGKILL)
            self.collect()

    def interrupt(self) -> None:
        send(self.command, signal.SIGINT, group=True)

    def end(self, *, at_once: bool = False) -> None:
        """SIGTERM now and SIGKILL when the grace is over; a second call only shortens it."""
        if at_once:
            self._kill_at = time.monotonic()
        elif self._kill_at is None:
            self.ask()
            self._kill_at = time.monotonic() + self.grace_s

    def collect(self) -> bool:
        """Collect the dead. False when nobody is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.command:
                self.status = status

    def escalate(self) -> float | None:
        """Kill when it is time; the seconds until the next look, None for no need of one."""
        if self._kill_at is None:
            return None
        left = self._kill_at - time.monotonic()
        if left > 0:
            return left
        self.kill()
        self._kill_at = time.monotonic() + KILL_AGAIN_S
        return KILL_AGAIN_S


def watch_signals() -> int:
    """A file descriptor on which every signal we get arrives as a byte."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for signum in (*END_SIGNALS, signal.SIGINT, signal.SIGCHLD):
        signal.signal(signum, _noted)
    return reader


def _noted(_signum: int, _frame: FrameType | None) -> None:
    """The byte in the pipe says it all; without a handler there would be no byte."""


def obey_signals(tree: Tree, signals: int) -> None:
    for signum in os.read(signals, 4096):
        if signum in END_SIGNALS:
            tree.end()
        elif signum == signal.SIGINT:
            tree.interrupt()


def obey_control(tree: Tree, control: int) -> bool:
    """False at the end of the control stream: the wrapper is gone."""
    try:
        orders = os.read(control, 64)
    except ConnectionResetError:
        orders = b""
    for order in orders:
        if order == ord("I"):
            tree.interrupt()
        elif order == ord("T"):
            tree.ask()
        elif order == ord("K"):
            tree.end(at_once=True)
    if not orders:
        tree.end()
    return bool(orders)


def guard(tree: Tree, signals: int, control: int) -> int:
    """Until nothing is left: obey, collect, escalate. The command's wait status."""
    watched = [signals, control]
    while tree.collect():
        if tree.status is not None:
            tree.end()
        ready, _, _ = select.select(watched, [], [], tree.escalate())
        if signals in ready:
            obey_signals(tree, signals)
        if control in ready and not obey_control(tree, control):
            watched.remove(control)
    return tree.status or 0


def run_command(command: list[str], guardian: int) -> NoReturn:
    """In the forked child: become the command, in a session of its own."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:  # it died before the line above
        os._exit(EXEC_FAILED)
    for signum in (*END_SIGNALS, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as exc:
        os.write(2, f"cannot start {command[0]}: {exc.strerror}\n".encode())
        os._exit(EXEC_FAILED)


def mark(limit: int) -> None:
    """Mark this process and all below it. Below an agent of another wrapper that may fail: limits
    only go down."""
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource  # noqa: PLC0415 - not everywhere

        resource.setrlimit(resource.RLIMIT_RTTIME, (limit, limit))


def leave_streams() -> None:
    """The command alone holds the pipes: their end is the end of the command."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def main(handle: str, grace_ms: str, limit: str, *command: str) -> NoReturn:
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_NAME, NAME)
    mark(int(limit))
    signals = watch_signals()
    control = int(handle)
    os.set_inheritable(control, False)
    me = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        run_command(list(command), me)
    leave_streams()
    status = guard(Tree(pid, int(grace_ms) / 1000), signals, control)
    with contextlib.suppress(OSError):  # nobody is left to hear it
        os.write(control, DONE)
    os._exit(
        os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
