"""The run log: what was appended is what is read, in order, after a crash too.

Knows cursors and commits, not agents. An append is fenced by the run's epoch; a reader is woken
only after the commit, and what it then reads is durable.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from anyio import to_thread

from gateway.core.errors import FencedError
from gateway.core.masking import Masking
from gateway.core.record import Run, Session
from gateway.core.redact import Payload
from gateway.core.secrets import Mask
from gateway.core.store import chunks, keys, sessions, statements
from gateway.core.store.agents import Directory
from gateway.core.store.batch import Append, Create
from gateway.core.store.engine import Engine, Operation
from gateway.core.store.entry import Entry, PayloadSlice, Recorded, RequestKey
from gateway.core.store.history import Wanted, choose_shown, read_shown
from gateway.core.store.listing import RunPage, RunQuery, select_page
from gateway.core.store.live import LiveRuns
from gateway.core.store.mail import Mail
from gateway.core.store.outbox import Outbox
from gateway.core.store.ownership import Ownership
from gateway.core.store.pump import Pump
from gateway.core.store.retention import Swept, stored_bytes

_LARGE: Final = 1024 * 1024  # characters of a message that is masked beside the loop
SAFETY_POLL_S: Final = 1.0  # a hint from another process may be lost (it takes 1.3 ms when not)


class RunLog:
    """Runs, their events and payloads, and the sessions they belong to."""

    def __init__(self, engine: Engine, log_id: str, mask: Mask) -> None:
        self._engine = engine
        self.loop = asyncio.get_running_loop()
        self._pump = Pump(engine)
        self._ownership = Ownership(engine)
        self._owner: str | None = None
        self._live = LiveRuns()
        self._heard: Callable[[Append], None] | None = None
        self.log_id = log_id
        self.outbox = Outbox(engine)
        self.masking = Masking(mask)
        self.agents = Directory(engine)
        self.mail = Mail(engine)
        engine.on_hint(self.mail.besides(self._live.hear))

    async def close(self) -> None:
        """Wake who waits, finish what was submitted, let the database go."""
        self.wake()
        await self._ownership.end()
        await self._engine.close()

    def wake(self) -> None:
        """Let everybody who waits for an active run look at it as it is, and for mail at none."""
        self._live.wake()
        self.mail.end()

    def on_append(self, heard: Callable[[Append], None] | None) -> None:
        """Call `heard` with each append of this process that is durable: at once, on the loop."""
        self._heard = heard

    # -- runs ------------------------------------------------------------------------------------

    async def create(
        self,
        run: Run,
        session: Session,
        key: RequestKey | None,
        *,
        name: bool = False,
        left: Callable[[Run], None] = lambda _run: None,
    ) -> Run:
        """Store a new run (and its session, when that is new) in one transaction.

        Returns the run that `key` already made when its content is the same, else `run` with its
        agent name: `session.nickname`, or with `name` the folder's next of agent1..N. `left` gets
        what was stored all the same when who asked is cancelled meanwhile.
        Raises: RequestConflictError, InvalidInputError (the name is taken), StorageError.
        """
        run = await self._masked(run)
        creating = self._pump.write(
            Create(run=run, session=session, key=key, name=name, owner=self._owner)
        )
        try:
            stored = await asyncio.shield(creating)
        except asyncio.CancelledError:
            creating.add_done_callback(lambda done: self._left(done, left))
            raise
        if stored.id != run.id:
            self.masking.forget(run.id)
        return self._live.track(stored)

    async def _masked(self, run: Run) -> Run:
        """`run` as it may be stored; 5 MB of text take 15 ms, which others need not wait for."""
        if run.message.length <= _LARGE:
            return self.masking.stored(run)
        try:
            return await to_thread.run_sync(self.masking.stored, run)
        except asyncio.CancelledError:
            self.masking.forget(run.id)
            raise

    def _left(self, created: asyncio.Future[Run], left: Callable[[Run], None]) -> None:
        if not created.cancelled() and created.exception() is None:
            left(self._live.track(created.result()))

    async def keep_key(self, key: RequestKey, run_id: str) -> bool:
        """Note a follow-up's key; False when it was used before with the same content.

        Raises: RequestConflictError.
        """
        return await self._engine.write(lambda connection: keys.keep_key(connection, key, run_id))

    async def run_of_key(self, key: RequestKey) -> str | None:
        """The run that `key` was used for, None when it is new. Raises: RequestConflictError."""
        return await self._engine.read(lambda connection: keys.run_of_key(connection, key))

    async def stored(self, run_id: str) -> Run | None:
        """A run as the outcome of every write that was answered; None when it was not stored."""
        run = await self._engine.write(lambda connection: statements.get_run(connection, run_id))
        return None if run is None else self._live.track(run)

    async def get(self, run_id: str) -> Run | None:
        """The durable record of a run."""
        if (run := self.known(run_id)) is not None:
            return run
        return await self._engine.read(lambda connection: statements.get_run(connection, run_id))

    def known(self, run_id: str) -> Run | None:
        """The durable record of a run that is active here or ended a moment ago."""
        live = self._live.find(run_id)
        return None if live is None else live.run

    def active(self) -> list[Run]:
        """The runs that are active in this process."""
        return self._live.all_active()

    async def ended(self, since: int, after: str, limit: int) -> list[Run]:
        """Runs that ended from `since` on (unix microseconds), in the order of their end; of those
        at `since` itself the ones whose id comes behind `after`."""
        return await self._engine.read(
            lambda connection: statements.read_ended(connection, since, after, limit)
        )

    async def session(self, session_id: str) -> Session | None:
        return await self._engine.read(
            lambda connection: sessions.get_session(connection, session_id), brief=True
        )

    async def sessions(self, ids: Iterable[str]) -> list[Session]:
        """Those of `ids` that there are."""
        return await self._engine.read(lambda connection: sessions.get_sessions(connection, ids))

    async def list_runs(self, principal: str, query: RunQuery) -> RunPage:
        """A page of runs, newest first; its cost does not depend on how many are stored."""
        return await self._engine.read(lambda connection: select_page(connection, principal, query))

    async def let_go(self, operation: Operation[Swept]) -> Swept:
        """Carry out a batch of retention, and forget here what it took."""
        swept = await self._engine.write(operation)
        for run_id in (*swept.emptied, *swept.deleted):
            self._live.forget(run_id)
        return swept

    async def stored_bytes(self) -> int:
        """What the database takes, about."""
        return await self._engine.read(stored_bytes)

    async def claim_active(self, owner: str) -> list[Run]:
        """Take over every active run that nobody alive works on (start-up), and what `owner` had
        before it was started anew: its epoch rises, so an older owner is fenced."""
        self._owner = owner
        claimed = await self._ownership.begin(owner)
        self._live.take_over(claimed)
        return claimed

    # -- events ----------------------------------------------------------------------------------

    def append(
        self,
        before: Run,
        after: Run,
        entries: Sequence[Entry],
        backend_session_id: str | None = None,
        *,
        again: bool = False,
    ) -> asyncio.Future[Run]:
        """Append `entries`, moving the run from `before` to `after`, in one transaction.

        Done when all is durable and readers were woken. `again`: a former try may have been
        stored although its answer was lost. Raises: FencedError when this process no longer owns
        the run, StorageError.
        """
        write = Append(
            before=before,
            after=after,
            entries=entries,
            backend_session_id=backend_session_id,
            again=again,
        )
        stored = self._pump.write(write)
        # The log's own callback comes first, so who awaits the future finds readers woken.
        stored.add_done_callback(lambda done: self._appended(write, done))
        return stored

    def _appended(self, write: Append, done: asyncio.Future[Run]) -> None:
        after = write.after
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            if isinstance(error, FencedError):
                self.forget(after.id)
            return
        self._live.advance(after, [entry.recorded for entry in write.entries])
        if self._heard is not None:
            self._heard(write)
        if after.terminal:
            self.masking.forget(after.id)
        if write.entries:  # an append may move `remote` alone; who waits, waits for an event
            self._engine.announce({after.id})

    def forget(self, run_id: str) -> None:
        """The run is another process's now, or was deleted: readers go to the database."""
        self.masking.forget(run_id)
        self._live.forget(run_id)

    async def read(
        self, run_id: str, after: int, limit: int, types: Sequence[str] = ()
    ) -> list[Recorded]:
        """Durable events with `seq > after`, in order, at most `limit`.

        Raises: ReplayError (replay_expired) when some of them are no longer kept.
        """
        live = self._live.find(run_id)
        if live is not None and (recent := live.recent(after, limit, types)) is not None:
            return recent
        return await self._engine.read(
            lambda connection: statements.read_events(connection, run_id, after, limit, types)
        )

    async def shown(self, wanted: Sequence[Wanted]) -> dict[str, list[Recorded]]:
        """The events that tasks show, by run; of a short recent run they are in memory."""
        found: dict[str, list[Recorded]] = {}
        left: list[Wanted] = []
        for want in wanted:
            live = self._live.find(want.run_id)
            if want.nothing:
                found[want.run_id] = []
            elif live is not None and live.tail and live.tail[0].seq == 1:
                found[want.run_id] = choose_shown(live.tail, want)
            else:
                left.append(want)
        if left:
            found |= await self._engine.read(lambda connection: read_shown(connection, left))
        return found

    async def changed(self, run_id: str, after: int, timeout_s: float | None = None) -> bool:
        """Wait until the run has an event after `after`; False when the time passed.

        A run that is not active in this process may be in another: then it is True when that one
        says so, or after `SAFETY_POLL_S`, and the reader looks.
        """
        live = self._live.active(run_id)
        if live is not None:
            return await self._live.moved(live, after, timeout_s)
        if await self._moved_elsewhere(run_id, after):
            return True
        longest = SAFETY_POLL_S if timeout_s is None else min(timeout_s, SAFETY_POLL_S)
        await self._live.heard(run_id, longest)
        return await self._moved_elsewhere(run_id, after) or timeout_s != longest

    async def _moved_elsewhere(self, run_id: str, after: int) -> bool:
        run = await self.get(run_id)
        return run is None or run.terminal or run.last_seq > after

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
