"""What waited for an answer when Codex's process ended goes on in a new one: the real binary."""

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from gateway.core.events import CommandFinished, FileChanged, RunCompleted, RunFailed
from gateway.core.extension import Answer, PendingRequest
from gateway.core.messages import TextPart, user_text
from tests.wrappers.codex_bench import (
    PATIENCE_S,
    Bench,
    app_server_of,
    only,
    play,
    turn_of,
    types,
)
from wrappers.adapter import Answered, Ask, Bound, Step, Turn
from wrappers.resumption import message_of

Choose = Callable[[PendingRequest], Answer]


def option(choice: str, message: str | None = None) -> Choose:
    return lambda request: Answer(request_id=request.request_id, option=choice, message=message)


def words(text: str) -> Choose:
    return lambda request: Answer(
        request_id=request.request_id, answers={request.questions[0].id: text}
    )


async def pending(bench: Bench, script: str, **request: Any) -> tuple[str, PendingRequest]:
    """The thread and the open request of a run whose process, and its wrapper's, is killed."""
    session = await bench.open()
    bound, asked = "", list[PendingRequest]()
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of(script, **request)):
            match step:
                case Bound(vendor_session=thread):
                    bound = thread
                case Ask(request=ask):
                    asked.append(ask)
                    break
                case _:
                    pass
        os.kill(app_server_of(bench), signal.SIGKILL)
        await bench.adapters[-1].close()
    bench.adapter()
    return bound, asked[0]


async def resumed(
    bench: Bench,
    thread: str | None,
    answered: Answered,
    more: str = "",
    answer: Choose | None = None,
    **request: Any,
) -> list[Step]:
    """All steps of the run that goes on; the scripted model does what `more` says."""
    session = await bench.open(session=thread)
    told = message_of("r-1", [answered])
    text = "\n".join([*(part.text for part in told.parts if isinstance(part, TextPart)), more])
    turn = turn_of(user_text("m-2", text), **request)
    turn = Turn(run_id="r-1", message=turn.message, request=turn.request, answered=(answered,))
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn):
            steps.append(step)
            if isinstance(step, Ask):
                assert answer is not None, f"nobody answers {step.request}"
                await session.answer(answer(step.request))
    return steps


async def test_a_command_that_was_allowed_runs_without_being_asked_for_again(bench: Bench) -> None:
    # What the response that asks has cost Codex may not have kept when it is killed.
    script = "@todo a|b 1\n@sh touch made\n@say no"
    thread, request = await pending(bench, script, permission_mode="ask")
    answered = Answered(request=request, answer=option("allow")(request))
    script = "@sh touch made\n@say done"
    steps = await resumed(bench, thread, answered, script, permission_mode="ask")
    assert not only(Ask, steps)
    assert [step.vendor_session for step in only(Bound, steps)] == [thread] * len(
        only(Bound, steps)
    )
    assert only(CommandFinished, steps)[0].status == "completed"
    assert (bench.work / "made").exists()
    assert "It is granted" in bench.said()
    (end,) = only(RunCompleted, steps)
    assert end.usage is not None
    assert end.usage["total_tokens"] >= 3 * 1050  # of the run, not of what came after the restart


async def test_what_was_allowed_is_good_once(bench: Bench) -> None:
    thread, request = await pending(bench, "@sh touch made\n@say no", permission_mode="ask")
    answered = Answered(request=request, answer=option("allow")(request))
    script = "@sh touch made\n@sh touch made\n@say done"
    steps = await resumed(bench, thread, answered, script, option("deny"), permission_mode="ask")
    (ask,) = only(Ask, steps)
    assert ask.request.request_id != request.request_id
    assert [step.status for step in only(CommandFinished, steps)] == ["completed", "declined"]


async def test_another_command_than_the_allowed_one_is_asked_for(bench: Bench) -> None:
    thread, request = await pending(bench, "@sh touch made\n@say no", permission_mode="ask")
    answered = Answered(request=request, answer=option("allow")(request))
    script = "@sh touch other\n@say done"
    steps = await resumed(bench, thread, answered, script, option("deny"), permission_mode="ask")
    (ask,) = only(Ask, steps)
    assert ask.request.request_id != request.request_id
    assert not (bench.work / "other").exists()


async def test_allowed_for_the_session_it_is_not_asked_for_again(bench: Bench) -> None:
    thread, request = await pending(bench, "@sh touch made\n@say no", permission_mode="ask")
    answered = Answered(request=request, answer=option("allow_session")(request))
    script = "@sh touch made\n@sh touch made\n@say done"
    steps = await resumed(bench, thread, answered, script, permission_mode="ask")
    assert len(only(CommandFinished, steps)) == 2


async def test_a_denied_command_is_told_and_not_run(bench: Bench) -> None:
    thread, request = await pending(bench, "@sh touch made\n@say no", permission_mode="ask")
    answered = Answered(request=request, answer=option("deny", "use the other folder")(request))
    steps = await resumed(bench, thread, answered, "@say understood", permission_mode="ask")
    assert types(steps)[-1] == "run_completed"
    assert "use the other folder" in bench.said()
    assert not (bench.work / "made").exists()


async def test_a_patch_that_was_allowed_is_applied_without_being_asked_for_again(
    bench: Bench,
) -> None:
    script = "@patch a.txt hello\n@say done"
    thread, request = await pending(bench, script, permission_mode="ask")
    answered = Answered(request=request, answer=option("allow")(request))
    steps = await resumed(bench, thread, answered, script, permission_mode="ask")
    assert not only(Ask, steps)
    assert only(FileChanged, steps)[0].status == "completed"
    assert (bench.work / "a.txt").read_text("utf-8") == "hello\n"


async def test_permissions_that_were_granted_are_not_asked_for_again(bench: Bench) -> None:
    bench.settings("", features=("request_permissions_tool",))
    wanted = {"network": {"enabled": True}}
    script = (
        f"@tool request_permissions {json.dumps({'reason': 'to fetch', 'permissions': wanted})}"
    )
    thread, request = await pending(bench, f"{script}\n@say no", permission_mode="ask")
    assert request.tool == "request_permissions"
    answered = Answered(request=request, answer=option("allow")(request))
    steps = await resumed(bench, thread, answered, f"{script}\n@results", permission_mode="ask")
    assert not only(Ask, steps)
    (end,) = only(RunCompleted, steps)
    assert "network" in (end.final_response or "")


async def test_an_answer_to_the_agents_question_is_told(bench: Bench) -> None:
    question = json.dumps({"question": "Which colour?"})
    thread, request = await pending(bench, f"@tool ask_orchestrator {question}\n@say no")
    answered = Answered(request=request, answer=words("mirabelle")(request))
    steps = await resumed(bench, thread, answered, "@say thanks")
    assert types(steps)[-1] == "run_completed"
    assert "Which colour?" in bench.said()
    assert "mirabelle" in bench.said()


async def test_an_answer_to_the_models_question_is_told(bench: Bench) -> None:
    question = {"id": "db", "header": "Storage", "question": "Which database?"}
    question |= {"options": [{"label": "sqlite", "description": "a file"}]}
    script = f"@input {json.dumps({'questions': [question]})}\n@say no"
    thread, request = await pending(bench, script)
    answered = Answered(request=request, answer=words("sqlite")(request))
    steps = await resumed(bench, thread, answered, "@say thanks")
    assert types(steps)[-1] == "run_completed"
    assert "The answer: sqlite" in bench.said()


PLAN = "@say <proposed_plan>\\nFirst this.\\n</proposed_plan>"
PLANNING = "You work in 3 phases"  # of Codex's own instructions in plan mode


def planning(bench: Bench) -> bool:
    """Whether the last request's latest word on the mode is to plan."""
    modes = [
        text
        for item in bench.model.requests[-1]["input"]
        if item.get("role") == "developer" and "<collaboration_mode>" in (text := str(item))
    ]
    return "# Plan Mode" in modes[-1]


async def test_a_plan_that_was_approved_is_carried_out(bench: Bench) -> None:
    thread, request = await pending(bench, PLAN, permission_mode="plan")
    assert planning(bench)
    answered = Answered(request=request, answer=option("allow")(request))
    script = "@sh touch made\n@say done"
    steps = await resumed(bench, thread, answered, script, permission_mode="plan")
    assert types(steps)[-1] == "run_completed"
    assert not planning(bench)
    assert (bench.work / "made").exists()
    assert "Your plan is approved" in bench.said()


async def test_a_plan_that_was_not_approved_is_made_anew(bench: Bench) -> None:
    thread, request = await pending(bench, PLAN, permission_mode="plan")
    answered = Answered(request=request, answer=option("deny", "too short")(request))
    steps = await resumed(bench, thread, answered, PLAN, option("allow"), permission_mode="plan")
    (ask,) = only(Ask, steps)
    assert (ask.request.kind, ask.request.text.strip()) == ("plan", "First this.")
    assert ask.request.request_id != request.request_id
    assert types(steps)[-1] == "run_completed"


@pytest.mark.parametrize("approved", [True, False])
async def test_a_question_on_the_way_leaves_the_plan_as_it_stood(
    bench: Bench, approved: bool
) -> None:
    question = f"@tool ask_orchestrator {json.dumps({'question': 'Which colour?'})}"
    session = await bench.open()
    thread, asked = "", list[PendingRequest]()
    first = f"{PLAN}\n@next {question[1:]}" if approved else question
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of(first, permission_mode="plan")):
            if isinstance(step, Bound):
                thread = step.vendor_session
            if isinstance(step, Ask) and step.request.kind == "plan":
                await session.answer(option("allow")(step.request))
            elif isinstance(step, Ask):
                asked.append(step.request)
                break
    os.kill(app_server_of(bench), signal.SIGKILL)
    await bench.adapters[-1].close()
    bench.adapter()
    answered = Answered(request=asked[0], answer=words("blue")(asked[0]))
    steps = await resumed(bench, thread, answered, "@say thanks", permission_mode="plan")
    assert types(steps)[-1] == "run_completed"
    assert planning(bench) is not approved


@pytest.mark.parametrize("thread", ["01990000-0000-7000-8000-000000000000", None])
async def test_without_its_thread_a_run_that_waited_is_interrupted(
    bench: Bench, thread: str | None
) -> None:
    _, request = await pending(bench, "@sh touch made\n@say no", permission_mode="ask")
    heard = len(bench.model.requests)
    answered = Answered(request=request, answer=option("allow")(request))
    steps = await resumed(bench, thread, answered, "@say no", permission_mode="ask")
    (end,) = only(RunFailed, steps)
    assert steps == [end]
    assert end.reason == "interrupted"
    assert len(bench.model.requests) == heard


async def test_a_process_that_dies_while_it_asks_ends_the_run_and_the_next_one_goes_on(
    bench: Bench,
) -> None:
    session = await bench.open()
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of("@sh touch a\n@say no", permission_mode="ask")):
            steps.append(step)
            if isinstance(step, Ask):
                os.kill(app_server_of(bench), signal.SIGKILL)
    (end,) = only(RunFailed, steps)
    assert end.reason == "interrupted"
    assert not (bench.work / "a").exists()
    after = await play(session, "@say on")
    assert types(after)[-1] == "run_completed"
    assert "touch a" in bench.said()
