"""What every agent must do behind the adapter's interface: the scripted one and the real CLIs."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import anyio
import pytest

from gateway.core.events import (
    CommandFinished,
    CommandStarted,
    RunCompleted,
    RunFailed,
    RunStarted,
)
from gateway.core.extension import ABORT, ALLOW, DENY, Answer, CodingRequest, PendingRequest
from gateway.core.messages import user_text
from tests.contract.playing import (
    PATIENCE_S,
    choose,
    ended_as_cancelled,
    of,
    play,
    terminal,
    turn_of,
)
from tests.contract.subjects import Subject
from tests.wrappers.held import holding
from wrappers.adapter import AgentSession, Ask, Bound, Step, UnsupportedError, Withdraw

# -- a turn --------------------------------------------------------------------------------------


async def test_a_turn_starts_once_and_ends_once_with_its_final_response(subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())
    steps = await play(session, subject.language.say.format("hello"))
    assert len(of(RunStarted, steps)) == 1
    assert [step for step in steps if terminal(step)] == steps[-1:]
    assert isinstance(steps[-1], RunCompleted)
    assert steps[-1].final_response == "hello"
    assert steps[-1].usage


async def test_an_adapter_has_its_agents_name(subject: Subject) -> None:
    assert subject.adapter().name == subject.name


async def test_the_vendors_session_is_bound_before_the_work_begins(subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())
    steps = await play(session, subject.language.say.format("hello"))
    kinds = [type(step) for step in steps if isinstance(step, Bound | RunCompleted)]
    assert kinds[0] is Bound
    assert of(Bound, steps)[-1].vendor_session


async def test_a_command_shows_its_start_and_its_end(subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())
    steps = await play(session, subject.language.command.format("printf marked > file; echo out"))
    assert (subject.cwd / "file").read_text("utf-8") == "marked"
    started, finished = of(CommandStarted, steps), of(CommandFinished, steps)
    assert len(started) == len(finished) == 1
    assert "printf marked" in (started[0].command or "")
    assert (finished[0].status, finished[0].exit_code) == ("completed", 0)
    assert "out" in (finished[0].output or "")


async def test_a_failure_is_told_with_a_reason(subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())
    steps = await play(session, subject.language.fail)
    failed = steps[-1]
    assert isinstance(failed, RunFailed)
    assert failed.message
    assert failed.reason
    again = await play(session, subject.language.say.format("still here"))
    assert isinstance(again[-1], RunCompleted)


async def test_what_cannot_be_honoured_is_refused_by_its_field(subject: Subject) -> None:
    with pytest.raises(UnsupportedError) as caught:
        subject.adapter().check(CodingRequest(output_schema={"type": 5}))
    assert caught.value.field == "output_schema"


# -- asking --------------------------------------------------------------------------------------


async def test_a_question_waits_for_its_answer(subject: Subject) -> None:
    asked: list[PendingRequest] = []

    def reply(request: PendingRequest) -> Answer:
        asked.append(request)
        return Answer(request_id=request.request_id, answers={request.questions[0].id: "green"})

    session = await subject.adapter().open(subject.context())
    steps = await play(session, subject.language.question.format(), reply)
    assert [request.kind for request in asked] == ["question"]
    assert [option.label for option in asked[0].questions[0].options][:2] == ["blue", "green"]
    assert isinstance(steps[-1], RunCompleted)
    assert "green" in str(steps)


@pytest.mark.parametrize("option", [ALLOW, DENY, ABORT])
async def test_a_permission_does_what_its_answer_says(option: str, subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())
    prompt = subject.language.permission.format()
    steps = await play(session, prompt, choose(option), permission_mode="ask")
    [ask] = of(Ask, steps)
    assert ask.request.kind == "permission"
    assert ask.request.tool
    assert {ALLOW, DENY} <= {choice.id for choice in ask.request.options}
    assert isinstance(steps[-1], RunCompleted) or option == ABORT
    assert ended_as_cancelled(steps) == (option == ABORT)
    if subject.name != "scripted":
        assert (subject.cwd / "made").exists() == (option == ALLOW)


async def test_in_auto_mode_nobody_is_asked_for_permission(subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())
    steps = await play(session, subject.language.permission.format(), permission_mode="auto")
    assert not of(Ask, steps)
    assert isinstance(steps[-1], RunCompleted)


# -- stopping ------------------------------------------------------------------------------------


async def test_a_cancel_ends_the_command_and_everything_of_it(subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())
    steps: list[Step] = []
    with holding(subject.cwd) as held:
        prompt = subject.language.command.format(held.command)

        async def work() -> None:
            steps.extend(await play(session, prompt))

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await held.taken()
            await session.cancel()
        assert ended_as_cancelled(steps)
        await held.released()
    again = await play(session, subject.language.say.format("still here"))
    assert isinstance(again[-1], RunCompleted)


@pytest.mark.parametrize("kind", [Bound, RunStarted])
async def test_a_cancel_right_at_the_start_is_not_lost(kind: type[Step], subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())

    async def on_step(step: Step, session: AgentSession) -> None:
        if isinstance(step, kind):
            await session.cancel()

    with holding(subject.cwd) as held:
        steps = await play(session, subject.language.command.format(held.command), on_step=on_step)
    assert ended_as_cancelled(steps)


async def test_a_cancel_ends_a_turn_that_waits_for_an_answer(subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())

    async def on_step(step: Step, session: AgentSession) -> None:
        if isinstance(step, Ask):
            await session.cancel()

    steps = await play(session, subject.language.question.format(), on_step=on_step)
    assert ended_as_cancelled(steps)
    assert len(of(Withdraw, steps)) <= 1


async def test_closing_the_steps_early_stops_the_work(subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())
    with holding(subject.cwd) as held:
        turn = turn_of(subject.language.command.format(held.command))
        with anyio.fail_after(PATIENCE_S):
            async with aclosing(cast("AsyncGenerator[Step]", session.run(turn))) as steps:
                async for step in steps:
                    if isinstance(step, CommandStarted):
                        break
        await held.released()


async def test_closing_the_adapter_leaves_nothing_of_a_running_turn(subject: Subject) -> None:
    adapter = subject.adapter()
    session = await adapter.open(subject.context())
    with holding(subject.cwd) as held:
        prompt = subject.language.command.format(held.command)
        async with anyio.create_task_group() as group:
            group.start_soon(play, session, prompt)
            await held.taken()
            group.cancel_scope.cancel()
        with anyio.fail_after(PATIENCE_S):
            await adapter.close()
        await held.released()


# -- contexts ------------------------------------------------------------------------------------


async def test_a_second_turn_knows_the_first(subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())
    await play(session, subject.language.say.format("The colour is green."))
    steps = await play(session, subject.language.recall)
    assert "The colour is green." in heard(subject, steps)


async def test_a_context_goes_on_in_another_process(subject: Subject) -> None:
    first = subject.adapter()
    steps = await play(
        await first.open(subject.context()), subject.language.say.format("The colour is green.")
    )
    await first.close()
    bound = of(Bound, steps)[-1].vendor_session
    session = await subject.adapter().open(subject.context(vendor_session=bound))
    steps = await play(session, subject.language.recall)
    assert isinstance(steps[-1], RunCompleted)
    assert "The colour is green." in heard(subject, steps)


async def test_contexts_work_side_by_side(subject: Subject) -> None:
    adapter = subject.adapter()
    ends: dict[str, Step] = {}

    async def converse(context_id: str) -> None:
        session = await adapter.open(subject.context(context_id))
        steps = await play(session, subject.language.say.format(f"from {context_id}"))
        ends[context_id] = steps[-1]

    async with anyio.create_task_group() as group:
        for context_id in ("c-1", "c-2", "c-3"):
            group.start_soon(converse, context_id)
    assert {
        context_id: end.final_response
        for context_id, end in ends.items()
        if isinstance(end, RunCompleted)
    } == {context_id: f"from {context_id}" for context_id in ("c-1", "c-2", "c-3")}


async def test_a_message_to_an_idle_session_is_not_taken(subject: Subject) -> None:
    session = await subject.adapter().open(subject.context())
    await play(session, subject.language.say.format("hello"))
    assert await session.steer(user_text("m-2", "and now?")) is False


def heard(subject: Subject, steps: list[Step]) -> str:
    return subject.model_heard() if subject.model_heard is not None else str(steps)
