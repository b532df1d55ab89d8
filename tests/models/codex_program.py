"""Which codex the tests run: the one that pytest's `--codex=PATH` names, else the one that is found.

Knows nothing of the product at its import: tests/conftest.py imports it for every test.
"""

import importlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

_named: list[Path] = []


def name(program: Path) -> None:
    """Have all tests of this process run `program`, their wrappers' processes too."""
    _named[:] = [program]


@contextmanager
def using(program: Path | None) -> Generator[None]:
    """Have `program` run meanwhile; None changes nothing."""
    before = list(_named)
    if program is not None:
        name(program)
    try:
        yield
    finally:
        _named[:] = before


def named() -> Path | None:
    return _named[0] if _named else None


def codex_program() -> Path:
    """The program. Skips the test when there is none."""
    adapter = importlib.import_module("wrappers.codex.adapter")
    found: Path | None = adapter.find_codex(named(), os.defpath)
    if found is None:
        pytest.skip("no codex program; the extra `codex` brings one")
    return found
