"""MCP's conformance suite judges a real gateway, in every version that it speaks.

What it cannot find here stands in mcp_conformance.yml, each group with its reason.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Final

import anyio
import pytest

from gateway.core.face.tokens import read_token
from tests.conftest import built_environment
from tests.e2e.doorman import admitted
from tests.e2e.node import packages, program
from tests.gateway.process import Gateway, started

PACKAGE: Final = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
BASELINE: Final = Path(__file__).parent / "mcp_conformance.yml"
PATIENCE_S: Final = 60
# What a version required when it was released, and all that the suite has: in the newest version a
# scenario knows, and in the one that Codex speaks.
SETS: Final = (
    "--requirements 2025-11-25",
    "--requirements 2026-07-28",
    "--suite all",
    "--suite all --spec-version 2025-06-18",
)
# Passed by a refusal of one of the suite's own tools, which says nothing of ours.
PASSED_IN_VAIN: Final = frozenset(
    {"input-required-result-validate-input:sep-2322-error-on-protocol-error"}
)


@dataclass
class Verdict:
    """How one set ended; `checks` by "scenario:check": (status, all that the suite noted)."""

    done: CompletedProcess[bytes]
    checks: dict[str, list[tuple[str, str]]] = field(
        default_factory=dict[str, list[tuple[str, str]]]
    )

    def read(self, folder: Path) -> None:
        for path in folder.glob("*/checks.json"):
            match = re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z", path.parent.name)
            assert match is not None, path
            noted: list[dict[str, Any]] = json.loads(path.read_bytes())
            for check in noted:
                name = f"{match[1]}:{check['id']}"
                self.checks.setdefault(name, []).append((check["status"], json.dumps(check)))


@pytest.fixture(scope="module")
async def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    folder = tmp_path_factory.mktemp("conformance")
    suite = await packages(folder / "npm", PACKAGE)
    environment = built_environment(folder / "home")
    found: dict[str, Verdict] = {}
    async with started(environment | {"A2A_GATEWAY_LOCAL_AGENTS": '["scripted"]'}) as gateway:
        await _a_run(gateway, folder)
        port = int(gateway.url.rpartition(":")[2])
        async with admitted(port, read_token(gateway.home.token_file)) as url:
            for number, words in enumerate(SETS):
                out = folder / str(number)
                command = [
                    program(), str(suite / "node_modules/@modelcontextprotocol/conformance/dist/index.js"),
                    "server", "--url", f"{url}/mcp", *words.split(),
                    "--expected-failures", str(BASELINE), "--output-dir", str(out),
                ]  # fmt: skip
                with anyio.fail_after(PATIENCE_S):
                    done = await anyio.run_process(command, check=False, env=environment)
                found[words] = Verdict(done)
                found[words].read(out)
    return found


async def _a_run(gateway: Gateway, folder: Path) -> None:
    """Something to list and to read."""
    spawned = await gateway.ask(
        "spawn_run", backend="remote_a2a", backend_config={"agent": "scripted"}, role="worker",
        prompt="say hello", cwd=str(folder), session_mode="new",
    )  # fmt: skip
    page = await gateway.ask("poll_events", run_id=spawned["run_id"], after_seq=0)
    assert page["events"]


@pytest.mark.parametrize("words", SETS)
async def test_the_gateway_conforms_but_for_what_is_written_down(
    verdicts: dict[str, Verdict], words: str
) -> None:
    verdict = verdicts[words]
    said = verdict.done.stdout.decode(errors="replace")
    assert verdict.done.returncode == 0, said[said.find("=== SUMMARY") :]
    for needed in ("tools-list:tools-list", "resources-list:resources-list"):
        assert [status for status, _ in verdict.checks[needed]] == ["SUCCESS"]


async def test_what_is_written_down_is_still_so(verdicts: dict[str, Verdict]) -> None:
    lines = re.findall(r"^ +- (\S+)$", BASELINE.read_text("utf-8"), re.MULTILINE)
    wrong = {
        name
        for verdict in verdicts.values()
        for name, found in verdict.checks.items()
        if any(status in ("FAILURE", "WARNING") for status, _ in found)
    }
    wrong |= {name.partition(":")[0] for name in wrong}
    assert [line for line in lines if line not in wrong] == []
    assert len(lines) == len(set(lines))


async def test_nothing_passes_because_a_tool_of_the_suite_is_refused(
    verdicts: dict[str, Verdict],
) -> None:
    # Two checks did when unknown tools were refused as results: any text was the text they wanted.
    in_vain = {
        name
        for verdict in verdicts.values()
        for name, found in verdict.checks.items()
        if any(status == "SUCCESS" and "no tool '" in noted for status, noted in found)
        and not name.startswith("tasks-")
        and not name.endswith(":wire-schema-valid")
    }
    assert in_vain == PASSED_IN_VAIN
