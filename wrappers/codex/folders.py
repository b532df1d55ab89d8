"""What of a run's folder matters to Codex's sandbox: its git folders, and what mounts leave behind.

Reads and tidies the folder; knows no thread and no run.
"""

import os
from pathlib import Path


def git_dirs(cwd: Path) -> tuple[str, ...]:
    """The git folders of the repository around `cwd`: one, or two for a linked worktree."""
    for folder in (cwd, *cwd.parents):
        git = folder / ".git"
        if (git / "HEAD").is_file():
            return (str(git),)
        if git.is_file():
            return _linked(git)
    return ()


def _linked(git: Path) -> tuple[str, ...]:
    target = git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    folder = (git.parent / target).resolve()
    common = folder / "commondir"
    if not common.is_file():
        return (str(folder),)
    shared = (folder / common.read_text(encoding="utf-8").strip()).resolve()
    return (str(folder), str(shared))


def hidden_folders(cwd: Path) -> set[str]:
    """The folders in `cwd` whose names begin with a dot; none where there is no `cwd`."""
    try:
        with os.scandir(cwd) as entries:
            return {item.name for item in entries if item.name.startswith(".") and item.is_dir()}
    except OSError:
        return set()


def remove_mount_points(cwd: Path, before: set[str]) -> None:
    """Remove what the sandbox's mounts leave in `cwd` when a command is killed.

    They are empty folders with a dot (`.git`, `.codex`, `.agents`, `.aws` were seen); one that was
    there before, or has something in it, stays.
    """
    for name in hidden_folders(cwd) - before:
        try:
            (cwd / name).rmdir()
        except OSError:
            continue
