"""Runs that are asked for from within runs: how deep, and in whose session.

Knows runs only by a look-up. The caller's word about its parent is correlation: a parent that is
not known here bounds nothing but the depth it claims.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from gateway.core.errors import InvalidInputError, SessionConflictError
from gateway.core.extension import Parent
from gateway.core.record import Run
from gateway.core.status import RunStatus

# A top-level run stands at depth 0. Agents that delegate to agents were seen to go two deep
# (planner, worker, reviewer); beyond four it is a loop that spends money.
DEPTH_MAX: Final = 4

Find: TypeAlias = Callable[[str], Awaitable[Run | None]]  # by a run id, ours or the caller's


async def lineage_of(parent: Parent, context_id: str | None, find: Find) -> Parent:
    """The parent by our own id where it is known here, and its true depth.

    Refuses a child that is too deep, that would wait for the run which waits for it, or whose
    parent was stopped. Raises: InvalidInputError, SessionConflictError (an active ancestor's
    session).
    """
    depth, ancestor_id = parent.depth + 1, parent.run_id
    known: Run | None = None
    for above in range(1, DEPTH_MAX + 2):
        ancestor = await find(ancestor_id)
        if ancestor is None:
            break
        known = known or ancestor
        if ancestor.context_id == context_id and not ancestor.terminal:
            raise SessionConflictError(
                f"session {context_id} belongs to run {ancestor.id}, from within which this run is "
                "asked for: it would wait for itself; start a new session"
            )
        depth = max(depth, above)
        if ancestor.request.parent is None:
            break
        ancestor_id = ancestor.request.parent.run_id
        depth = max(depth, above + 1 + ancestor.request.parent.depth)
    if depth > DEPTH_MAX:
        raise InvalidInputError(
            f"run {parent.run_id} stands too deep to ask for another: runs may be asked for from "
            f"within runs {DEPTH_MAX} deep; let it do the work itself",
            "parent",
        )
    if known is not None and _is_stopped(known):
        raise InvalidInputError(
            f"run {known.id} was cancelled: nothing more is done for it; ask for a run of your own",
            "parent",
        )
    return Parent(run_id=parent.run_id if known is None else known.id, depth=depth - 1)


def _is_stopped(run: Run) -> bool:
    return run.cancel_requested_at is not None or run.status is RunStatus.CANCELLED
