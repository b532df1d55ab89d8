"""The one writer of a run: folds events, numbers them, and appends them in order.

Knows the log, not who makes the events. Emitting does not wait for the disk: what is emitted while
a commit is under way goes into the next one, so a fast agent costs few commits and a slow disk
costs no event.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

from gateway.core import json, redact
from gateway.core.clock import Clock
from gateway.core.errors import StorageError
from gateway.core.events import Event, decode, encode
from gateway.core.extension import PendingRequest
from gateway.core.json import JsonObject
from gateway.core.record import Remote, Run, Session, apply, with_remote
from gateway.core.redact import Limits, Payload
from gateway.core.secrets import Mask
from gateway.core.status import RunStatus
from gateway.core.store.entry import Entry, Recorded, RequestKey
from gateway.core.store.log import RunLog

WINDOW: Final = 512  # events emitted and not yet durable; then the driver waits
BATCH_MAX: Final = 256  # events of one append
MOVE_WAIT_S: Final = 0.02  # that `remote` alone waits for an event to go with
LARGE: Final = 256 * 1024  # characters of an event's JSON; up to it 3 ms of work
RETRY_FIRST_S: Final = 0.1  # after a database refused an append; doubled up to
RETRY_LAST_S: Final = 5.0

logger = logging.getLogger(__name__)

# Turns the event that would end a run into the one that does (a cancel that was accepted).
Ending: TypeAlias = Callable[[Event], Event]


class RunWriter:
    """Appends to one run. `run` is the record with everything emitted, durable or not yet."""

    def __init__(
        self,
        log: RunLog,
        run: Run,
        *,
        clock: Clock,
        limits: Limits,
        on_status: Callable[[RunStatus], None] = lambda _status: None,
    ) -> None:
        self.run = run
        self._on_status = on_status
        self.ending: Ending | None = None
        self._log = log
        self._clock = clock
        self._limits = limits
        self._durable = run
        self._backlog: deque[tuple[Entry | None, Run]] = deque()
        self._bound: str | None = None
        self._sent: _Batch | None = None  # under way
        self._due = False  # to be sent when the loop comes round
        self._idle: list[asyncio.Future[None]] = []  # of those who wait until nothing is
        self._failure: BaseException | None = None
        self.trouble: StorageError | None = None

    async def emit(
        self,
        *events: Event,
        remote: Remote | None = None,
        backend_session_id: str | None = None,
        key: RequestKey | None = None,
    ) -> None:
        """Append `events` in order; returns before they are durable unless many are waiting.

        `remote` and `backend_session_id` move in the same transaction (they may come without an
        event); `remote.src_seq` is the seq of the last event in the agent's own log. `key` is kept
        with the first event. Raises: record.AfterTerminalError, status.IllegalTransitionError
        (nothing was emitted), errors.FencedError.
        """
        if self._failure is not None:
            raise self._failure
        for event in events:
            self._take(await self._prepare(event), remote if event is events[-1] else None, key)
            key = None
        if remote is not None and not events:
            self.run = with_remote(self.run, remote)
            self._backlog.append((None, self.run))
        if backend_session_id is not None:
            self._bound = backend_session_id
        if self._sent is None and self._backlog and not self._due:
            self._schedule(urgent=bool(events) or backend_session_id is not None)
        if len(self._backlog) > WINDOW:
            await self.flush()

    def _schedule(self, *, urgent: bool) -> None:
        """Not at once: what a driver emits in one go is one append, so a short run takes two
        commits instead of three. Where it lives no reader waits for, and its first event follows
        in a moment: with it one commit less."""
        if urgent:
            self._due = True
            self._log.loop.call_soon(self._send_due)
        else:
            self._log.loop.call_later(MOVE_WAIT_S, self._send_due)

    @property
    def given(self) -> Run:
        """The run with the message and request its caller gave: what is stored has no secrets.

        For who hands them to the agent. Raises: errors.SecretLostError.
        """
        return self._log.masking.given(self.run)

    @property
    def log(self) -> RunLog:
        """For who has to read what the run has said before."""
        return self._log

    def reopen(self, pending: tuple[PendingRequest, ...]) -> None:
        """Go on with the open requests as they were asked: the store's are shortened."""
        if pending != self.run.pending:
            self.run = replace(self.run, pending=pending)

    async def session(self) -> Session | None:
        """The run's session as it is stored: what earlier runs learned of it (`remote`)."""
        return await self._log.session(self.run.context_id)

    async def flush(self) -> None:
        """Wait until everything emitted is durable. Raises: what an append failed with."""
        self._send_due()
        if self._sent is not None:
            waiter: asyncio.Future[None] = self._log.loop.create_future()
            self._idle.append(waiter)
            await waiter
        if self._failure is not None:
            raise self._failure

    async def _prepare(self, event: Event) -> "_Prepared":
        """An event as it will be stored: masked, and within the limits. Large ones are cut up in
        a thread: 10 MB keep one busy for 100 ms."""
        data = encode(event)
        mask = self._log.masking.mask
        if json.texts_of(data) <= LARGE and len(text := json.encode(data)) <= LARGE:
            return _prepared(event, data, text, mask, self._limits)
        return await asyncio.to_thread(_cut_up, event, data, mask, self._limits)

    def _take(self, prepared: "_Prepared", remote: Remote | None, key: RequestKey | None) -> None:
        at = self._clock()
        after = apply(self.run, prepared.event, at=at)
        if after.terminal and self.ending is not None:
            event = self.ending(prepared.event)
            after = apply(self.run, event, at=at)
            data = encode(event)
            mask = self._log.masking.mask
            prepared = _prepared(event, data, json.encode(data), mask, self._limits)
        if remote is not None:
            after = with_remote(after, remote)
        recorded = Recorded(
            seq=after.last_seq,
            ts=at,
            type=prepared.event.type,
            status=after.status,
            data=prepared.text,
        )
        source = remote.src_seq if remote is not None and remote.src_seq else None
        entry = Entry(recorded=recorded, src_seq=source, payloads=prepared.payloads, key=key)
        moved = after.status is not self.run.status
        self.run = after
        self._backlog.append((entry, after))
        if moved:
            self._on_status(after.status)

    # -- to the log ------------------------------------------------------------------------------

    def _send_due(self) -> None:
        self._due = False
        if self._sent is None and self._backlog:
            self._send()

    def _send(self) -> None:
        """The next batch; what is emitted meanwhile waits for it."""
        count = min(len(self._backlog), BATCH_MAX)
        taken = [self._backlog.popleft() for _ in range(count)]
        bound, self._bound = self._bound, None
        entries = [entry for entry, _ in taken if entry is not None]
        self._sent = _Batch(self._durable, taken[-1][1], entries, bound)
        self._append(self._sent)

    def _append(self, batch: "_Batch", *, again: bool = False) -> None:
        appended = self._log.append(
            batch.before, batch.after, batch.entries, batch.backend_session_id, again=again
        )
        appended.add_done_callback(self._appended)

    def _appended(self, done: asyncio.Future[Run]) -> None:
        batch = self._sent
        error = None if done.cancelled() else done.exception()
        if batch is None:
            return
        if isinstance(error, StorageError):
            self._retry(batch, error)
            return
        self._sent = None
        self.trouble = None
        if done.cancelled() or error is not None:
            self._failure = error or asyncio.CancelledError()
            self._backlog.clear()
        else:
            self._durable = batch.after
            if self._backlog:
                self._send()
                return
        for waiter in self._idle:
            if not waiter.done():  # who waited may have been cancelled
                waiter.set_result(None)
        self._idle.clear()

    def _retry(self, batch: "_Batch", error: StorageError) -> None:
        """The database is gone or full: nothing is lost, the driver is held back meanwhile."""
        if self.trouble is None:
            logger.error("run %s: %s; trying again until it can be stored", self.run.id, error)
        self.trouble = error
        batch.tries += 1
        delay = min(RETRY_FIRST_S * 2.0 ** (batch.tries - 1), RETRY_LAST_S)
        self._log.loop.call_later(delay, self._try_again, batch)

    def _try_again(self, batch: "_Batch") -> None:
        self._append(batch, again=True)


@dataclass(slots=True)
class _Batch:
    """Events on their way into the log, and the records before and after them."""

    before: Run
    after: Run
    entries: list[Entry]
    backend_session_id: str | None
    tries: int = 0


class _Prepared(NamedTuple):
    """An event without secrets, the JSON text of what of it stays inline, and what does not."""

    event: Event
    text: str
    payloads: tuple[Payload, ...]


def _cut_up(event: Event, data: JsonObject, mask: Mask, limits: Limits) -> _Prepared:
    """The same in small steps, none of which keeps the loop's thread waiting: never all of the
    data in one text."""
    masked = mask.data(data)
    if masked is not data:
        event = decode(event.type, masked)
    parts = redact.split(masked, limits)
    return _Prepared(event, json.encode(parts.data), parts.payloads)


def _prepared(event: Event, data: JsonObject, text: str, mask: Mask, limits: Limits) -> _Prepared:
    if mask.suspects(text):
        data = mask.data(data)
        event, text = decode(event.type, data), json.encode(data)
    # Most events are smaller, and done with here.
    if len(text) <= limits.text and (text.isascii() or len(text.encode()) <= limits.text):
        return _Prepared(event, text, ())
    parts = redact.split(data, limits)
    return _Prepared(event, json.encode(parts.data) if parts.payloads else text, parts.payloads)
