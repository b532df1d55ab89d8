"""One agent under watch: its health, and the one probe that all who wait for it share.

Knows how to look at the agent by a function; nothing of what is said to it. An agent that does
well is never looked at from here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.agents.health import Health, State
from gateway.core.clock import Clock
from gateway.core.errors import CoreError
from gateway.errors import AgentUnreachableError, GatewayError

DELAY_MIN_S: Final = 0.1
DELAY_MAX_S: Final = 5.0  # while a run waits for the agent
IDLE_MAX_S: Final = 60.0  # while nobody does
HURRY_S: Final = 0.5  # the least between two looks, however many new runs ask for one


def now_us() -> int:
    return time.time_ns() // 1000


class Watch:
    """`look` calls the agent once and raises a CoreError when that fails. `patient`: whether to
    go on looking while nobody waits (a local agent would be started by it)."""

    def __init__(
        self,
        look: Callable[[], Awaitable[object]],
        *,
        patient: Callable[[], bool],
        clock: Clock = now_us,
    ) -> None:
        self._look = look
        self._patient = patient
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._looked = asyncio.Event()  # replaced at each look
        self._looked_at = -HURRY_S
        self._delay_s = DELAY_MIN_S
        self._waiting = 0
        self._error: AgentUnreachableError | None = None
        self.health = Health()

    # -- what is noticed -------------------------------------------------------------------------

    def worked(self, latency_ms: float | None = None) -> None:
        """The agent answered."""
        self.health = self.health.worked(at=self._clock(), latency_ms=latency_ms)
        self._error = None
        self._tell()

    def failed(self, error: GatewayError) -> None:
        """A call to it failed. One that found nobody counts; one that broke off starts a look."""
        if not isinstance(error, AgentUnreachableError):
            self.faulty(str(error))
            return
        if error.noted:
            return
        error.noted = True
        if not error.sent:
            self._down(error)
        self._start()

    def faulty(self, why: str) -> None:
        """It cannot be used as it is; looking again would not help."""
        self.health = self.health.faulty(why, at=self._clock())

    def forget(self) -> None:
        """Another agent is there now, or the same one anew: what was found out says nothing."""
        self.health, self._error = Health(), None
        self._hurry.set()
        self._tell()

    def _down(self, error: AgentUnreachableError) -> None:
        self._error = error
        self.health = self.health.unreachable(str(error), at=self._clock())

    # -- what may be done ------------------------------------------------------------------------

    def check(self) -> None:
        """Raises: AgentUnreachableError, while the agent is known to be down and looked after."""
        if self._error is not None and self.health.down and self._task is not None:
            raise self._error.again()

    @property
    def open(self) -> bool:
        return self.health.state is State.OPEN

    async def looked(self, *, hurry: bool = False) -> bool:
        """Whether the agent is there, by the next look: one for all who wait. `hurry`: do not
        wait out the back-off."""
        looked = self._looked
        self._start()
        if hurry or self._delay_s > DELAY_MAX_S:
            self._hurry.set()
        self._waiting += 1
        try:
            await looked.wait()
        finally:
            self._waiting -= 1
        return not self.health.down

    # -- the look --------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="watch of an agent")
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self.health = self.health.retried(None)
        if not task.cancelled():
            task.exception()  # it is in no log twice: `look` raises CoreErrors alone
        self._tell()

    async def _watch(self) -> None:
        self._delay_s = DELAY_MIN_S
        while True:
            await self._pause(self._delay_s)
            try:
                await self._look()
            except AgentUnreachableError as exc:
                if not exc.noted:
                    exc.noted = True
                    self._down(exc)
            except CoreError as exc:  # also credentials that are gone
                self.faulty(str(exc))
            self._looked_at = time.monotonic()
            self._tell()
            if not self.health.down or not (self._waiting or self._patient()):
                return
            most_s = DELAY_MAX_S if self._waiting else IDLE_MAX_S
            self._delay_s = min(self._delay_s * 2, most_s)

    async def _pause(self, delay_s: float) -> None:
        """Wait out the back-off, or what is left of HURRY_S when somebody asks."""
        self.health = self.health.retried(self._clock() + int(delay_s * 1_000_000))
        try:
            async with asyncio.timeout(delay_s):
                await self._hurry.wait()
        except TimeoutError:
            return
        self._hurry.clear()
        await asyncio.sleep(min(delay_s, max(0.0, self._looked_at + HURRY_S - time.monotonic())))

    def _tell(self) -> None:
        """Whoever waits for a look goes on."""
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
