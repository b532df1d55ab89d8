"""What every agent must do with a run that waited for an answer while its wrapper was restarted.

The request was asked by one adapter, which then ended; another one gets the answer.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import cast

import anyio
import pytest

from gateway.core.events import RunCompleted, RunFailed
from gateway.core.extension import ALLOW, ALLOW_SESSION, DENY, Answer, PendingRequest
from tests.contract.playing import PATIENCE_S, choose, of, play, turn_of
from tests.contract.subjects import Subject
from wrappers.adapter import Answered, Ask, Bound, Step, Turn
from wrappers.resumption import message_of


async def leave_asking(subject: Subject, prompt: str) -> tuple[Turn, Ask, str]:
    """A turn of an adapter that ended while it asked; its request, and the vendor's session."""
    adapter = subject.adapter()
    session, turn = await adapter.open(subject.context()), turn_of(prompt, permission_mode="ask")
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async with aclosing(cast("AsyncGenerator[Step]", session.run(turn))) as made:
            async for step in made:
                steps.append(step)
                if isinstance(step, Ask):
                    break
        await adapter.close()
    return turn, of(Ask, steps)[-1], of(Bound, steps)[-1].vendor_session


def answered(turn: Turn, request: PendingRequest, answer: Answer, then: str) -> Turn:
    """The turn that goes on; `then` is what the model's script does with the news."""
    items = (Answered(request=request, answer=answer),)
    told = message_of(turn.run_id, items)
    words = replace(turn_of(f"{told.text}\n{then}").message, message_id=told.message_id)
    return replace(turn, message=words, answered=items)


@pytest.mark.parametrize("option", [ALLOW, ALLOW_SESSION])
async def test_what_was_allowed_is_done_once_without_asking_again(
    option: str, subject: Subject
) -> None:
    turn, ask, bound = await leave_asking(subject, subject.language.permission.format())
    answer = Answer(request_id=ask.request.request_id, option=option)
    again = answered(turn, ask.request, answer, subject.language.permission.format())
    session = await subject.adapter().open(subject.context(vendor_session=bound))
    steps = await play(session, again)
    assert not of(Ask, steps)
    assert isinstance(steps[-1], RunCompleted)
    if subject.name != "scripted":
        assert (subject.cwd / "made").exists()


async def test_anything_else_is_asked_anew(subject: Subject) -> None:
    if subject.name == "scripted":
        pytest.skip("its script goes on behind the request; it cannot think of something else")
    turn, ask, bound = await leave_asking(subject, subject.language.permission.format())
    answer = Answer(request_id=ask.request.request_id, option=ALLOW)
    other = subject.language.permission.format().replace("touch made", "touch other")
    session = await subject.adapter().open(subject.context(vendor_session=bound))
    steps = await play(session, answered(turn, ask.request, answer, other), choose(DENY))
    [asked] = of(Ask, steps)
    assert asked.request.request_id != ask.request.request_id
    assert not (subject.cwd / "other").exists()


async def test_what_was_denied_is_not_done_and_the_agent_hears_why(subject: Subject) -> None:
    turn, ask, bound = await leave_asking(subject, subject.language.permission.format())
    answer = Answer(request_id=ask.request.request_id, option=DENY, message="too dear")
    then = subject.language.say.format("left alone")
    session = await subject.adapter().open(subject.context(vendor_session=bound))
    steps = await play(session, answered(turn, ask.request, answer, then))
    assert isinstance(steps[-1], RunCompleted)
    assert not (subject.cwd / "made").exists()
    if subject.model_heard is not None:
        assert "too dear" in subject.model_heard()


async def test_the_answer_to_a_question_reaches_the_resumed_session(subject: Subject) -> None:
    turn, ask, bound = await leave_asking(subject, subject.language.question.format())
    answers = {ask.request.questions[0].id: "green"}
    answer = Answer(request_id=ask.request.request_id, answers=answers)
    then = subject.language.say.format("thanks")
    session = await subject.adapter().open(subject.context(vendor_session=bound))
    steps = await play(session, answered(turn, ask.request, answer, then))
    assert isinstance(steps[-1], RunCompleted)
    told = str(steps) if subject.model_heard is None else subject.model_heard()
    assert "green" in told


async def test_a_session_that_the_vendor_lost_ends_the_run_as_interrupted(
    subject: Subject,
) -> None:
    turn, ask, _ = await leave_asking(subject, subject.language.question.format())
    answer = Answer(request_id=ask.request.request_id, answers={"answer": "green"})
    lost = "0198f7c0-0000-7000-8000-000000000000"
    session = await subject.adapter().open(subject.context(vendor_session=lost))
    steps = await play(session, answered(turn, ask.request, answer, "say hello"))
    last = steps[-1]
    assert isinstance(last, RunFailed)
    assert last.reason == "interrupted"
