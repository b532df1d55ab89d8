"""Plans: how a proposed one is put to the caller, and what Codex is told of the answer.

Pure.
"""

from collections.abc import Iterable
from typing import Final

from gateway.core.extension import ABORT, ALLOW, DENY, Answer, Option, PendingRequest
from wrappers.adapter import Answered
from wrappers.resumption import ALLOWED

OPTIONS: Final = (
    Option(id=ALLOW, label="Carry it out"),
    Option(id=DENY, label="Revise it"),
    Option(id=ABORT, label="Stop"),
)
CARRY_OUT: Final = "The plan is approved. Carry it out."
REVISE: Final = "The plan is not approved. Revise it."


def proposal(turn: str, plan: str) -> PendingRequest:
    """What the caller is asked about `plan`, the outcome of `turn`."""
    return PendingRequest(
        request_id=f"{turn[-12:]}-plan",
        kind="plan",
        title="Approve the plan",
        text=plan,
        options=OPTIONS,
    )


def told(answer: Answer) -> str:
    """What Codex hears; its next turn plans again unless the plan was approved."""
    if answer.choice in ALLOWED:
        return f"{CARRY_OUT} {answer.message}" if answer.message else CARRY_OUT
    return answer.message or REVISE


def decided(answered: Iterable[Answered]) -> bool | None:
    """Whether a plan was approved while no Codex ran; None when there was none to approve."""
    for item in answered:
        if item.request.kind == "plan":
            return item.answer.choice in ALLOWED
    return None
