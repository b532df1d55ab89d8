"""What the tests of wrappers stand on: an agent each, in a private folder, on a scripted model."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.wrappers.claude_case import Case, Pipe, claude_case
from tests.wrappers.codex_bench import Bench, codex_bench
from tests.wrappers.inside import Wrapper, wrapper


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncGenerator[Wrapper]:
    """The scripted one, within its task server."""
    async with wrapper(tmp_path) as agent:
        yield agent


@pytest.fixture
async def bench(tmp_path: Path, environment: dict[str, str]) -> AsyncGenerator[Bench]:
    """The real Codex."""
    async with codex_bench(tmp_path, environment) as bench:
        yield bench


@pytest.fixture
async def claude(tmp_path: Path) -> AsyncGenerator[Case]:
    """The real Claude Code."""
    async with claude_case(tmp_path) as case:
        yield case


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    """What a command holds as long as it lives."""
    with closing(Pipe(tmp_path / "work")) as made:
        yield made
