"""What a first message begins: its run, in its session, under its settings, checked.

Knows the log to look things up; it stores and starts nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.core.binding import asked_of, inherited, is_plain, new_run, request_key, session_of
from gateway.core.errors import InvalidInputError
from gateway.core.extension import CodingRequest, Parent
from gateway.core.hops import check_hops
from gateway.core.json import JsonObject
from gateway.core.life.lineage import lineage_of
from gateway.core.messages import Message
from gateway.core.record import Run, Session
from gateway.core.status import RunStatus
from gateway.core.store.entry import RequestKey
from gateway.core.store.listing import RunQuery
from gateway.core.store.log import RunLog

_TAKEN_UP: Final = tuple(status for status in RunStatus if status is not RunStatus.REJECTED)

Active = Callable[[str, str], Run | None]  # (principal, a run's id, ours or its caller's)
AtTurn = Callable[[str], Run | None]  # by a context's id


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    run: Run
    session: Session
    key: RequestKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """A first message and who sends it where; `request` is what it asks where its metadata does not
    say so."""

    principal: str
    agent: str
    backend: str
    context_id: str | None
    message: Message
    request: CodingRequest | None
    metadata: JsonObject


class Starting:
    """`active` and `at_turn` find active runs, by an id and by their context."""

    def __init__(self, log: RunLog, active: Active, at_turn: AtTurn) -> None:
        self._log = log
        self._active = active
        self._at_turn = at_turn

    async def begin(self, first: First, *, at: int) -> Begun:
        """Raises: InvalidInputError, SessionConflictError."""
        if not first.message.parts:
            raise InvalidInputError("a message needs at least one part", "parts")
        check_hops(first.message.metadata)
        given = asked_of(first.message) if first.request is None else first.request
        asked = given
        if given.parent is not None:
            lineage = await self._lineage(first.principal, given.parent, first.context_id)
            asked = given.model_copy(update={"parent": lineage})
        known = await self._log.session(first.context_id) if first.context_id else None
        session = session_of(
            known,
            principal=first.principal,
            agent=first.agent,
            backend=first.backend,
            context_id=first.context_id,
            asked=asked,
            at=at,
        )
        if known is not None and is_plain(asked, first.message):
            asked = await self._as_before(session, asked)
        run = new_run(session, first.principal, first.message, asked, first.metadata, at=at)
        # Of what was said alone: what it means here may differ when it is said again.
        scope = f"{first.principal}\n{first.agent}"
        key = request_key(scope, given, first.message, first.context_id)
        return Begun(run=run, session=session, key=key)

    async def find(self, principal: str, run_id: str) -> Run | None:
        """A run by its id, or an active one by the id that its caller knows it by."""
        if (active := self._active(principal, run_id)) is not None:
            return active
        run = await self._log.get(run_id)
        return run if run is not None and run.principal == principal else None

    async def _lineage(self, principal: str, parent: Parent, context_id: str | None) -> Parent:
        async def find(run_id: str) -> Run | None:
            return await self.find(principal, run_id)

        named = await find(parent.run_id)
        if named is not None and named.terminal:
            # An agent's process may outlive its run and work on the next one of the session.
            later = self._at_turn(named.context_id)
            if later is not None and later.principal == principal:
                parent = parent.model_copy(update={"run_id": later.id})
        return await lineage_of(parent, context_id, find)

    async def _as_before(self, session: Session, asked: CodingRequest) -> CodingRequest:
        """The settings of the session's last run, for a caller who knows of none."""
        query = RunQuery(context_id=session.id, statuses=_TAKEN_UP, limit=1)
        last = (await self._log.list_runs(session.principal, query)).runs
        if not last:
            return asked
        said = {name: value for name in asked.model_fields_set if (value := getattr(asked, name))}
        return inherited(last[0].request).model_copy(update=said)
