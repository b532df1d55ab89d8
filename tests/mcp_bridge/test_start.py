"""Finding the gateway, starting it once, finding it again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs
import pytest

from mcp_bridge.relaying import endpoint
from mcp_bridge.relaying.endpoint import Gateway, GatewayGoneError
from tests.mcp_bridge import standin

WORDS = (sys.executable, str(Path(standin.__file__)))
START = f"from mcp_bridge.stdio import main; main([], {WORDS!r})"
PATIENCE_S = 30


@contextmanager
def relay(environment: dict[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """A relay whose gateway is the stand-in."""
    process = subprocess.Popen(
        [sys.executable, "-c", START],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.communicate(timeout=PATIENCE_S)


def ask(process: subprocess.Popen[bytes], number: int) -> dict[str, Any]:
    """One request and its answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/list"}
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    assert "error" not in answer, answer
    return answer


@pytest.fixture
def home(environment: dict[str, str]) -> Generator[Path]:
    """A home without a gateway; stand-ins that were started there are ended."""
    folder = Path(environment["A2A_GATEWAY_HOME"])
    yield folder
    for pid, *_ in starts(folder):
        end(pid)


def starts(home: Path) -> list[list[int]]:
    """Pid, session and idle time of every stand-in that was started in `home`."""
    path = home / "starts"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [[int(word) for word in line.split()] for line in lines]


def end(pid: int, number: int = signal.SIGTERM) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def gone(home: Path) -> None:
    """Wait until nothing listens where the gateway of `home` was; it is not ours to wait for."""
    url = urlsplit(str(json.loads((home / "gateway.json").read_text("utf-8"))["url"]))
    deadline = time.monotonic() + PATIENCE_S
    with suppress(ConnectionError):
        while time.monotonic() < deadline:
            socket.create_connection((url.hostname or "", url.port or 0), PATIENCE_S).close()
        pytest.fail(f"something still listens at {url.netloc}")


@pytest.mark.promise("relay.one")
def test_thirty_relays_that_find_no_gateway_start_one(
    home: Path, environment: dict[str, str]
) -> None:
    relays = [
        subprocess.Popen(
            [sys.executable, "-c", START],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(30)
    ]
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode() + b"\n"
    for process in relays:
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.flush()
    for process in relays:
        assert process.stdout is not None
    answers = [json.loads(process.stdout.readline()) for process in relays if process.stdout]
    ends = [process.communicate(timeout=PATIENCE_S) for process in relays]
    ((pid, session, idle),) = starts(home)
    assert {answer["result"]["pid"] for answer in answers} == {pid}
    assert [err for _, err in ends if err] == []
    assert session == pid, "it has a session of its own, so it outlives its relay"
    assert idle == int(endpoint.IDLE_EXIT_S)
    assert os.kill(pid, 0) is None
    assert (home / "logs" / "gateway.log").stat().st_mode & 0o077 == 0


def test_ten_relays_start_one_real_gateway_and_are_all_answered(
    environment: dict[str, str],
) -> None:
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }  # fmt: skip
    relays = [
        subprocess.Popen(
            [sys.executable, "-m", "mcp_bridge.stdio"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(10)
    ]
    try:
        for process in relays:
            assert process.stdin is not None
            process.stdin.write(json.dumps(hello).encode() + b"\n")
            process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for process in relays if process.stdout]
        assert {answer["result"]["serverInfo"]["name"] for answer in answers} == {"a2a-gateway"}
        log = Path(environment["A2A_GATEWAY_HOME"], "logs", "gateway.log").read_text("utf-8")
        assert log.count("a2a-gateway answers at") == 1
        assert "already running" not in log
    finally:
        for process in relays:
            process.communicate(timeout=PATIENCE_S)
        command = Path(sys.executable).with_name("a2a-gateway")
        subprocess.run([command, "stop"], env=environment, check=True, timeout=PATIENCE_S)


@pytest.mark.promise("relay.again")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_relay_goes_on_with_the_next_gateway(
    home: Path, environment: dict[str, str], how: signal.Signals
) -> None:
    with relay(environment) as process:
        first = ask(process, 1)["result"]["pid"]
        assert ask(process, 2)["result"]["pid"] == first
        end(first, how)
        gone(home)
        second = ask(process, 3)["result"]["pid"]
        assert second != first
    assert [pid for pid, *_ in starts(home)] == [first, second]


def test_a_gateway_that_cannot_start_is_told_of_in_one_line(
    home: Path, environment: dict[str, str]
) -> None:
    gateway = Gateway(environment, command=(*WORDS, "broken"))
    with pytest.raises(GatewayGoneError) as gone:
        gateway.address()
    assert str(home / "logs" / "gateway.log") in str(gone.value)
    assert "no database" in (home / "logs" / "gateway.log").read_text("utf-8")
    with pytest.raises(GatewayGoneError, match="nope could not be started"):
        Gateway(environment, command=("/nope",)).address()


def test_calls_that_waited_for_a_gateway_in_vain_are_told_together(
    home: Path, environment: dict[str, str]
) -> None:
    # Each call began anew where the one before had failed. A client that asks twice when it
    # connects had given up before the second was told why.
    gateway = Gateway(environment, command=(*WORDS, "broken"))
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(gateway.address)
        deadline = time.monotonic() + PATIENCE_S
        while not starts(home):
            assert time.monotonic() < deadline
        others = [pool.submit(gateway.address) for _ in range(2)]
        said = {str(call.exception(PATIENCE_S)) for call in (first, *others)}
    assert len(starts(home)) == len(said) == 1
    with pytest.raises(GatewayGoneError):
        gateway.address()
    assert len(starts(home)) == 2, "who asks later has it tried again"


@pytest.mark.parametrize(
    ("home", "says"),
    [("~no-such-user/x", "there is no home folder"), ("/dev/null/x", "Not a directory: /dev/null")],
)
def test_a_home_that_cannot_be_used_is_named(home: str, says: str) -> None:
    # The one ended the relay with a traceback; of the other it said that the gateway went away.
    with pytest.raises(GatewayGoneError, match=says) as gone:
        Gateway({"A2A_GATEWAY_HOME": home}, command=("/nope",)).address()
    assert "set A2A_GATEWAY_HOME" in str(gone.value)


def test_a_gateway_file_is_believed_only_while_its_process_lives(
    home: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n", "utf-8")
    token.chmod(0o600)
    path = home / "gateway.json"

    def write(mode: int = 0o600, **change: Any) -> None:
        fields = {"url": "http://127.0.0.1:9/", "pid": os.getpid(), "token_file": str(token)}
        path.write_text(json.dumps(fields | change), "utf-8")
        path.chmod(mode)

    assert endpoint.published(home) is None
    write()
    assert endpoint.published(home) == endpoint.Address("http://127.0.0.1:9", "secret")
    changes: list[dict[str, Any]] = [
        {"pid": 2**22 + 1},
        {"pid": "x"},
        {"token_file": str(tmp_path / "nope")},
    ]
    for change in changes:
        write(**change)
        assert endpoint.published(home) is None
    write(mode=0o644)
    assert endpoint.published(home) is None, "another user may have written it"
    path.write_text("{", "utf-8")
    assert endpoint.published(home) is None


def test_a_given_gateway_needs_no_home_and_is_never_started(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n", "utf-8")
    token.chmod(0o600)
    gateway = Gateway({}, url="http://127.0.0.1:9/mcp/", token_file=token, command=("/nope",))
    assert gateway.address() == endpoint.Address("http://127.0.0.1:9", "secret")
    token.chmod(0o640)
    with pytest.raises(GatewayGoneError, match="chmod 600"):
        Gateway({}, url="http://127.0.0.1:9", token_file=token).address()


def test_the_home_is_the_one_the_gateway_itself_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for xdg in (None, "/var/state", "relative"):
        environ = {"HOME": os.environ["HOME"]}
        if xdg is not None:
            monkeypatch.setenv("XDG_STATE_HOME", xdg)
            environ["XDG_STATE_HOME"] = xdg
        expected = platformdirs.user_state_dir("a2a-gateway")
        assert str(endpoint.state_home(environ)) == expected
    assert endpoint.state_home({"A2A_GATEWAY_HOME": "/x/../y"}) == Path("/x/../y")
    mac = endpoint.state_home({}, "darwin")
    assert mac.parts[-3:] == ("Library", "Application Support", "a2a-gateway")
