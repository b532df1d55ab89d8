"""MCP's own JavaScript clients, of both eras, work with a real gateway: over HTTP and the relay."""

import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Final, NamedTuple

import anyio
import pytest

from gateway.core.face.tokens import read_token
from tests.conftest import built_environment
from tests.e2e.node import installed, program
from tests.gateway.process import Gateway, started

JS: Final = Path(__file__).parent / "js" / "mcp_client.mjs"
PACKAGES: Final = ("@modelcontextprotocol/sdk@1.32.2", "@modelcontextprotocol/client@2.4.0")
STEPS: Final = 9  # of mcp_client.mjs
PATIENCE_S: Final = 60


class Kind(NamedTuple):
    """A client: which SDK, the era it asks for, the way it goes, and the version it ends up with
    (None: 1.x does not tell)."""

    major: str
    era: str
    way: str
    version: str | None


KINDS: Final = (
    Kind("1", "legacy", "http", "2025-11-25"),
    Kind("1", "legacy", "stdio", None),
    Kind("2", "legacy", "http", "2025-11-25"),
    Kind("2", "auto", "http", "2026-07-28"),
    Kind("2", "auto", "stdio", "2026-07-28"),
)


@pytest.fixture(scope="module")
async def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return await installed(tmp_path_factory.mktemp("js"), JS, *PACKAGES)


@pytest.fixture(scope="module")
async def outcomes(
    script: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[dict[Kind, CompletedProcess[bytes]]]:
    """What became of every client. All work at once: each has a wait of some seconds to sit out."""
    folder = tmp_path_factory.mktemp("sdk")
    environment = built_environment(folder / "home") | {"RUN_CWD": str(folder)}
    done: dict[Kind, CompletedProcess[bytes]] = {}
    async with started(environment | {"A2A_GATEWAY_LOCAL_AGENTS": '["scripted"]'}) as gateway:

        async def work(kind: Kind) -> None:
            command = [program(), str(script), *kind[:3], target(gateway, kind)]
            token = {"BRIDGE_TOKEN": read_token(gateway.home.token_file)}
            done[kind] = await anyio.run_process(command, check=False, env=environment | token)

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as group:
                for kind in KINDS:
                    group.start_soon(work, kind)
        yield done


def target(gateway: Gateway, kind: Kind) -> str:
    """The relay finds the gateway by the home that its environment names."""
    relay = Path(sys.executable).with_name("a2a-mcp-bridge")
    return f"{gateway.url}/mcp" if kind.way == "http" else str(relay)


@pytest.mark.promise("poll.progress")
@pytest.mark.promise("poll.cancel")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(kind[:3]))
async def test_a_javascript_client_uses_the_seven_tools(
    outcomes: dict[Kind, CompletedProcess[bytes]], kind: Kind
) -> None:
    done = outcomes[kind]
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    told = json.loads(done.stdout)
    assert told["protocol"] == kind.version
    assert len(told["held"]) == STEPS
