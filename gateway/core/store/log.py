"""The run log: what was appended is what is read, in order, after a crash too.

Knows cursors and commits, not agents. An append is fenced by the run's epoch; a reader is woken
only after the commit, and what it then reads is durable.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gateway.core.record import Run, Session
from gateway.core.redact import Payload
from gateway.core.store import chunks, statements
from gateway.core.store.engine import Engine
from gateway.core.store.entry import Entry, PayloadSlice, Recorded, RequestKey
from gateway.core.store.listing import RunPage, RunQuery, select_page

TAIL_EVENTS: Final = 64  # committed events an active run keeps in memory for readers at its end


@dataclass(slots=True)
class _Live:
    """What this process knows of an active run: its durable record, its tail, its waiters."""

    run: Run
    tail: deque[Recorded] = field(default_factory=lambda: deque[Recorded](maxlen=TAIL_EVENTS))
    waiters: set[asyncio.Future[None]] = field(default_factory=set[asyncio.Future[None]])

    def wake(self) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


class RunLog:
    """Runs, their events and payloads, and the sessions they belong to."""

    def __init__(self, engine: Engine, log_id: str) -> None:
        self._engine = engine
        self._live: dict[str, _Live] = {}
        self.log_id = log_id

    @classmethod
    async def open(cls, engine: Engine) -> "RunLog":
        """The log of a database; its `log_id` is born with it."""
        return cls(engine, await engine.write(statements.prepare))

    async def close(self) -> None:
        """Wake who waits, finish what was submitted, let the database go."""
        for live in self._live.values():
            live.wake()
        await self._engine.close()

    # -- runs ------------------------------------------------------------------------------------

    async def create(
        self, run: Run, session: Session, key: RequestKey | None, *, name: bool = False
    ) -> Run:
        """Store a new run (and its session, when that is new) in one transaction.

        Returns the run that `key` already made when its content is the same, else `run` with its
        agent name: `session.nickname`, or with `name` the folder's next of agent1..N.
        Raises: RequestConflictError, InvalidInputError (the name is taken).
        """
        return self._track(
            await self._engine.write(
                lambda connection: statements.create_run(connection, run, session, key, name=name)
            )
        )

    async def keep_key(self, key: RequestKey, run_id: str) -> bool:
        """Note a follow-up's key; False when it was used before with the same content.

        Raises: RequestConflictError.
        """
        return await self._engine.write(
            lambda connection: statements.keep_key(connection, key, run_id)
        )

    async def drop_key(self, key: RequestKey) -> None:
        """Forget a follow-up's key: what it was kept for was refused."""
        await self._engine.write(lambda connection: statements.drop_key(connection, key))

    async def get(self, run_id: str) -> Run | None:
        """The durable record of a run."""
        if (live := self._live.get(run_id)) is not None:
            return live.run
        return await self._engine.read(lambda connection: statements.get_run(connection, run_id))

    async def session(self, session_id: str) -> Session | None:
        return await self._engine.read(
            lambda connection: statements.get_session(connection, session_id)
        )

    async def list_runs(self, principal: str, query: RunQuery) -> RunPage:
        """A page of runs, newest first; its cost does not depend on how many are stored."""
        return await self._engine.read(lambda connection: select_page(connection, principal, query))

    async def claim_active(self, owner: str) -> list[Run]:
        """Take every active run over (start-up): its epoch rises, so an older owner is fenced."""
        claimed = await self._engine.write(
            lambda connection: statements.claim_active(connection, owner)
        )
        self._live.update({run.id: _Live(run) for run in claimed})
        return claimed

    # -- events ----------------------------------------------------------------------------------

    async def append(
        self,
        before: Run,
        after: Run,
        entries: Sequence[Entry],
        backend_session_id: str | None = None,
    ) -> None:
        """Append `entries`, moving the run from `before` to `after`, in one transaction.

        Returns when all is durable and readers were woken. Raises: FencedError when this process
        no longer owns the run.
        """
        await self._engine.write(
            lambda connection: statements.append(
                connection, before, after, entries, backend_session_id
            )
        )
        live = self._live.setdefault(after.id, _Live(after))
        live.run = after
        live.tail.extend(entry.recorded for entry in entries)
        if entries:  # an append may move `remote` alone; who waits, waits for an event
            live.wake()
        if after.terminal:
            del self._live[after.id]

    async def read(
        self, run_id: str, after: int, limit: int, types: Sequence[str] = ()
    ) -> list[Recorded]:
        """Durable events with `seq > after`, in order, at most `limit`."""
        live = self._live.get(run_id)
        if live is not None and live.tail and live.tail[0].seq <= after + 1:
            recent = [e for e in live.tail if e.seq > after and (not types or e.type in types)]
            return recent[:limit]
        return await self._engine.read(
            lambda connection: statements.read_events(connection, run_id, after, limit, types)
        )

    async def changed(self, run_id: str, after: int, timeout_s: float | None = None) -> bool:
        """Wait until the run has an event after `after`; False when the time passed.

        Returns True at once for runs that are not active in this process.
        """
        live = self._live.get(run_id)
        if live is None or live.run.last_seq > after:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        live.waiters.add(waiter)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(waiter, timeout_s)
            return live.run.last_seq > after
        finally:
            live.waiters.discard(waiter)

    # -- payloads --------------------------------------------------------------------------------

    async def payload(
        self, run_id: str, seq: int, pointer: str, offset: int, limit: int
    ) -> PayloadSlice:
        """A byte range of a split field. Raises: PayloadNotFoundError."""
        return await self._engine.read(
            lambda connection: chunks.read_payload(connection, run_id, seq, pointer, offset, limit)
        )

    async def payloads(self, run_id: str, seq: int) -> list[Payload]:
        """Every stored payload of an event, whole."""
        return await self._engine.read(
            lambda connection: chunks.read_payloads(connection, run_id, seq)
        )

    def _track(self, run: Run) -> Run:
        """Remember an active run; what this process knows already is at least as new."""
        return run if run.terminal else self._live.setdefault(run.id, _Live(run)).run
