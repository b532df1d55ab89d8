"""The command `a2a-mcp-bridge`: what it starts, how little it loads, and who may hide it."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from mcp_bridge import stdio

ROOT = Path(__file__).parent.parent.parent
# What makes a start slow: the SDK alone takes 0.6 s.
HEAVY = ("mcp", "a2a", "pydantic", "starlette", "httpx", "sqlalchemy", "asyncio", "orjson")


def _run(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code],  # -P: this folder's own packages are not seen
        env=environment, capture_output=True, text=True, encoding="utf-8", check=False, timeout=20,
    )  # fmt: skip


def test_the_relay_loads_nothing_heavy(environment: dict[str, str]) -> None:
    code = "import sys, gateway.relay, mcp_bridge.stdio; print(*sorted(sys.modules))"
    loaded = _run(code, environment | {"PYTHONPATH": str(ROOT)}).stdout.split()
    assert "mcp_bridge.relaying.relay" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_a_foreign_package_of_the_bridges_name_is_named(
    environment: dict[str, str], tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign" / "mcp_bridge"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").write_text('__version__ = "0.5.1"\n', "utf-8")
    path = {"PYTHONPATH": f"{foreign.parent}:{ROOT}"}
    code = "import sys; from gateway.relay import main; sys.exit(main())"
    for content in (None, "def main() -> None: ...\n"):
        if content is not None:
            (foreign / "stdio.py").write_text(content, "utf-8")
        ended = _run(code, environment | path)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "uninstall the distribution mcp-bridge" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_the_installed_command_is_the_bridges_own() -> None:
    (command,) = entry_points(group="console_scripts", name="a2a-mcp-bridge")
    assert command.load()
    assert stdio.PRODUCT == "a2a-gateway"
