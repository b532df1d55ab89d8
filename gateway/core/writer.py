"""The one writer of a run: folds events, numbers them, and appends them in order.

Knows the log, not who makes the events. Emitting does not wait for the disk: what is emitted while
a commit is under way goes into the next one, so a fast agent costs few commits and a slow disk
costs no event.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from gateway.core import json, redact
from gateway.core.clock import Clock
from gateway.core.events import Event, encode
from gateway.core.record import Remote, Run, Session, apply
from gateway.core.redact import Limits
from gateway.core.status import RunStatus
from gateway.core.store.entry import Entry, Recorded
from gateway.core.store.log import RunLog

WINDOW: Final = 512  # events emitted and not yet durable; then the driver waits
BATCH_MAX: Final = 256  # events of one append

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
        self._backlog: list[tuple[Entry | None, Run]] = []
        self._bound: str | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    async def emit(
        self,
        *events: Event,
        remote: Remote | None = None,
        backend_session_id: str | None = None,
    ) -> None:
        """Append `events` in order; returns before they are durable unless many are waiting.

        `remote` and `backend_session_id` move in the same transaction (they may come without an
        event); `remote.src_seq` is the seq of the last event in the agent's own log. Raises: record.AfterTerminalError,
        status.IllegalTransitionError (nothing was emitted), errors.FencedError.
        """
        if self._failure is not None:
            raise self._failure
        for event in events:
            self._take(event, remote if event is events[-1] else None)
        if remote is not None and not events:
            self.run = replace(self.run, remote=remote)
            self._backlog.append((None, self.run))
        if backend_session_id is not None:
            self._bound = backend_session_id
        if self._flushing is None and self._backlog:
            self._flushing = asyncio.create_task(self._flush(), name=f"append {self.run.id}")
        if len(self._backlog) > WINDOW:
            await self.flush()

    async def session(self) -> Session | None:
        """The run's session as it is stored: what earlier runs learned of it (`remote`)."""
        return await self._log.session(self.run.context_id)

    async def flush(self) -> None:
        """Wait until everything emitted is durable. Raises: what an append failed with."""
        while self._flushing is not None:
            # Cancelling who waits must not cancel the append.
            await asyncio.shield(self._flushing)
        if self._failure is not None:
            raise self._failure

    def _take(self, event: Event, remote: Remote | None) -> None:
        at = self._clock()
        after = apply(self.run, event, at=at)
        if after.terminal and self.ending is not None:
            event = self.ending(event)
            after = apply(self.run, event, at=at)
        if remote is not None:
            after = replace(after, remote=remote)
        parts = redact.split(encode(event), self._limits)
        recorded = Recorded(
            seq=after.last_seq,
            ts=at,
            type=event.type,
            status=after.status,
            data=json.encode(parts.data),
        )
        source = remote.src_seq if remote is not None and remote.src_seq else None
        entry = Entry(recorded=recorded, src_seq=source, payloads=parts.payloads)
        moved = after.status is not self.run.status
        self.run = after
        self._backlog.append((entry, after))
        if moved:
            self._on_status(after.status)

    async def _flush(self) -> None:
        try:
            while self._backlog:
                batch, self._backlog = self._backlog[:BATCH_MAX], self._backlog[BATCH_MAX:]
                bound, self._bound = self._bound, None
                after = batch[-1][1]
                entries = [entry for entry, _ in batch if entry is not None]
                await self._log.append(self._durable, after, entries, backend_session_id=bound)
                self._durable = after
        except Exception as exc:  # noqa: BLE001  # reported to whoever emits or flushes next
            self._failure = exc
            self._backlog.clear()
        finally:
            self._flushing = None
