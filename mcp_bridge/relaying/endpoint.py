"""Where the gateway is: found by its home folder or a URL, started when none answers.

Standard library only: every import here delays an agent's first turn. Knows no MCP.
"""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mcp_bridge.within import outside

APPLICATION: Final = "a2a-gateway"
HOME_VARIABLE: Final = "A2A_GATEWAY_HOME"
IDLE_VARIABLE: Final = "A2A_GATEWAY_IDLE_EXIT_S"
IDLE_EXIT_S: Final = "1800"  # a gateway nobody started by hand does not stay for ever
START_PATIENCE_S: Final = 20.0  # measured cold start 1-3 s; a loaded machine takes longer
OTHER_PATIENCE_S: Final = 3.0
ENDING_PATIENCE_S: Final = 10.0  # clients give all of it up after 30
CONNECT_S: Final = 5.0
LOOK_EVERY_S: Final = 0.02
LOG_MAX: Final = 5_000_000  # bytes; a longer log is put aside when the next gateway starts
_PRIVATE: Final = 0o077  # permission bits nobody but the owner may have


class GatewayGoneError(Exception):
    """No gateway answers and none could be started; the text says what to do."""


class Address(NamedTuple):
    """A gateway: its base URL (no path of ours) and the bearer token, if it wants one."""

    url: str
    token: str | None

    def connection(self, timeout_s: float = CONNECT_S) -> HTTPConnection:
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=timeout_s)

    def path(self, below: str) -> str:
        return urlsplit(self.url).path.rstrip("/") + below


def state_home(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The gateway's home: the setting, else the user's state folder (as platformdirs names it).

    Raises: GatewayGoneError, where nobody's home is known.
    """
    if given := environ.get(HOME_VARIABLE):
        return _expanded(given).absolute()
    xdg = environ.get("XDG_STATE_HOME", "").strip()
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / APPLICATION
    if platform == "darwin":
        return _expanded("~/Library/Application Support") / APPLICATION
    return _expanded("~/.local/state") / APPLICATION


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as exc:
        raise GatewayGoneError(f"there is no home folder; set {HOME_VARIABLE} to a path") from exc


def read_token(path: Path) -> str:
    """The token in a file that only its owner reads. Raises: GatewayGoneError."""
    try:
        if path.stat().st_mode & _PRIVATE:
            raise GatewayGoneError(f"token file {path} is open to other users; chmod 600 it")
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise GatewayGoneError(f"token file {path} cannot be read; check --token-file") from exc


def published(home: Path) -> Address | None:
    """The gateway that wrote itself down in `home`, if its process lives and only we could have."""
    path = home / "gateway.json"
    try:
        status = path.stat()
        if status.st_uid != os.getuid() or status.st_mode & _PRIVATE:
            return None
        found = json.loads(path.read_bytes())
        # The file of a killed gateway names a port that anybody may have taken since: the token
        # goes there only while the process that wrote it runs.
        if not _runs(int(found["pid"]), found.get("start_time")):
            return None
        return Address(str(found["url"]).rstrip("/"), read_token(Path(found["token_file"])))
    except (OSError, ValueError, KeyError, TypeError, GatewayGoneError):
        return None


def _runs(pid: int, since: object) -> bool:
    """Whether `pid` is still the process that started at `since` (clock ticks since boot): after a
    new boot the pid of a killed gateway is soon another's. Raises: OSError, when there is none."""
    os.kill(pid, 0)
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123  # pathlib is slower
            fields = stat.read().rpartition(")")[2].split()  # the name in front may hold blanks
    except OSError:
        return True  # no /proc here
    ended = fields[0] in ("Z", "X")  # and nobody has taken note of it yet
    return not ended and since in (None, int(fields[19]))


def healthy(address: Address) -> bool:
    """Whether a gateway answers there."""
    connection = address.connection()
    try:
        connection.request("GET", address.path("/healthz"))
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def start_command() -> tuple[str, ...]:
    """The gateway's command beside this interpreter. Raises: GatewayGoneError."""
    command = Path(sys.executable).with_name(APPLICATION)
    if not command.exists():
        raise GatewayGoneError(f"{APPLICATION} is not installed beside this Python; reinstall it")
    return (str(command), "serve")


def start(home: Path, command: Sequence[str], environ: Mapping[str, str]) -> Address:
    """The gateway of `home`, started detached when none answers.

    Of any number of concurrent callers one starts it, the others wait for that one.
    Raises: GatewayGoneError.
    """
    try:
        return _start(home, command, environ)
    except OSError as exc:  # a disk that is full, a folder that is not ours
        said = f"no gateway can be started: {exc.strerror}: {exc.filename or home}"
        raise GatewayGoneError(f"{said}; mend that, or set {HOME_VARIABLE}") from exc


def _start(home: Path, command: Sequence[str], environ: Mapping[str, str]) -> Address:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / "start.lock").open("a", encoding="utf-8") as lock:
        _take_turn(lock.fileno(), home)
        if (running := published(home)) is not None and healthy(running):
            return running
        return _launch(home, command, environ)


def _take_turn(lock: int, home: Path) -> None:
    """Wait for whoever starts the gateway now, as long as that may take. Raises: GatewayGoneError."""
    deadline = time.monotonic() + START_PATIENCE_S + OTHER_PATIENCE_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise GatewayGoneError(_no_start(home)) from None
        time.sleep(LOOK_EVERY_S)


def _no_start(home: Path) -> str:
    return f"the gateway did not start; its log says why: {log_of(home)}"


def log_of(home: Path) -> Path:
    return home / "logs" / "gateway.log"


def _launch(home: Path, command: Sequence[str], environ: Mapping[str, str]) -> Address:
    for _ in range(2):
        if (address := _await(home, _spawn(home, command, environ))) is not None:
            return address
    raise GatewayGoneError(_no_start(home))


def _spawn(
    home: Path, command: Sequence[str], environ: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    (home / "logs").mkdir(exist_ok=True, mode=0o700)
    log = log_of(home)
    with suppress(OSError):  # there is none yet
        if log.stat().st_size > LOG_MAX:
            log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        log.chmod(0o600)
        try:
            return subprocess.Popen(
                command,
                cwd=home,
                env={IDLE_VARIABLE: IDLE_EXIT_S, **outside(environ), HOME_VARIABLE: str(home)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # it outlives us, and our client's Ctrl+C is not for it
            )
        except OSError as exc:
            raise GatewayGoneError(f"{command[0]} could not be started: {exc.strerror}") from exc


def _await(home: Path, child: "subprocess.Popen[bytes]") -> Address | None:
    """Where a gateway answers; None when another had the home and ended. Raises: GatewayGoneError."""
    deadline = time.monotonic() + START_PATIENCE_S
    held = False
    while time.monotonic() < deadline:
        if (address := published(home)) is not None and healthy(address):
            return address
        if child.poll() is not None:
            # Another may have the home, started by hand just now or still on its way out.
            before, held = held, is_held(home)
            if before and not held:
                return None
            patience = ENDING_PATIENCE_S if held else OTHER_PATIENCE_S
            deadline = min(deadline, time.monotonic() + patience)
        time.sleep(LOOK_EVERY_S)
    raise GatewayGoneError(_no_start(home))


def is_held(home: Path) -> bool:
    """Whether a gateway has the home: one that runs, or ends and takes its runs' agents along."""
    try:
        with (home / "home.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as exc:
        return isinstance(exc, BlockingIOError)
    return False


class Gateway:
    """The gateway this relay talks to; found at first use and again whenever it was lost."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        url: str | None = None,
        token_file: Path | None = None,
        command: Sequence[str] | None = None,
        may_start: bool = True,
    ) -> None:
        self._environ = environ
        self._url = url
        self._token_file = token_file
        self._command = command
        self._may_start = may_start
        self._lock = threading.Lock()
        self._address: Address | None = None
        self._doubted = False
        self._failed: tuple[float, str] = (0.0, "")  # when it was last not found, and why

    def address(self) -> Address:
        """Where to send now. Raises: GatewayGoneError."""
        asked = time.monotonic()
        with self._lock:
            if self._address is None:
                if self._failed[0] > asked:  # while we waited: trying again would take as long
                    raise GatewayGoneError(self._failed[1])
                try:
                    self._address = self._find()
                except GatewayGoneError as exc:
                    self._failed = time.monotonic(), str(exc)
                    raise
            return self._address

    def lost(self, address: Address) -> None:
        """Nothing answers at `address` any more, or it refuses the token: look again."""
        with self._lock:
            if self._address == address:
                self._address = None
                self._doubted = True

    def stands(self, address: Address) -> bool:
        """Whether `address` still is this gateway's. Any process of the machine may have the port
        that an ended one left, and what is sent there holds the token. Raises: GatewayGoneError."""
        return self._url is not None or published(state_home(self._environ)) == address

    def _find(self) -> Address:
        if self._url is not None:
            token = None if self._token_file is None else read_token(self._token_file)
            return Address(self._url.rstrip("/").removesuffix("/mcp"), token)
        home = state_home(self._environ)
        # On the way to a running gateway the first request is the health check.
        if not self._doubted and (address := published(home)) is not None:
            return address
        if not self._may_start:
            if (address := published(home)) is not None and healthy(address):
                return address
            raise GatewayGoneError(
                f"no gateway answers for home {home}; start one: {APPLICATION} serve"
            )
        return start(home, self._command or start_command(), self._environ)
