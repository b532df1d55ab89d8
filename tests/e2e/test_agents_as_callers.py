"""The real Claude Code and the real Codex have agents work for them, through the bridge.

Their models are scripted (`tests.models.caller`), and so are those of the agents; all else is real.
"""

import os
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from gateway.core import json
from gateway.core.json import JsonObject
from mcp_bridge.catalog import INSTRUCTIONS
from tests.e2e.callers import KINDS, WHOLE_S, Caller, Kind, Place, place
from tests.models.openai_responses import CODING

PAGE_BYTES = 65_536  # of get_event_artifact when nobody says how many
SEVEN = {
    "spawn_run",
    "get_run",
    "poll_events",
    "cancel_run",
    "continue_run",
    "list_runs",
    "get_event_artifact",
}


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Place]:
    async with place(tmp_path_factory.mktemp("callers")) as made:
        yield made


def job(caller: Caller, backend: str, prompt: str, mode: str = "ask") -> JsonObject:
    return {
        "backend": backend,
        "role": "worker",
        "prompt": prompt,
        "cwd": str(caller.project),
        "session_mode": "new",
        "backend_config": {"permission_mode": mode},
    }


async def delegates(caller: Caller) -> None:
    """Both agents do what they are asked, side by side, and ask back."""
    codex = job(caller, "codex", "@sh touch made-by-codex\n@say Codex is done.")
    claude = job(caller, "claude_code", "@question Which colour?|blue|green\n@results")
    outcome = (await caller.play("delegate", jobs=[codex, claude])).outcome
    of_codex, of_claude = outcome
    assert (of_codex["status"], of_codex["asked"]) == ("completed", ["permission"]), outcome
    assert of_codex["said"] == "Codex is done."
    assert (caller.project / "made-by-codex").exists()
    assert (of_claude["status"], of_claude["asked"]) == ("completed", ["question"]), outcome
    assert "blue" in of_claude["said"]


async def oversees(caller: Caller) -> None:
    """One run is stopped, another one's long output read, and a refusal understood."""
    long = job(caller, "codex", "@sh sleep 86399\n@say never", "auto")
    talkative = job(caller, "codex", "@sh seq 1 20000\n@say Counted.", "auto")
    outcome = (await caller.play("oversee", long=long, talkative=talkative)).outcome
    assert (outcome["stopped"], outcome["last_event"]) == ("cancelled", "cancelled")
    assert outcome["piece"].startswith("1\n2\n3\n")
    assert outcome["page"] == {"bytes": PAGE_BYTES, "read": PAGE_BYTES}
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
    here: Place, kind: Kind, tmp_path: Path
) -> None:
    await here.no_gateway()
    caller = Caller(kind, here, tmp_path)
    await caller.install()
    await delegates(caller)
    the_tools_stand_in_the_first_request(caller)
    await oversees(caller)
    answers_are_compact_and_begin_with_what_counts(caller)


@pytest.mark.promise("caller.http")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_knows_the_gateways_url_and_token_has_agents_work_for_it(
    here: Place, kind: Kind, tmp_path: Path
) -> None:
    await here.gateway()
    caller = Caller(kind, here, tmp_path)
    await caller.configure("--http")
    await delegates(caller)
    the_tools_stand_in_the_first_request(caller)
    await oversees(caller)
    answers_are_compact_and_begin_with_what_counts(caller)


@pytest.mark.promise("caller.stdio")
async def test_a_model_that_calls_its_tools_from_code_finds_those_of_the_bridge_declared(
    here: Place, tmp_path: Path
) -> None:
    caller = Caller("codex", here, tmp_path, CODING)
    await caller.install()
    made = json.encode(job(caller, "codex", "@say Done.", "auto"))
    code = (
        f"const run = await tools.mcp__a2a_gateway__spawn_run({made});"
        "const asked = {run_id: run.structuredContent.run_id, after_seq: 0, types: ['run_completed']};"
        "const page = await tools.mcp__a2a_gateway__poll_events(asked);"
        "text('it has ' + page.structuredContent.status);"
    )
    finished = await caller.finished(await caller.asked(f"@js {code}\n@results"))
    assert "it has completed" in finished.said, finished
    first = next(text for text in map(json.encode, here.openai.requests) if "@js" in text)
    assert all(f"{name}(args: {{" in first for name in SEVEN)
    assert json.encode(INSTRUCTIONS)[1:-1] in first


@pytest.mark.promise("caller.gone")
async def test_what_a_killed_client_has_begun_goes_on_and_another_client_finds_it(
    here: Place, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    killed, finder = (Caller(kind, here, tmp_path) for kind in KINDS)
    await killed.configure()
    await finder.configure()
    process = await killed.start(
        "begin", job=job(killed, "codex", "@sh cat gate\n@results", "auto")
    )
    await killed.hears("command_started")  # the next thing it does is to wait in a poll
    process.kill()
    await killed.finished(process)
    process = await finder.start("find", cwd=str(tmp_path))
    await finder.hears('"status":"running"')
    await opened(gate, "It is open.")
    outcome = (await finder.finished(process)).outcome
    assert outcome["status"] == "completed"
    assert "It is open." in outcome["said"]


async def opened(gate: Path, text: str) -> None:
    """Write into a pipe that somebody reads."""
    with anyio.fail_after(WHOLE_S):
        await to_thread.run_sync(gate.write_text, text, "utf-8", abandon_on_cancel=True)
