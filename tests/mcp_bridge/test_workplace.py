"""Folders and profiles that a spawn names."""

import os
from pathlib import Path

import pytest

from gateway.profiles import shipped_profiles
from mcp_bridge.errors import RefusedError
from mcp_bridge.runs import workplace
from tests.mcp_bridge.house import House


@pytest.mark.parametrize("name", ["job.md", "job.markdown", "JOB.TXT"])
def test_a_profile_is_a_text_file_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\n You review.\n", "utf-8")
    for said in (name, str(tmp_path / name)):
        profile = workplace.read_profile(said, str(tmp_path))
        assert (profile.source, profile.text) == (said, "You review.")


def test_shipped_profiles_go_by_name(tmp_path: Path) -> None:
    (name, *_), path = shipped_profiles(), str(tmp_path)
    assert workplace.read_profile(name, path).source == name


def test_what_is_no_profile_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("secret", "utf-8")
    (tmp_path / "link.md").symlink_to(tmp_path / "key.pem")
    (tmp_path / "empty.md").write_text(" \n", "utf-8")
    (tmp_path / "large.md").write_bytes(b"x" * (256 * 1024 + 1))
    (tmp_path / "latin.md").write_bytes(b"\xe4")
    (tmp_path / "folder.md").mkdir()
    os.mkfifo(tmp_path / "pipe.md")
    for name, says in (
        ("nope.md", "profile not found: nope.md (looked for a file in"),
        ("a\0b.md", "profile not found"),
        ("key.pem", "must be a file named .md, .markdown or .txt"),
        ("link.md", "must be a file named .md, .markdown or .txt"),
        ("folder.md", "must be a file named"),
        ("pipe.md", "must be a file named"),
        ("empty.md", "profile is empty"),
        ("large.md", "larger than 256 KB"),
        ("latin.md", "not UTF-8"),
    ):
        with pytest.raises(RefusedError) as refused:
            workplace.read_profile(name, str(tmp_path))
        assert says in str(refused.value)
        assert "secret" not in str(refused.value)


@pytest.mark.promise("spawn.profile")
async def test_the_profile_travels_as_text(one: House) -> None:
    (one.folder / "job.md").write_text("You review.", "utf-8")
    _, puppet = await one.begin(profile="job.md")
    assert puppet.run.request.profile is not None
    assert puppet.run.request.profile.text == "You review."
    assert "profile not found" in await one.refused("spawn_run", **one.task(profile="nope"))
