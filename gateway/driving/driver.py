"""The gateway's driver of a run: reaches its agent, and drives it in the agent's own way.

Knows which agent that is (of a pool: the one that has the run, or is to get it), which way (by its
card), and how a run ends whose agent cannot be reached; the ways themselves are `remote` and
`foreign`.
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
from gateway.core.record import Remote, Run
from gateway.core.status import RunStatus
from gateway.driving.foreign.foreign_run import ForeignRun
from gateway.driving.reach import Reach, speaks_extension
from gateway.driving.remote import ExtensionRun
from gateway.errors import AgentUnreachableError, GatewayError

ARRIVAL_S: Final = 5.0  # what a follow-up waits for the agent to be found, then it is refused
BACKSTOP_S: Final = 30.0  # what an agent's own server gets to end an overdue run by itself

logger = logging.getLogger(__name__)


class _ReplaceableError(Exception):
    """The agent of a pool could not be reached, and cannot have heard of the run."""


def _moved_out(run: Run, home: str) -> StatusChanged:
    text = f"{home!r}, where the session's conversation is, takes no runs of pool {run.agent!r} now"
    return StatusChanged(status=run.status, reason="session_lost", message=text)


class AgentDriver:
    """One run at whatever agent it is for."""

    def __init__(self, run: Run, registry: Registry, *, patience_s: float) -> None:
        self._placed = run.remote is not None  # before this process: it may have been sent
        self._known = run.remote is not None and run.remote.task_id is not None
        self._run_id = run.id
        self._registry = registry
        self._patience_s = patience_s
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
            if writer.run.remote is not None:  # it is there, or may be
                await self._drive_at(writer, writer.run.remote.agent)
                return
            self._registry.check(writer.run.agent)
            if self._registry.is_pool(writer.run.agent):
                await self._drive_in_pool(writer)
            else:
                await self._drive_at(writer, writer.run.agent)
        except GatewayError as exc:
            logger.warning("run %s: %s", self._run_id, exc)
            if not writer.run.terminal:
                await writer.emit(RunFailed(message=str(exc), reason=exc.code))

    async def _drive_in_pool(self, writer: RunWriter) -> None:
        """At one of a pool's agents; at the next, as long as none of them can have heard of it.

        A session whose conversation is at one of them stays there, or the run fails: another would
        know nothing of it. When that one is no member any more, the run says so and begins anew.
        """
        pool = writer.run.agent
        session = await writer.session()
        home = session.remote if session is not None else None
        if home is not None and home.agent not in self._registry.members(pool):
            await writer.emit(_moved_out(writer.run, home.agent))
            home = None
        tried: set[str] = set()
        while True:
            stays = home is not None and home.agent in set(self._registry.members(pool)) - tried
            context = home.context_id if stays and home is not None else None
            member = home.agent if stays and home else self._registry.choose(pool, without=tried)
            tried.add(member)
            others = set(self._registry.members(pool)) - tried
            try:
                await self._drive_at(
                    writer,
                    member,
                    remote=Remote(agent=member, context_id=context),
                    replaceable=bool(others) and context is None,
                )
            except _ReplaceableError as exc:
                logger.warning("run %s goes to another agent of %r: %s", self._run_id, pool, exc)
            else:
                return

    async def _drive_at(
        self,
        writer: RunWriter,
        agent: str,
        *,
        remote: Remote | None = None,
        replaceable: bool = False,
    ) -> None:
        """At one agent. `remote` is stored before anything is sent there: after a crash the same
        agent is asked, which may have the run. Raises: GatewayError, _ReplaceableError."""
        reach = Reach(
            self._registry,
            agent,
            patience_s=self._patience_s,
            known=self._known,
            replaceable=replaceable,
        )
        with self._registry.occupied(agent):
            try:
                with self._approach:
                    if remote is not None:
                        await writer.emit(remote=remote)
                        await writer.flush()
                    self._way = await self._choose(writer, reach)
                    self._chosen.set()
                if self._way is None or self._approach.cancel_called:  # nothing was sent
                    reason = "cancelled_by_caller"
                    await writer.emit(StatusChanged(status=RunStatus.CANCELLED, reason=reason))
                    return
                await self._way.drive()
            except GatewayError as exc:
                # Whatever keeps this agent from being found; a message that it refused is refused.
                lost = self._way is None or isinstance(exc, AgentUnreachableError)
                if not (lost and replaceable and reach.untouched):
                    raise
                if writer.run.cancel_requested_at is not None:
                    raise
                self._registry.failed(agent, exc)
                self._way, self._approach = None, anyio.CancelScope()
                self._chosen = anyio.Event()
                raise _ReplaceableError(str(exc)) from exc

    async def _choose(self, writer: RunWriter, reach: Reach) -> ExtensionRun | ForeignRun:
        while True:
            try:
                endpoint = await reach.endpoint()
            except AgentUnreachableError as exc:
                await reach.lost(exc)
                continue
            if speaks_extension(endpoint):
                return ExtensionRun(writer, reach)
            registered = self._registry.registration(reach.agent)
            return ForeignRun(
                writer,
                reach,
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

    async def place(self) -> int | None:
        """Its place at an agent of ours that lets it wait."""
        return await self._way.place() if isinstance(self._way, ExtensionRun) else None

    async def cancel(self) -> None:
        """A run that was never sent ends at once; any other when its agent says so.

        One that is being found again after a restart is told with its first stream: the cancel
        stands in its record.
        """
        if self._way is not None:
            await self._way.cancel()
        elif not self._placed:
            self._approach.cancel()
