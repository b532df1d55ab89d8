"""Whose runs have folders on this machine."""

from pathlib import Path

import pytest

from gateway.folders.places import works_here
from tests.gateway.house import house


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:9999", True),
        ("http://localhost:9999/agents/codex", True),
        ("http://[::1]:9999", True),
        ("https://agents.example.org", False),
        ("http://192.0.2.7:9999", False),
    ],
)
async def test_an_agent_works_here_when_it_is_called_on_this_machine(
    tmp_path: Path, url: str, here: bool
) -> None:
    async with house(tmp_path) as gateway:
        assert works_here(gateway.registry, await gateway.agent(url)) is here


async def test_an_agent_that_the_gateway_starts_works_here(tmp_path: Path) -> None:
    async with house(tmp_path, local=("scripted",)) as gateway:
        assert works_here(gateway.registry, "scripted")
        assert not works_here(gateway.registry, "nobody")
