"""Turns of an agent behind the adapter's interface, played and looked at."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from gateway.core.events import AuthRequired, Rejected, RunCompleted, RunFailed, StatusChanged
from gateway.core.extension import Answer, CodingRequest, PendingRequest
from gateway.core.messages import user_text
from wrappers.adapter import AgentSession, Ask, Step, Turn

E = TypeVar("E")
PATIENCE_S = 60.0  # other tests run on the same two cores
OnStep = Callable[[Step, AgentSession], Awaitable[None]]
Reply = Callable[[PendingRequest], Answer]


def turn_of(prompt: str, **request: Any) -> Turn:
    return Turn(
        run_id=uuid.uuid4().hex,
        message=user_text(uuid.uuid4().hex, prompt),
        request=CodingRequest.model_validate(request),
    )


async def play(
    session: AgentSession,
    prompt: str | Turn,
    reply: Reply | None = None,
    on_step: OnStep | None = None,
    **request: Any,
) -> list[Step]:
    """The steps of one turn; what is asked gets its reply."""
    steps: list[Step] = []
    turn = prompt if isinstance(prompt, Turn) else turn_of(prompt, **request)
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn):
            steps.append(step)
            if isinstance(step, Ask) and reply is not None:
                await session.answer(reply(step.request))
            if on_step is not None:
                await on_step(step, session)
    return steps


def of(kind: type[E], steps: list[Step]) -> list[E]:
    return [step for step in steps if isinstance(step, kind)]


def terminal(step: Step) -> bool:
    match step:
        case RunCompleted() | RunFailed() | Rejected() | AuthRequired():
            return True
        case StatusChanged(status=status):
            return status == "cancelled"
        case _:
            return False


def ended_as_cancelled(steps: list[Step]) -> bool:
    last = steps[-1]
    return isinstance(last, StatusChanged) and last.status == "cancelled"


def choose(option: str) -> Reply:
    return lambda request: Answer(request_id=request.request_id, option=option)
