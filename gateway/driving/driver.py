"""The gateway's driver of a run: reaches its agent, and drives it in the agent's own way.

Knows which way that is (by the agent's card) and how a run ends whose agent cannot be reached; the
ways themselves are `remote` and `foreign`.
"""

import logging
from collections.abc import Sequence
from typing import Final

import anyio

from gateway.agents.registry import Registry
from gateway.core.errors import NotSteerableError
from gateway.core.events import RunFailed, StatusChanged
from gateway.core.extension import Answer
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.driving.foreign import ForeignRun
from gateway.driving.reach import Reach, speaks_extension
from gateway.driving.remote import ExtensionRun
from gateway.errors import AgentUnreachableError, GatewayError

ARRIVAL_S: Final = 5.0  # what a follow-up waits for the agent to be found, then it is refused
BACKSTOP_S: Final = 30.0  # what an agent's own server gets to end an overdue run by itself

logger = logging.getLogger(__name__)


class AgentDriver:
    """One run at whatever agent it is for."""

    def __init__(self, run: Run, registry: Registry, *, patience_s: float) -> None:
        self._known = known = run.remote is not None and run.remote.task_id is not None
        self._run_id = run.id
        self._agent = run.agent
        self._registry = registry
        self._reach = Reach(registry, run.agent, patience_s=patience_s, known=known)
        self._way: ExtensionRun | ForeignRun | None = None
        self._chosen = anyio.Event()
        # Everything before the first message to the agent; a cancel ends it at once.
        self._approach = anyio.CancelScope()

    @property
    def upstream(self) -> bool:
        """The agent decides how its run ends; what it does not record, `foreign` does."""
        return True

    def outlasts(self, run: Run) -> bool:
        """Remote runs go on without us; the next gateway re-attaches."""
        return True

    @property
    def deadline_grace_s(self) -> float:
        """Our own servers keep the deadline of what they run; nobody else's does."""
        return 0.0 if isinstance(self._way, ForeignRun) else BACKSTOP_S

    async def drive(self, writer: RunWriter) -> None:
        """Drive to the end; an agent that cannot be reached or understood is a failed run."""
        try:
            with self._approach:
                self._way = await self._choose(writer)
                self._chosen.set()
            if self._way is None or self._approach.cancel_called:  # nothing was sent
                reason = "cancelled_by_caller"
                await writer.emit(StatusChanged(status=RunStatus.CANCELLED, reason=reason))
                return
            await self._way.drive()
        except GatewayError as exc:
            logger.warning("run %s: %s", self._run_id, exc)
            if not writer.run.terminal:
                await writer.emit(RunFailed(message=str(exc), reason=exc.code))

    async def _choose(self, writer: RunWriter) -> ExtensionRun | ForeignRun:
        while True:
            try:
                endpoint = await self._reach.endpoint()
            except AgentUnreachableError as exc:
                await self._reach.lost(exc)
                continue
            if speaks_extension(endpoint):
                return ExtensionRun(writer, self._reach)
            registered = self._registry.registration(self._agent)
            return ForeignRun(
                writer,
                self._reach,
                modes=registered.accepted_output_modes if registered else (),
                history=registered.history_length if registered else None,
            )

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        """Raises: CoreError when the agent refuses them."""
        await (await self._arrived()).answer(answers, message)

    async def steer(self, message: Message) -> None:
        """Raises: NotSteerableError."""
        await (await self._arrived()).steer(message)

    async def _arrived(self) -> ExtensionRun | ForeignRun:
        """The way to the agent; just after a start or restart it is still being found."""
        with anyio.move_on_after(ARRIVAL_S):
            await self._chosen.wait()
        if self._way is None:
            raise NotSteerableError(self._run_id, "its agent has not taken it up yet")
        return self._way

    async def cancel(self) -> None:
        """A run that was never sent ends at once; any other when its agent says so.

        One that is being found again after a restart is told with its first stream: the cancel
        stands in its record.
        """
        if self._way is not None:
            await self._way.cancel()
        elif not self._known:
            self._approach.cancel()
