"""Which folders a run may work in: a table of ways in and ways around."""

from pathlib import Path

import pytest

from gateway.core.errors import InvalidInputError
from wrappers.running.workspace import checked_cwd


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`root/a/b`, links in it that lead out, a file, and a sibling whose name starts the same."""
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (tmp_path / "root-sibling").mkdir()
    (root / "file").write_text("", encoding="utf-8")
    (root / "out").symlink_to(tmp_path)
    (root / "top").symlink_to("/")
    (root / "loop").symlink_to(root / "loop")
    (root / "inside").symlink_to(root / "a")
    return root


@pytest.mark.parametrize(
    ("cwd", "says"),
    [
        ("a/b", "must be an absolute path: a/b"),
        ("~", "must be an absolute path"),
        ("{root}/missing", "does not exist"),
        ("{root}/file", "is not a directory"),
        ("{root}/file/below", "is not a directory"),
        ("{root}/loop", "cannot be read"),
        ("{root}/a\0b", "zero byte"),
        ("{root}/a/../../root-sibling", "outside the folders"),
        ("{root}-sibling", "outside the folders"),
        ("{root}/out", "outside the folders"),
        ("{root}/top/etc", "outside the folders"),
        ("/", "outside the folders"),
        ("{root}/..", "outside the folders"),
    ],
)
def test_a_folder_that_must_not_be_worked_in_is_refused(cwd: str, says: str, root: Path) -> None:
    with pytest.raises(InvalidInputError, match=says) as caught:
        checked_cwd(cwd.replace("{root}", str(root)), [root])
    assert caught.value.field == "cwd"


@pytest.mark.parametrize(
    ("cwd", "is_"),
    [("{root}", "."), ("{root}/a/b", "a/b"), ("{root}/./a//b/", "a/b"), ("{root}/inside", "a")],
)
def test_a_folder_below_a_root_is_taken_by_its_real_path(cwd: str, is_: str, root: Path) -> None:
    assert checked_cwd(cwd.replace("{root}", str(root)), [root]) == (root / is_).resolve()


def test_without_roots_any_folder_is_taken(root: Path) -> None:
    assert checked_cwd(str(root.parent / "root-sibling"), []) == (root.parent / "root-sibling")


def test_a_root_that_is_a_link_covers_what_it_points_to(root: Path) -> None:
    assert checked_cwd(str(root / "a" / "b"), [root / "inside"]) == root / "a" / "b"


@pytest.mark.parametrize("cwd", [None, ""])
def test_no_folder_means_the_only_root_and_is_refused_where_there_are_others(
    cwd: str | None, root: Path
) -> None:
    assert checked_cwd(cwd, [root]) == root
    for roots in ([], [root / "a", root / "inside"]):
        with pytest.raises(InvalidInputError, match="cwd is required for a new context"):
            checked_cwd(cwd, roots)
