"""What an installation gets: the wheel that hatch builds of this checkout."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_the_three_packages_and_nothing_that_runs_at_start_up(
    wheel: zipfile.ZipFile,
) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if ".dist-info" not in top} == {"gateway", "wrappers", "mcp_bridge"}
    assert [name for name in wheel.namelist() if name.endswith(".pth")] == []


def test_the_profiles_reach_installed_users_and_are_no_package(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if name.startswith("gateway/profile/")}
    assert shipped == {f"gateway/profile/{path.name}" for path in (ROOT / "profile").iterdir()}
    assert all(name.endswith(".md") for name in shipped)


def test_the_wheel_carries_its_licence(wheel: zipfile.ZipFile) -> None:
    texts = [wheel.read(name) for name in wheel.namelist() if name.endswith("licenses/LICENSE")]
    assert [b"Apache License" in text for text in texts] == [True]


def test_the_constraints_pin_versions_and_name_no_place() -> None:
    lines = (ROOT / "deploy" / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", pin)] == []
