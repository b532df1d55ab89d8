"""The relay where something goes wrong around it: gateways that hang, die or change, slow readers."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.home import start_time
from mcp_bridge.relaying import endpoint, exchange
from mcp_bridge.relaying.relay import Relay
from tests.mcp_bridge.test_connections import PING, PONG, close_as_said, serving
from tests.mcp_bridge.test_start import PATIENCE_S, WORDS, end, starts

OTHER = "o" * 43
NOBODY = "http://127.0.0.1:9"  # discard: nobody listens there


def write(home: Path, url: str, token: str, **more: Any) -> None:
    """The home's word on its gateway, as a gateway leaves it."""
    token_file = home / "token"
    token_file.write_text(token, "utf-8")
    token_file.chmod(0o600)
    fields = {"url": url, "pid": os.getpid(), "token_file": str(token_file)}
    path = home / "gateway.json"
    path.write_text(json.dumps(fields | more), "utf-8")
    path.chmod(0o600)


@contextmanager
def started(
    environment: dict[str, str], *changed: tuple[str, float | str], words: Sequence[str] = WORDS
) -> Generator[subprocess.Popen[bytes]]:
    """A relay that starts the stand-in, with constants and functions of its own."""
    lines = [
        "from mcp_bridge.relaying import endpoint, exchange, relay",
        *(f"{name} = {value}" for name, value in changed),
        f"from mcp_bridge.stdio import main; main([], {tuple(words)!r})",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        _, said = process.communicate(timeout=PATIENCE_S)
        assert said == b""


def ask(
    process: subprocess.Popen[bytes], number: int, method: str = "tools/list"
) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    message = {"jsonrpc": "2.0", "id": number, "method": method}
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@pytest.fixture
def home(environment: dict[str, str]) -> Generator[Path]:
    folder = Path(environment["A2A_GATEWAY_HOME"])
    yield folder
    for pid, *_ in starts(folder):
        end(pid)


# -- what the home says of a gateway that is no more ---------------------------------------------


@pytest.mark.promise("relay.stale")
def test_a_pid_that_another_process_has_now_is_no_gateway(home: Path) -> None:
    # After a new boot the pid of a killed gateway was soon somebody else's, and the token and the
    # prompts went to whoever had its port.
    now = start_time(os.getpid())
    write(home, NOBODY, OTHER, start_time=now)
    assert endpoint.published(home) == endpoint.Address(NOBODY, OTHER)
    if now is not None:  # where /proc is
        write(home, NOBODY, OTHER, start_time=now - 1)
        assert endpoint.published(home) is None


def test_a_process_that_has_ended_and_was_not_waited_for_is_no_gateway(home: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.read() == b""
    if Path("/proc/self/stat").exists():
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        write(home, NOBODY, OTHER, pid=child.pid)
        assert endpoint.published(home) is None
    child.communicate()


@pytest.mark.promise("relay.stale")
def test_where_the_named_gateway_is_gone_another_is_started(
    home: Path, environment: dict[str, str]
) -> None:
    write(home, NOBODY, OTHER)  # its pid is alive: ours
    with started(environment) as process:
        answer = ask(process, 1)
    assert [pid for pid, *_ in starts(home)] == [answer["result"]["pid"]]


@pytest.mark.promise("relay.stale")
def test_a_port_that_a_gateway_left_never_sees_its_token(
    home: Path, environment: dict[str, str]
) -> None:
    # A relay that had found its gateway went on to connect to the port when that one had ended;
    # whoever had taken the port, be it another user, was sent the token and the prompts.
    heard: list[bytes] = []
    with (
        subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child,
        serving(close_as_said, heard) as server,
    ):
        write(home, server.url, OTHER, pid=child.pid)
        gateway = endpoint.Gateway(environment, may_start=False)
        assert list(exchange.Exchange(gateway, PING, {}).items()) == [PONG]
        child.communicate()
        with pytest.raises(exchange.ExchangeError, match="no gateway answers for home"):
            list(exchange.Exchange(gateway, PING, {}).items())
    assert len(heard) == 1


@pytest.mark.promise("relay.again")
def test_a_gateway_that_still_ends_is_followed_by_the_next(
    home: Path, environment: dict[str, str]
) -> None:
    # One that took its agents along held the home for seconds more: what was started meanwhile
    # found it in use and ended, and the client was told that no gateway starts.
    told = "lambda home, look=endpoint.is_held: (look(home), print('looked', flush=True))[0]"
    with (home / "home.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with started(environment, ("endpoint.is_held", told), words=(*WORDS, "second")) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
            process.stdin.flush()
            assert process.stdout.readline() == b"looked\n"
            fcntl.flock(lock, fcntl.LOCK_UN)
            answer = json.loads(next(line for line in process.stdout if line != b"looked\n"))
    first, second = (pid for pid, *_ in starts(home))
    assert answer["result"]["pid"] == second != first


# -- a client that goes --------------------------------------------------------------------------


def test_a_client_that_goes_without_reading_is_no_trouble() -> None:
    # Where pipes are sockets, what it left unread makes a reset of the next answer.
    ours, its = socket.socketpair()
    out = ours.makefile("wb")
    relay = Relay(endpoint.Gateway({}, url=NOBODY), out)
    relay.serve([b"{"])
    its.close()
    relay.serve([b"{", b"{"])
    with suppress(BrokenPipeError), ours:  # it keeps what it could not write
        out.close()


# -- a gateway that is there and says nothing ----------------------------------------------------


@pytest.mark.promise("relay.hangs")
def test_a_gateway_that_hangs_is_told_of_while_the_client_still_waits(
    home: Path, environment: dict[str, str]
) -> None:
    # A gateway that was stopped (SIGSTOP) took the handshake and answered nothing: the client gave
    # up after 30 s without a reason.
    assert exchange.HELLO_S < 30 < exchange.SILENCE_S
    with started(environment, ("relay.HELLO_S", 0.3)) as process:
        pid = ask(process, 1)["result"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        hung = ask(process, 2, "initialize")["error"]
        os.kill(pid, signal.SIGCONT)
        assert hung["message"].endswith(
            "is there and does not answer; see its log, or end it: a2a-gateway stop"
        )
        # It is looked for anew, and answers again.
        assert ask(process, 3, "initialize")["result"]["pid"] == pid
    assert len(starts(home)) == 1


@pytest.mark.promise("relay.hangs")
def test_nobody_waits_for_ever_behind_a_relay_that_starts_a_gateway(
    home: Path, environment: dict[str, str]
) -> None:
    # Behind a gateway that hung at its start relays waited 20 s each, one after the other.
    short = (("endpoint.START_PATIENCE_S", 0.3), ("endpoint.OTHER_PATIENCE_S", 0.1))
    with (home / "start.lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with started(environment, *short) as process:
            assert "did not start" in ask(process, 1)["error"]["message"]
    assert starts(home) == []
    with started(environment, *short, words=(*WORDS, "stuck")) as process:
        assert str(home / "logs" / "gateway.log") in ask(process, 1)["error"]["message"]


def test_a_log_that_has_grown_long_is_put_aside_once(
    home: Path, environment: dict[str, str]
) -> None:
    logs = home / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    (logs / "gateway.log.1").write_text("oldest", "utf-8")
    (logs / "gateway.log").write_text("more than ten bytes", "utf-8")
    with started(environment, ("endpoint.LOG_MAX", 10)) as process:
        ask(process, 1)
    assert (logs / "gateway.log.1").read_text("utf-8") == "more than ten bytes"
    assert (logs / "gateway.log").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in logs.iterdir()) == ["gateway.log", "gateway.log.1"]
