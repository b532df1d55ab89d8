"""Reading runs: records, lists, events as they come, values too long for their event.

Knows the log and who asks, nothing of what moves a run. A caller is a principal; a run of another
principal does not exist for it.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final

from gateway.core import json, redact
from gateway.core.errors import RunNotFoundError
from gateway.core.json import JsonObject
from gateway.core.outcomes import EventPage
from gateway.core.record import Run, Session
from gateway.core.store.entry import PayloadSlice, Recorded
from gateway.core.store.listing import RunPage, RunQuery
from gateway.core.store.log import RunLog

FOLLOW_BATCH: Final = 256


class Reading:
    """The operations that change nothing."""

    def __init__(self, log: RunLog) -> None:
        self.log = log

    async def get(self, principal: str, run_id: str) -> Run:
        """The durable record of a run. Raises: RunNotFoundError."""
        run = await self.log.get(run_id)
        if run is None or run.principal != principal:
            raise RunNotFoundError(run_id)
        return run

    async def session(self, principal: str, context_id: str) -> Session | None:
        session = await self.log.session(context_id)
        return session if session is not None and session.principal == principal else None

    async def list_runs(self, principal: str, query: RunQuery) -> RunPage:
        """A page of runs, newest first."""
        return await self.log.list_runs(principal, query)

    async def events(
        self,
        principal: str,
        run_id: str,
        *,
        after: int = 0,
        limit: int = 100,
        types: Sequence[str] = (),
    ) -> EventPage:
        """Events with `seq > after`, of `types` if any are given.

        Raises: RunNotFoundError, ReplayError.
        """
        known = await self.get(principal, run_id)
        found = await self.log.read(run_id, after, limit, types)
        read_to = found[-1].seq if found else after
        if len(found) < limit and types:
            read_to = max(read_to, known.last_seq)  # what came meanwhile may not be in `found`
        return EventPage(run=await self.get(principal, run_id), events=found, read_to=read_to)

    async def any_moved(self, cursors: Mapping[str, int], wait_s: float) -> None:
        """Wait up to `wait_s` until one of the runs has an event after its cursor or has ended."""
        waits = [
            asyncio.ensure_future(self.log.changed(run_id, after, wait_s))
            for run_id, after in cursors.items()
        ]
        try:
            if waits:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def follow(
        self, principal: str, run_id: str, *, after: int = 0
    ) -> AsyncGenerator[list[Recorded]]:
        """Events with `seq > after` in batches as they become durable; ends with the run."""
        run = await self.get(principal, run_id)
        while True:
            found = await self.log.read(run_id, after, FOLLOW_BATCH)
            if found:
                after = found[-1].seq
                yield found
            run = await self.get(principal, run_id)
            if run.last_seq > after:
                continue
            if run.terminal:
                return
            await self.log.changed(run_id, after)

    async def payload(
        self,
        principal: str,
        run_id: str,
        seq: int,
        pointer: str,
        *,
        offset: int = 0,
        limit: int = 65536,
    ) -> PayloadSlice:
        """Bytes of a split field. Raises: RunNotFoundError, PayloadNotFoundError."""
        await self.get(principal, run_id)
        return await self.log.payload(run_id, seq, pointer, offset, limit)

    async def whole(self, run: Run, event: Recorded) -> JsonObject:
        """An event's data with its split fields put back."""
        data = json.decode_object(event.data)
        if not redact.refs_of(data):
            return data
        return redact.join(data, await self.log.payloads(run.id, event.seq))
