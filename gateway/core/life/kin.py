"""Which active runs were asked for from within which, and by what ids their callers know them.

Pure bookkeeping of ids; it starts and ends nothing.
"""

from gateway.core.record import Run


class Kin:
    """The families of one process's active runs."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}  # (principal, the caller's run id) -> ours
        self._children: dict[tuple[str, str], dict[str, None]] = {}  # (principal, parent) -> runs

    def enter(self, run: Run) -> None:
        request = run.request
        if request.run_id is not None:
            self._names[run.principal, request.run_id] = run.id
        if request.parent is not None:
            key = run.principal, request.parent.run_id
            self._children.setdefault(key, {})[run.id] = None

    def leave(self, run: Run) -> None:
        request = run.request
        if (
            request.run_id is not None
            and self._names.get((run.principal, request.run_id)) == run.id
        ):
            del self._names[run.principal, request.run_id]
        if request.parent is None:
            return
        key = run.principal, request.parent.run_id
        siblings = self._children.get(key, {})
        siblings.pop(run.id, None)
        if not siblings:
            self._children.pop(key, None)

    def own_id(self, principal: str, run_id: str) -> str:
        """Our id of the run that its caller knows by `run_id`; that itself where nobody does."""
        return self._names.get((principal, run_id), run_id)

    def children(self, run: Run) -> list[str]:
        """The active runs that were asked for from within `run`, oldest first."""
        known_as = {run.id} if run.request.run_id is None else {run.id, run.request.run_id}
        return [
            child for name in known_as for child in self._children.get((run.principal, name), ())
        ]
