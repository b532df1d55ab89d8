"""The life of a task under the contracts of a2a-proof, a peer that knows nothing of ours.

It runs as its own process, as its users run it.
"""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from gateway.core import json
from gateway.core.json import JsonObject
from tests.wrappers.launched import launched

CONTRACTS = Path(__file__).with_name("a2a_proof")
PROOF = Path(sys.executable).with_name("a2a-proof")
PROOF_S = 120.0  # its own limit is 20 s a turn


async def verdict(contract: str, base_url: str, binding: str) -> JsonObject:
    """What a2a-proof says of the agent at `base_url` over one binding."""
    with anyio.fail_after(PROOF_S):
        done = await anyio.run_process(
            [PROOF, "run", CONTRACTS / contract, "--format", "json", "--transport", binding],
            env={"PATH": "/usr/bin:/bin", "AGENT_URL": base_url},
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.stdout, done.stderr.decode()
    return json.decode_object(done.stdout)


def failures(result: JsonObject) -> dict[str, list[str]]:
    """What went wrong, by scenario."""
    found: dict[str, list[str]] = {}
    for scenario in result["scenarios"]:
        for trial in scenario["trials"]:
            if not trial["passed"]:
                said = [text for turn in trial["turns"] for text in turn["failures"]]
                found[scenario["name"]] = [*said, str(trial.get("error"))]
    return found


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_a_wrapper_keeps_the_contract_of_a_tasks_life(tmp_path: Path, binding: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "A2A_GATEWAY_HOME": str(tmp_path),
    }
    async with launched(environment, "scripted", "--root", str(work), "--no-auth") as agent:
        result = await verdict("life.yaml", agent.ready["base_url"], binding)
    assert failures(result) == {}
    assert result["passed"] is True
