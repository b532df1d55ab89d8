"""Codex asks and is answered, is spoken to, and is stopped: the real binary, a scripted model."""

import json
import tempfile
from pathlib import Path

import anyio

from gateway.core.events import (
    CommandFinished,
    CommandStarted,
    FileChanged,
    MessageAdded,
    RunCompleted,
    StatusChanged,
)
from gateway.core.extension import Answer, PendingRequest
from gateway.core.messages import user_text
from tests.wrappers.codex_bench import (
    PATIENCE_S,
    Bench,
    Gate,
    only,
    play,
    turn_of,
    types,
)
from wrappers.adapter import Ask, Bound, Step


def allow(request: PendingRequest) -> Answer:
    return Answer(request_id=request.request_id, option="allow")


def allow_session(request: PendingRequest) -> Answer:
    return Answer(request_id=request.request_id, option="allow_session")


def deny(request: PendingRequest) -> Answer:
    return Answer(request_id=request.request_id, option="deny", message="use the other folder")


def abort(request: PendingRequest) -> Answer:
    return Answer(request_id=request.request_id, option="abort")


async def test_a_command_that_is_allowed_runs(bench: Bench) -> None:
    session = await bench.open()
    steps = await play(session, "@sh touch made\n@say done", allow, permission_mode="ask")
    (ask,) = only(Ask, steps)
    assert ask.request.kind == "permission"
    assert ask.request.tool == "shell"
    assert "touch made" in (ask.request.input or {})["command"]
    assert [option.id for option in ask.request.options] == [
        "allow",
        "allow_session",
        "deny",
        "abort",
    ]
    assert (bench.work / "made").exists()
    assert types(steps)[-1] == "run_completed"


async def test_allowed_for_the_session_it_is_not_asked_again(bench: Bench) -> None:
    session = await bench.open()
    script = "@sh touch made\n@sh touch made\n@say done"
    steps = await play(session, script, allow_session, permission_mode="ask")
    assert len(only(Ask, steps)) == 1
    assert len(only(CommandFinished, steps)) == 2


async def test_a_denied_command_does_not_run_and_the_model_hears_why(bench: Bench) -> None:
    script = "@sh touch made\n@results"
    steps = await play(await bench.open(), script, deny, permission_mode="ask")
    (ended,) = only(CommandFinished, steps)
    assert ended.status == "declined"
    assert not (bench.work / "made").exists()
    assert "use the other folder" in bench.said()
    assert types(steps)[-1] == "run_completed"


async def test_denied_and_stopped_the_run_is_cancelled(bench: Bench) -> None:
    steps = await play(await bench.open(), "@sh touch made\n@say no", abort, permission_mode="ask")
    end = steps[-1]
    assert isinstance(end, StatusChanged)
    assert (end.status, end.reason) == ("cancelled", "stopped_by_answer")
    assert not (bench.work / "made").exists()


async def test_a_patch_is_shown_with_its_diff_before_it_is_applied(bench: Bench) -> None:
    script = "@patch a.txt hello\n@say done"
    steps = await play(await bench.open(), script, allow, permission_mode="ask")
    (ask,) = only(Ask, steps)
    assert ask.request.tool == "apply_patch"
    (change,) = (ask.request.input or {})["changes"]
    assert (change["kind"], change["diff"]) == ("add", "@@ -0,0 +1,1 @@\n+hello\n")
    (changed,) = only(FileChanged, steps)
    assert changed.status == "completed"
    assert (bench.work / "a.txt").read_text("utf-8") == "hello\n"


async def test_a_denied_patch_is_declined(bench: Bench) -> None:
    script = "@patch a.txt hello\n@say done"
    steps = await play(await bench.open(), script, deny, permission_mode="ask")
    (changed,) = only(FileChanged, steps)
    assert changed.status == "declined"
    assert not (bench.work / "a.txt").exists()


async def test_leaving_the_sandbox_is_a_question_of_its_own(bench: Bench) -> None:
    script = "@escalate echo out\n@say done"
    steps = await play(await bench.open(), script, allow, permission_mode="ask")
    (ask,) = only(Ask, steps)
    assert "needs echo out" in ask.request.text
    assert types(steps)[-1] == "run_completed"


async def test_nothing_is_asked_in_auto_mode(bench: Bench) -> None:
    steps = await play(await bench.open(), "@sh touch made\n@escalate echo out\n@say done")
    assert not only(Ask, steps)
    assert (bench.work / "made").exists()


async def test_a_question_to_the_orchestrator_is_answered_into_the_model(bench: Bench) -> None:
    arguments = json.dumps({"question": "Which colour?", "options": ["red", "blue"]})

    def answer(request: PendingRequest) -> Answer:
        (question,) = request.questions
        assert [option.label for option in question.options] == ["red", "blue"]
        return Answer(request_id=request.request_id, answers={question.id: "blue"})

    script = f"@tool ask_orchestrator {arguments}\n@results"
    steps = await play(await bench.open(), script, answer)
    (ask,) = only(Ask, steps)
    assert (ask.request.kind, ask.request.text) == ("question", "Which colour?")
    (end,) = only(RunCompleted, steps)
    assert end.final_response == "blue"


async def test_the_models_own_questions_reach_the_caller(bench: Bench) -> None:
    question = {
        "id": "db",
        "header": "Storage",
        "question": "Which database?",
        "options": [
            {"label": "sqlite", "description": "a file"},
            {"label": "postgres", "description": "a server"},
        ],
    }

    def answer(request: PendingRequest) -> Answer:
        assert request.questions[0].options[1].description == "a server"
        return Answer(request_id=request.request_id, answers={"db": "sqlite"})

    script = f"@input {json.dumps({'questions': [question]})}\n@results"
    steps = await play(await bench.open(), script, answer)
    (ask,) = only(Ask, steps)
    assert ask.request.title == "Storage"
    (end,) = only(RunCompleted, steps)
    assert "sqlite" in (end.final_response or "")


async def test_a_plan_is_approved_before_it_is_carried_out(bench: Bench) -> None:
    script = "@say <proposed_plan>\\nFirst this.\\n</proposed_plan>"
    answers = iter(("deny", "allow"))

    def answer(request: PendingRequest) -> Answer:
        option = next(answers)
        message = script if option == "deny" else None
        return Answer(request_id=request.request_id, option=option, message=message)

    steps = await play(await bench.open(), script, answer, permission_mode="plan")
    plans = [ask.request for ask in only(Ask, steps)]
    assert [(plan.kind, plan.text.strip()) for plan in plans] == [("plan", "First this.")] * 2
    assert plans[0].request_id != plans[1].request_id
    assert only(MessageAdded, steps)[0].extra["phase"] == "plan"
    (end,) = only(RunCompleted, steps)
    assert end.final_response == "echo: The plan is approved. Carry it out."
    assert types(steps).count("run_started") == 1


async def test_a_message_into_a_running_turn_is_heard(bench: Bench) -> None:
    session, gate = await bench.open(), Gate(bench.work)
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of("@sh cat gate\n@results")):
            if isinstance(step, CommandStarted):
                assert await session.steer(user_text("m-2", "mind the gap"))
                await gate.open()
    assert "mind the gap" in bench.said()
    assert not await session.steer(user_text("m-3", "too late"))


async def answered_backwards(bench: Bench, script: str, count: int) -> list[Step]:
    """The steps of a run in mode `ask` whose requests are answered last first, when all are open."""
    session = await bench.open()
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of(script, permission_mode="ask")):
            steps.append(step)
            asks = only(Ask, steps)
            if isinstance(step, Ask) and len(asks) == count:
                await session.answer(deny(asks[-1].request))
                for ask in reversed(asks[:-1]):
                    await session.answer(allow(ask.request))
    return steps


async def test_two_commands_at_once_are_answered_in_any_order(bench: Bench) -> None:
    script = "@with sh touch first\n@sh touch second\n@say done"
    steps = await answered_backwards(bench, script, 2)
    asks = only(Ask, steps)
    assert len({ask.request.request_id for ask in asks}) == 2
    refused = [name for name in ("first", "second") if name in str(asks[-1].request.input)]
    assert [path.name for path in bench.work.iterdir()] == [
        name for name in ("first", "second") if name not in refused
    ]
    assert sorted(step.status or "" for step in only(CommandFinished, steps)) == [
        "completed",
        "declined",
    ]
    assert types(steps)[-1] == "run_completed"


async def test_two_sub_agents_ask_at_once(bench: Bench) -> None:
    spawn = "@ns multi_agent_v1 spawn_agent"
    script = "\n".join(
        f"{spawn} {json.dumps({'message': f'@sh touch {name} && echo up > gate{name}'})}"
        for name in "ab"
    )
    gates = [Gate(bench.work, f"gate{name}") for name in "ab"]
    session = await bench.open()
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        turn = turn_of(f"{script}\n@sleep 60\n@say no", permission_mode="ask")
        async for step in session.run(turn):
            steps.append(step)
            if isinstance(step, Ask) and len(asks := only(Ask, steps)) == 2:
                for ask in reversed(asks):
                    await session.answer(allow(ask.request))
                for gate in gates:
                    await gate.reached()
                await session.cancel()
    assert (bench.work / "a").exists()
    assert (bench.work / "b").exists()


async def test_what_is_allowed_for_the_session_is_written_nowhere(bench: Bench) -> None:
    script = "@sh touch made-once\n@patch a.txt hello\n@sh touch made-once\n@say done"
    config = bench.home / "codex" / "config.toml"
    before = config.read_bytes()
    steps = await play(await bench.open(), script, allow_session, permission_mode="ask")
    assert types(steps)[-1] == "run_completed"
    await bench.adapters[0].close()
    assert config.read_bytes() == before
    assert not list((bench.home / "codex").rglob("*.rules"))
    assert sorted(path.name for path in bench.work.iterdir()) == ["a.txt", "made-once"]
    # Another process has not heard of it.
    bench.adapter()
    session = await bench.open(session=only(Bound, steps)[0].vendor_session)
    again = await play(session, "@sh touch made-once\n@say done", deny, permission_mode="ask")
    assert len(only(Ask, again)) == 1


async def test_what_nobody_allowed_is_not_tried_outside_the_sandbox(bench: Bench) -> None:
    # What was allowed is, at times: Codex tries again where it sees at once that the sandbox was it.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as outside:
        await play(await bench.open(), f"@sh touch {outside}/made\n@results")
        assert not (Path(outside) / "made").exists()
