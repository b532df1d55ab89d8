"""The real clients are asked what a run asks: by a hook of their person, and without one."""

import sys
from pathlib import Path

import pytest

from gateway.core import json
from gateway.core.json import JsonObject
from tests.e2e.callers import Caller, Kind, Place, place
from tests.e2e.test_agents_as_callers import job

# Claude Code's hook for what a server asks: it answers in a person's place.
HOOK = """
import json, sys
asked = json.load(sys.stdin)
assert "Which colour?" in asked["message"], asked
content = {"q1": asked["requested_schema"]["properties"]["q1"]["enum"][1]}
answer = {"hookEventName": "Elicitation", "action": "accept", "content": content}
print(json.dumps({"hookSpecificOutput": answer}))
"""


def _made(project: Path) -> Path:
    project.mkdir()
    return project


async def _asks(there: Place, project: Path, kind: Kind = "claude") -> tuple[JsonObject, list[str]]:
    """The outcome of a run that asks for a colour, and what its caller's model was told."""
    caller = Caller(kind, there, project)
    await caller.configure(flags=["--elicit"])
    claude = job(caller, "claude_code", "@question Which colour?|blue|green\n@results")
    [outcome] = (await caller.play("delegate", jobs=[claude])).outcome
    assert outcome["status"] == "completed", outcome
    return outcome, caller.heard()


@pytest.mark.promise("elicit.left")
async def test_claude_code_asks_its_person_and_else_its_model(tmp_path: Path) -> None:
    async with place(tmp_path / "place") as there:
        # Claude Code speaks the handshake's era, which cannot ask, where it waits 2 s for an answer.
        await there.gateway()
        outcome, told = await _asks(there, _made(tmp_path / "nobody"))
        assert outcome["asked"] == ["question"], "the model was asked"
        assert "blue" in outcome["said"]
        assert any('"did":"cancel"' in text for text in told)

        hook = tmp_path / "hook.py"
        hook.write_text(HOOK, encoding="utf-8")
        doing = {"type": "command", "command": f"{sys.executable} {hook}"}
        settings: JsonObject = {"hooks": {"Elicitation": [{"hooks": [doing]}]}}
        config = Path(there.environment["CLAUDE_CONFIG_DIR"]) / "settings.json"
        config.write_text(json.encode(settings), encoding="utf-8")
        outcome, told = await _asks(there, _made(tmp_path / "somebody"))
        assert outcome["asked"] == [], "the model was not asked"
        assert "green" in outcome["said"]
        assert any('"did":"answered"' in text for text in told)


@pytest.mark.promise("elicit.relay")
async def test_codex_without_a_person_declines_and_its_model_answers(tmp_path: Path) -> None:
    # Codex speaks the handshake's era: the relay asks it by requests of its own.
    async with place(tmp_path / "place") as there:
        outcome, told = await _asks(there, _made(tmp_path / "nobody"), "codex")
        assert outcome["asked"] == ["question"], "the model was asked"
        assert "blue" in outcome["said"]
        assert any('"did":"decline"' in text for text in told), told
