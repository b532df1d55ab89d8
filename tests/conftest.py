"""What every test stands on: asyncio, and an environment of its own.

Knows no package of the product.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.models import codex_program
from tests.requirements import PROMISES

pytest_plugins = ["tests.postgres"]

LEFT_S = 10.0  # what agents' guardians and wrappers take to end after a kill, with room

# Variables of the machine that would steer the product or an agent's CLI from outside a test.
STEERING_PREFIXES = ("A2A_", "ANTHROPIC_", "CLAUDE", "CODEX", "OPENAI_", "XDG_", "MCP_")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", default="3", help="kills of each kind in tests/faults")
    parser.addoption("--codex", type=Path, help="the codex program, another than the usual one")


def pytest_configure(config: pytest.Config) -> None:
    if (program := config.getoption("--codex")) is not None:
        codex_program.name(program.absolute())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers("promise"):
            unknown = [name for name in marker.args if name not in PROMISES]
            if unknown or not marker.args:
                raise pytest.UsageError(
                    f"{item.nodeid}: no promise {unknown} in tests/requirements.py"
                )


def built_environment(home: Path) -> dict[str, str]:
    """The whole environment of a child process: everything it may write lies under `home`."""
    folders = {
        "HOME": home,
        "TMPDIR": home / "tmp",
        "XDG_STATE_HOME": home / "state",
        "XDG_CONFIG_HOME": home / "config",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_DATA_HOME": home / "data",
        "CODEX_HOME": home / "codex",
        "CLAUDE_CONFIG_DIR": home / "claude",
        "A2A_GATEWAY_HOME": home / "gateway",
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    tools = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    plain = {"PATH": tools, "LANG": "C.UTF-8", "PYTHONWARNDEFAULTENCODING": "1"}
    if (program := codex_program.named()) is not None:
        plain["A2A_AGENT_CODEX_BIN"] = str(program)
    return plain | {name: str(folder) for name, folder in folders.items()}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A built environment for child processes of this test."""
    return built_environment(tmp_path / "home")


@pytest.fixture(autouse=True)
def _nobody_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """No process that a test started outlives it by more than a while."""
    yield
    base = str(tmp_path_factory.getbasetemp())
    until = time.monotonic() + LEFT_S
    while (left := _of_tests(base)) and time.monotonic() < until:
        time.sleep(0.05)
    for process in left:  # the next test is not to be blamed
        os.kill(int(process.partition(" ")[0]), signal.SIGKILL)
    assert not left, "left behind: " + "; ".join(left)


def _of_tests(base: str) -> list[str]:
    """ "PID COMMAND" of the processes, where there is /proc, whose home lies under `base`."""
    # A test's own folder: what lives as long as all tests do has the home that they inherit.
    mark = f"A2A_GATEWAY_HOME={base}/test_".encode()
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(folder.name) != os.getpid() and mark in (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(f"{folder.name} {command}")
    return found


@pytest.fixture(scope="session", autouse=True)
def _nothing_inherited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Code under test that reads the environment of this process sees a private one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(STEERING_PREFIXES):
                patch.delenv(name)
        for name, value in built_environment(tmp_path_factory.mktemp("home")).items():
            if name not in ("PATH", "TMPDIR", "PYTHONWARNDEFAULTENCODING"):
                patch.setenv(name, value)
        yield
