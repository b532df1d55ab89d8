"""Fixtures of the bridge's tests."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.mcp_bridge.house import WAYS, House, Way, house


@pytest.fixture(params=WAYS)
async def caller(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[House]:
    """A client of the seven tools, in each of the four ways to reach them."""
    way: Way = request.param
    async with house(tmp_path, way) as made:
        yield made


@pytest.fixture
async def one(tmp_path: Path) -> AsyncGenerator[House]:
    """A client in memory, for what does not depend on the way."""
    async with house(tmp_path, "memory, 2026") as made:
        yield made
