"""Which member of a pool a run goes to. Pure.

Knows what is said and found out of each member; nothing of runs but their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.agents.health import State

# A member that was never called is as good as one that answered. One that failed is worse than any
# that is busy, and one whose circuit is open is the last resort.
_RANK = {State.UNKNOWN: 0, State.HEALTHY: 0, State.FAILING: 1, State.OPEN: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """`runs` of it that are being driven; `chosen` is the number of the choice it was last in."""

    name: str
    state: State
    runs: int
    chosen: int


def least_loaded(members: Sequence[Member]) -> str | None:
    """The healthiest, of those the one with the fewest runs, of those the one whose turn it is."""
    best = min(
        members,
        key=lambda member: (_RANK.get(member.state, 3), member.runs, member.chosen, member.name),
        default=None,
    )
    return None if best is None else best.name
