"""The root of a project's run folders, `<cwd>/.nanobot-orchestrator/`, held open for some steps.

Knows which folders there are, not what is in them.
"""

from contextlib import ExitStack
from typing import Final

from gateway.folders.directory import Directory

ROOT: Final = ".nanobot-orchestrator"


class Project:
    """One project at a time: most steps of a round are of one. Raises OSError."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._cwd: str | None = None
        self._folders: dict[str, Directory] = {}

    def folder(self, cwd: str, name: str) -> Directory:
        """The folder `name` of the project in `cwd`; made when it is missing."""
        try:
            if cwd != self._cwd:
                self._open(cwd)
            if name not in self._folders:
                inside = self._folders[""].inside(name)
                self._folders[name] = self._stack.enter_context(inside)
        except BaseException:
            self.close()
            raise
        return self._folders[name]

    def _open(self, cwd: str) -> None:
        self.close()
        outer = self._stack.enter_context(Directory.at(cwd))
        root = self._folders[""] = self._stack.enter_context(outer.inside(ROOT))
        root.provide(".gitignore", b"*\n")
        self._cwd = cwd

    def close(self) -> None:
        self._cwd = None
        self._folders.clear()
        self._stack.close()
