"""Runs one command and answers for its whole process tree: when the wrapper dies, nothing is left.

Standard library only and nothing of this package: it runs as a script with `python -I -S`.

    guardian.py control FD GRACE_MS - COMMAND...
    guardian.py parent PID GRACE_MS ENV_FILE COMMAND...

`control`: FD is one end of a socket pair. The byte I interrupts the command, T asks the whole tree
to end, K kills it; end of file means that the wrapper is gone. A `.` from us says that the tree is
gone; the end of file without it, that we were killed and others have to sweep.
`parent`: for a command that somebody else starts by its path alone; the wrapper is the parent
process PID, SIGTERM or its death end the tree. ENV_FILE holds the command's exact environment as
`NAME=value`, each ended by a zero byte, read and never passed on; `-` means our own environment.

In both modes the tree also ends when the command exits: first SIGTERM to what it left behind, then,
after GRACE_MS, SIGKILL until nothing is left. The exit status is the command's, 128 + n for a
signal. Linux finds daemonised and setsid descendants too (subreaper); elsewhere the process group
has to do.
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
PR_SET_CHILD_SUBREAPER: Final = 36
EXEC_FAILED: Final = 127  # what shells answer for a command that cannot be started
DONE: Final = b"."
KILL_AGAIN_S: Final = 0.05  # between two SIGKILL rounds: the tree may have forked meanwhile
PARENT_LOOK_S: Final = 1.0  # where the kernel does not report a parent's death
END_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGHUP})


def prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def descendants() -> list[int]:
    """Every process below this one, by one pass over /proc (re-parented ones come back to us)."""
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue
        # Field 2, the name in parentheses, may hold anything; the parent is the second after it.
        parent = int(stat.rpartition(b")")[2].split()[1])
        below.setdefault(parent, []).append(int(name))
    found: list[int] = []
    look = [os.getpid()]
    while look:
        children = below.get(look.pop(), [])
        found += children
        look += children
    return found


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

    def signal_all(self, signum: int) -> None:
        if LINUX:
            for pid in descendants():
                send(pid, signum)
        else:
            send(self.command, signum, group=True)

    def interrupt(self) -> None:
        send(self.command, signal.SIGINT, group=True)

    def end(self, *, at_once: bool = False) -> None:
        """SIGTERM now and SIGKILL when the grace is over; a second call only shortens it."""
        if at_once:
            self._kill_at = time.monotonic()
        elif self._kill_at is None:
            self.signal_all(signal.SIGTERM)
            self._kill_at = time.monotonic() + self.grace_s

    def reap(self) -> bool:
        """Collect the dead. False when nobody is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                break
            if pid == self.command:
                self.status = status
        if self.status is not None:
            self.end()
        return True

    def escalate(self) -> float | None:
        """Kill when it is time; the seconds until the next look, None for no need of one."""
        if self._kill_at is None:
            return None
        left = self._kill_at - time.monotonic()
        if left > 0:
            return left
        self.signal_all(signal.SIGKILL)
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
            tree.signal_all(signal.SIGTERM)
        elif order == ord("K"):
            tree.end(at_once=True)
    if not orders:
        tree.end()
    return bool(orders)


def guard(tree: Tree, signals: int, control: int | None, parent: int | None) -> int:
    """Until nothing is left: obey, reap, escalate. The command's wait status."""
    while tree.reap():
        timeout = tree.escalate()
        if parent is not None and not LINUX:
            if os.getppid() != parent:
                tree.end()
            timeout = min(timeout or PARENT_LOOK_S, PARENT_LOOK_S)
        watched = [signals] if control is None else [signals, control]
        ready, _, _ = select.select(watched, [], [], timeout)
        for source in ready:
            if source == signals:
                obey_signals(tree, signals)
            elif not obey_control(tree, source):
                control = None
    return tree.status or 0


def run_command(
    command: list[str], environment: dict[bytes, bytes] | None, guardian: int
) -> NoReturn:
    """In the forked child: become the command, in a session of its own."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:  # it died before the line above
        os._exit(EXEC_FAILED)
    for signum in (*END_SIGNALS, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_DFL)
    try:
        if environment is None:
            os.execvp(command[0], command)
        os.execvpe(command[0], command, environment)
    except OSError as exc:
        os.write(2, f"cannot start {command[0]}: {exc.strerror}\n".encode())
        os._exit(EXEC_FAILED)


def read_environment(path: str) -> dict[bytes, bytes] | None:
    if path == "-":
        return None
    with open(path, "rb") as file:
        lines = file.read().split(b"\0")
    return {
        name: value for name, equals, value in (line.partition(b"=") for line in lines) if equals
    }


def leave_streams() -> None:
    """The command alone holds the pipes: their end is the end of the command."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def report(control: int | None) -> None:
    if control is not None:
        with contextlib.suppress(OSError):  # nobody is left to hear it
            os.write(control, DONE)


def main(mode: str, handle: str, grace_ms: str, env_file: str, *command: str) -> NoReturn:
    environment = read_environment(env_file)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signals = watch_signals()
    control = parent = None
    if mode == "control":
        control = int(handle)
        os.set_inheritable(control, False)
    else:
        parent = int(handle)
        if os.getpid() != os.getpgid(0):
            os.setsid()  # out of the reach of a Ctrl+C that is meant for the wrapper
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(EXEC_FAILED)
    me = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        run_command(list(command), environment, me)
    leave_streams()
    status = guard(Tree(pid, int(grace_ms) / 1000), signals, control, parent)
    report(control)
    os._exit(
        os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
