"""The Codex that users have: the newest of npm's `@openai/codex`, against what the pinned one said.

It is installed (400 MB) by `make faults` alone, into pytest's cache; `--codex=PATH` names another.
"""

import os
import pwd
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.models import codex_program
from tests.wrappers.recorded import logs
from tests.wrappers.recorded.codex.record import record
from tests.wrappers.recorded.codex.scenarios import SCENARIOS

LONG: Final = 20  # rounds from which on it is installed
INSTALL_MAX_S: Final = 600.0
ROOT: Final = Path(__file__).parent.parent.parent
CHOSEN: Final = (
    "tests/wrappers/test_codex_tables.py",
    "tests/wrappers/test_codex_runs.py",
    "tests/wrappers/test_codex_asks.py",
    "tests/contract/test_adapters.py",
    "tests/e2e/test_agents_as_callers.py",
)
# How often these come depends on the moment, or on what Codex finds worth a warning.
LOOSE: Final = frozenset({"command_updated", "status_changed"})


@pytest.fixture(scope="module")
def newest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (program := codex_program.named()) is not None:
        return program
    if not _is_long(request.config):
        pytest.skip("installs 400 MB with npm: `make faults` does, or name one with --codex=PATH")
    if (npm := shutil.which("npm")) is None:
        pytest.skip("no npm")
    folder = Path(request.config.cache.mkdir("codex-npm")) if request.config.cache else None
    folder = folder or tmp_path_factory.mktemp("codex-npm")
    try:
        subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--prefix", folder, "@openai/codex@latest"],
            env=_users_environment(),
            check=True,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=INSTALL_MAX_S,
        )
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"npm cannot install it: {exc.stderr.strip()[-300:]}")
    return folder / "node_modules" / ".bin" / "codex"


def _is_long(config: pytest.Config) -> bool:
    return int(str(config.getoption("--rounds"))) >= LONG


def _users_environment() -> dict[str, str]:
    """npm is the user's own: its registry and certificates stand in the user's settings."""
    return {**os.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}


def kinds(recording: logs.Recording) -> Counter[str]:
    """How often every type of event, request and other step comes in a recording."""
    return Counter(
        kind
        for step in recording.steps
        if (kind := step.get("type") or next(iter(step))) not in LOOSE
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every scenario where there is a newest Codex, one to be skipped where there is none."""
    if "name" in metafunc.fixturenames:
        every = codex_program.named() is not None or _is_long(metafunc.config)
        metafunc.parametrize("name", sorted(SCENARIOS) if every else ["plain"])


async def test_its_runs_become_the_same_events(
    newest: Path, name: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    made = await record(name, tmp_path, environment, newest)
    assert kinds(made) == kinds(logs.load("codex", name))


def test_it_passes_what_the_pinned_one_passes(newest: Path) -> None:
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--codex={newest}"]
    ended = subprocess.run(
        [*tests, "-k", "not claude and not scripted", *CHOSEN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:]
