"""The real Claude Code and the real Codex have agents work for them, through the bridge.

Their models are scripted (`tests.models.caller`), and so are those of the agents; all else is real.
"""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from gateway.core import json
from gateway.core.json import JsonObject
from mcp_bridge.catalog import INSTRUCTIONS
from tests.e2e.callers import KINDS, Caller, Kind, Place, place

SEVEN = {
    "spawn_run",
    "get_run",
    "poll_events",
    "cancel_run",
    "continue_run",
    "list_runs",
    "get_event_artifact",
}


@pytest.fixture
async def here(tmp_path: Path, environment: dict[str, str]) -> AsyncGenerator[Place]:
    async with place(tmp_path, environment) as made:
        yield made


def job(here: Place, backend: str, prompt: str, mode: str = "ask") -> JsonObject:
    return {
        "backend": backend,
        "role": "worker",
        "prompt": prompt,
        "cwd": str(here.project),
        "session_mode": "new",
        "backend_config": {"permission_mode": mode},
    }


async def delegates(caller: Caller) -> None:
    """Both agents do what they are asked, side by side, and ask back."""
    here = caller.place
    codex = job(here, "codex", "@sh touch made-by-codex\n@say Codex is done.")
    claude = job(here, "claude_code", "@question Which colour?|blue|green\n@results")
    outcome = (await caller.play("delegate", jobs=[codex, claude])).outcome
    of_codex, of_claude = outcome
    assert (of_codex["status"], of_codex["asked"]) == ("completed", ["permission"]), outcome
    assert of_codex["said"] == "Codex is done."
    assert (here.project / "made-by-codex").exists()
    assert (of_claude["status"], of_claude["asked"]) == ("completed", ["question"]), outcome
    assert "blue" in of_claude["said"]


async def oversees(caller: Caller) -> None:
    """One run is stopped, another one's long output read, and a refusal understood."""
    here = caller.place
    long = job(here, "codex", "@sh sleep 86399\n@say never", "auto")
    talkative = job(here, "codex", "@sh seq 1 20000\n@say Counted.", "auto")
    outcome = (await caller.play("oversee", long=long, talkative=talkative)).outcome
    assert (outcome["stopped"], outcome["last_event"]) == ("cancelled", "cancelled")
    assert outcome["piece"].startswith("1\n2\n3\n")
    assert outcome["of"] > len(outcome["piece"])
    assert sorted(outcome["runs"].values())[:2] == ["cancelled", "completed"]
    assert "list_runs" in outcome["missing"]


def the_tools_stand_in_the_first_request(caller: Caller) -> None:
    offered = caller.offered()
    assert set(offered) == SEVEN
    schema = {"claude": "input_schema", "codex": "parameters"}[caller.kind]
    for tool in offered.values():
        assert tool["description"]
        assert tool[schema]["properties"]
    assert INSTRUCTIONS in caller.instructed()


def answers_are_compact_and_begin_with_what_counts(caller: Caller) -> None:
    *answers, refusal = caller.heard()
    assert "\n" not in refusal
    for answer in answers:
        read = json.decode_object(answer)
        assert json.encode(read) == answer
        assert next(iter(read)) in ("run_id", "runs", "next_cursor")
        if "run_id" in read and "content" not in read:
            assert list(read)[1] == "status"


@pytest.mark.promise("caller.stdio")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_knows_the_relay_alone_has_agents_work_for_it(
    here: Place, kind: Kind
) -> None:
    caller = Caller(kind, here)
    await caller.configure()
    await delegates(caller)
    the_tools_stand_in_the_first_request(caller)
    await oversees(caller)
    answers_are_compact_and_begin_with_what_counts(caller)
