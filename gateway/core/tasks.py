"""Every operation on runs: send, get, list, cancel, events, payload. Behind both faces.

Knows the log and the supervisor; knows neither A2A's wire nor MCP's. A caller is a principal; a
run of another principal does not exist for it.
"""

import time
from typing import Final, Never

from gateway.core.addresses import Screen
from gateway.core.binding import asked_of, request_key, with_request_key
from gateway.core.clock import Clock
from gateway.core.errors import (
    FencedError,
    InvalidInputError,
    NotCancelableError,
    RunEndedError,
    RunNotFoundError,
    StorageError,
)
from gateway.core.extension import CodingRequest
from gateway.core.json import JsonObject
from gateway.core.life.liveness import Liveness, liveness
from gateway.core.life.slots import Queued
from gateway.core.life.supervisor import Supervisor
from gateway.core.messages import Message
from gateway.core.outcomes import Sent
from gateway.core.peers import Peers
from gateway.core.reading import Reading
from gateway.core.record import Run
from gateway.core.starting import First, Starting
from gateway.core.status import WAITING, RunStatus
from gateway.core.store.log import RunLog

TAKEN_UP_S: Final = 5.0  # as long as a cancel waits for its confirmation


class Tasks(Reading):
    """The operations of one task server."""

    def __init__(
        self, log: RunLog, supervisor: Supervisor, *, clock: Clock, screen: Screen | None = None
    ) -> None:
        """`screen`: where webhooks may be; public addresses by default."""
        super().__init__(log)
        self.screen = screen or Screen()
        self.clock = clock
        self._supervisor = supervisor
        self._starting = Starting(log, supervisor.active, supervisor.at_turn)
        self.peers = Peers(log, self._starting.find, clock=clock)

    @property
    def active(self) -> list[Run]:
        """The runs that have not ended, of every caller."""
        return self._supervisor.runs

    async def stop(self) -> None:
        """End every active run with a reason, before the server goes; reading goes on.

        Who waits for a run that stays active (queued, or at a remote agent) is answered with it.
        """
        await self._supervisor.stop()
        self.log.wake()

    # -- send ------------------------------------------------------------------------------------

    async def send(  # noqa: PLR0913  # what a caller may say at once, all by keyword
        self,
        *,
        principal: str,
        agent: str,
        message: Message,
        request: CodingRequest | None = None,
        run_id: str | None = None,
        context_id: str | None = None,
        backend: str | None = None,
        metadata: JsonObject | None = None,
        name_session: bool = False,
    ) -> Sent:
        """Start a run with a message, or say something to one (`run_id`).

        Returns when it is durable and does not wait for the agent. `request` defaults to what the
        message's metadata asks. With `name_session` a new session gets an agent name.

        Raises: InvalidInputError, SessionConflictError, RequestConflictError, RunNotFoundError,
        RunEndedError, CancelPendingError, AnswerRefusedError, NotSteerableError.
        """
        if run_id is not None:
            if not message.parts:
                raise InvalidInputError("a message needs at least one part", "parts")
            asked = asked_of(message) if request is None else request
            return await self._follow_up(principal, run_id, context_id, message, asked)
        first = First(
            principal=principal,
            agent=agent,
            backend=backend or agent,
            context_id=context_id,
            message=message,
            request=request,
            metadata=metadata or {},
        )
        return await self._start(first, name=name_session)

    async def _start(self, first: First, *, name: bool) -> Sent:
        begun = await self._starting.begin(first, at=self.clock())
        run, start = begun.run, self._supervisor.start
        try:
            stored = await self.log.create(run, begun.session, begun.key, name=name, left=start)
        except StorageError:
            self._supervisor.adopt(run.id)  # a commit whose answer was lost may have stored it
            raise
        if stored.id != run.id:
            return Sent(run=stored, did="attached")
        start(stored)
        return Sent(run=stored, did="started")

    async def _follow_up(
        self,
        principal: str,
        run_id: str,
        context_id: str | None,
        message: Message,
        asked: CodingRequest,
    ) -> Sent:
        run = await self.get(principal, run_id)
        if context_id and context_id != run.context_id:
            raise InvalidInputError(
                f"run {run_id} is in context {run.context_id}, not {context_id}", "contextId"
            )
        key = request_key(run_id, asked, message, run.context_id)
        if key is not None:
            message = with_request_key(message, key.key)
        try:
            did = await self._supervisor.message(run_id, message, principal, key)
        except RunNotFoundError:
            if key is None or await self.log.run_of_key(key) is None:
                await self._refuse_inactive(principal, run_id)
            did = "attached"
        if did in ("answered", "resumed"):
            return Sent(run=await self._taken_up(principal, run), did=did)
        return Sent(run=await self.get(principal, run_id), did=did)

    async def _refuse_inactive(self, principal: str, run_id: str) -> Never:
        """Raises: RunEndedError; FencedError when the run goes on, in another process."""
        run = await self.get(principal, run_id)
        if run.terminal:
            raise RunEndedError(run_id, run.status)
        raise FencedError(run_id)

    async def _taken_up(self, principal: str, before: Run) -> Run:
        """The run once its log says that the answer or retry took effect, at most a while later.

        One that goes on to another server comes back as an event. A caller who was told that the
        run still waits would answer again, and by then the run may have ended.
        """
        until = time.monotonic() + TAKEN_UP_S
        run = await self.get(principal, before.id)
        while run.status in WAITING and run.pending == before.pending:
            if not await self.log.changed(run.id, run.last_seq, max(0.0, until - time.monotonic())):
                break
            run = await self.get(principal, before.id)
        return run

    # -- look ------------------------------------------------------------------------------------

    def queue_state(self, run_id: str) -> Queued | None:
        """Where a queued run stands: its place, and the run whose end it waits for; None when it
        is not waiting for its turn here."""
        return self._supervisor.queue_state(run_id)

    async def queued(self, run: Run) -> Queued | None:
        """The same, and of a run that was handed on, its place at the agent's own server."""
        here = self._supervisor.queue_state(run.id)
        if here is not None or run.status is not RunStatus.QUEUED:
            return here
        place = await self._supervisor.place(run.id)
        return None if place is None else Queued(place=place)

    def liveness(self, run: Run) -> Liveness:
        """When the run last said something, what it is about, whether it seems stuck."""
        return liveness(run, at=self.clock(), stall_after_s=self._supervisor.stall_after_s)

    async def settled(self, principal: str, run_id: str, timeout_s: float | None = None) -> Run:
        """The run at its first terminal or waiting status (or after `timeout_s`, as it is)."""
        run = await self.get(principal, run_id)
        while not run.terminal and run.status not in WAITING:
            if not await self.log.changed(run_id, run.last_seq, timeout_s):
                break
            run = await self.get(principal, run_id)
        return run

    # -- cancel ----------------------------------------------------------------------------------

    async def cancel(self, principal: str, run_id: str, wait_s: float = 5.0) -> Run:
        """Ask a run to stop and wait up to `wait_s` for its end; returns it as it then is.

        Raises: RunNotFoundError, NotCancelableError when it had ended before.
        """
        run = await self.get(principal, run_id)
        if run.terminal:
            raise NotCancelableError(run_id, run.status)
        try:
            await self._supervisor.cancel(run_id)
        except RunNotFoundError as exc:  # it ended while we asked
            run = await self.get(principal, run_id)
            if not run.terminal:
                raise FencedError(run_id) from exc
            raise NotCancelableError(run_id, run.status) from exc
        return await self._ended(principal, run_id, wait_s)

    async def _ended(self, principal: str, run_id: str, wait_s: float) -> Run:
        until = self.clock() + int(wait_s * 1_000_000)
        run = await self.get(principal, run_id)
        while not run.terminal and (left := until - self.clock()) > 0:
            await self.log.changed(run_id, run.last_seq, left / 1_000_000)
            run = await self.get(principal, run_id)
        return run
