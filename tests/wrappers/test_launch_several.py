"""Several agents in one command: each its own port, home and ready line; one end for all."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from gateway.core import json
from gateway.core.json import JsonObject
from tests.wrappers.launched import COMMAND, START_S, refused


@asynccontextmanager
async def several(
    environment: Mapping[str, str], *arguments: str, agents: int
) -> AsyncGenerator[tuple[asyncio.subprocess.Process, list[JsonObject]]]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        "--json",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=dict(environment),
    )
    assert process.stdout is not None
    try:
        with anyio.fail_after(START_S):
            lines = [await process.stdout.readline() for _ in range(agents)]
        yield process, [json.decode_object(line) for line in lines]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_two_agents_have_a_port_a_home_and_a_ready_line_each_and_one_end(
    environment: dict[str, str],
) -> None:
    async with several(environment, "scripted", "codex", agents=2) as (process, ready):
        assert {one["agent"] for one in ready} == {"scripted", "codex"}
        assert {one["pid"] for one in ready} == {process.pid}
        assert len({one["base_url"] for one in ready}) == 2
        assert len({one["token_file"] for one in ready}) == 2
        async with httpx.AsyncClient() as http:
            for one in ready:
                health = (await http.get(f"{one['base_url']}/healthz")).json()
                assert health["name"] == one["agent"]
        notes = sorted((Path(environment["A2A_GATEWAY_HOME"]) / "agents").glob("*.json"))
        assert len(notes) == 2
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(START_S):
            assert await process.wait() == 0
        assert not any(note.exists() for note in notes)


async def test_where_one_cannot_start_none_is_left(
    environment: dict[str, str], tmp_path: Path
) -> None:
    code, errors = await refused(
        environment, "scripted", "codex", "--codex-bin", str(tmp_path / "nowhere")
    )
    assert code == 1
    assert "no codex program" in errors
    assert "Traceback" not in errors
    assert not list((Path(environment["A2A_GATEWAY_HOME"]) / "agents").glob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--name", "ada"), "--name is for one agent, and 2 are named: codex, scripted"),
        (("--port", "4711"), "--port is for one agent"),
        (("--public-url", "https://a.example"), "--public-url is for one agent"),
    ],
)
async def test_what_one_wrapper_alone_can_have_is_refused_for_several(
    arguments: tuple[str, ...], says: str, environment: dict[str, str]
) -> None:
    code, errors = await refused(environment, "codex", "scripted", *arguments)
    assert (code, says in errors) == (2, True), errors


async def test_an_agent_named_twice_is_refused(environment: dict[str, str]) -> None:
    code, errors = await refused(environment, "scripted", "scripted")
    assert (code, "named twice" in errors) == (2, True)


async def test_several_may_share_a_token_file(environment: dict[str, str], tmp_path: Path) -> None:
    token = str(tmp_path / "token")
    arguments = ("scripted", "codex", "--token-file", token)
    async with several(environment, *arguments, agents=2) as (_, ready):
        assert {one["token_file"] for one in ready} == {token}
