import os
from pathlib import Path

import pytest

from gateway.core import json
from gateway.errors import ExposureError, HomeInUseError
from gateway.home import Home, read_private, read_published, start_time, write_private


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}


def test_everything_in_a_home_is_its_owners_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    write_private(home.registry, {"a": 1})
    with home.lock(), home.published("http://127.0.0.1:1"):
        assert modes(home.path) == {0o600}
    assert home.path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_write_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(ExposureError, match="chmod 700"):
        Home(shared)
    assert shared.stat().st_mode & 0o777 == 0o777
    assert list(shared.iterdir()) == []


def test_one_gateway_a_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with (
        home.lock(),
        home.published("http://127.0.0.1:4711"),
        pytest.raises(HomeInUseError, match=r"http://127\.0\.0\.1:4711"),
        Home(tmp_path).lock(),
    ):
        pass
    with Home(tmp_path).lock():
        pass


def test_a_gateway_is_found_while_it_runs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.gateway() is None
    with home.published("http://127.0.0.1:4711"):
        found = home.gateway()
        assert found is not None
        assert (found.url, found.process.pid) == ("http://127.0.0.1:4711", os.getpid())
        assert found.token_file == home.token_file
    assert home.gateway() is None


@pytest.mark.parametrize("change", [{"pid": 2**22 - 1}, {"start_time": 1}, {"url": None}])
def test_what_a_dead_process_left_behind_is_not_believed(
    tmp_path: Path, change: dict[str, object]
) -> None:
    home = Home(tmp_path)
    with home.published("http://127.0.0.1:4711"):
        left = read_private(tmp_path / "gateway.json")
        assert left is not None
        write_private(tmp_path / "gateway.json", {**left, **change})
        assert home.gateway() is None


def test_a_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "50000.json"
    about = {"url": "http://x", "pid": os.getpid(), "token_file": "/x"}
    path.write_text(json.encode(about), encoding="utf-8")
    path.chmod(0o600)
    assert read_published(path) is not None
    path.chmod(0o622)
    assert read_published(path) is None


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", '{"url": 1}'])
def test_half_a_file_is_no_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    assert Home(tmp_path).gateway() is None


def test_a_start_time_names_a_process_of_this_machine() -> None:
    assert start_time(os.getpid()) == start_time(os.getpid())
    assert start_time(2**22 - 1) is None
