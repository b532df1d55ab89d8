"""The local wrappers of one gateway: found where they run, started on demand, stopped at its end.

Knows no A2A and imports no wrapper. A wrapper outlives a gateway that was killed, and the next
gateway takes it over.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from gateway.core.json import JsonObject, as_object
from gateway.errors import LaunchError
from gateway.home import Home, Process, Published, read_private, write_private
from gateway.local import starting
from gateway.local.restarts import Restarts
from gateway.local.running import POLL_S, Running
from gateway.local.starting import NameTakenError, token_in, wrapper_command

PATIENCE_S: Final = 5.0  # what a run waits for the next try; beyond that it is told when that is

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Slot:
    """One agent's wrapper; the lock lets one start happen at a time."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: Running | None = None
    doubted: bool = False
    restarts: Restarts = field(default_factory=Restarts)


class Launcher:
    """The local wrappers of one gateway."""

    def __init__(
        self,
        home: Home,
        *,
        environment: Mapping[str, str],
        timeout_s: float,
        idle_exit_s: float | None = None,
    ) -> None:
        """`idle_exit_s`: what a wrapper waits without work before it ends; None: for ever."""
        self._idle_exit_s = idle_exit_s
        self._home = home
        self._environment = dict(environment)
        self._timeout_s = timeout_s
        self._slots: dict[str, _Slot] = {}

    def running(self, agent: str) -> Running | None:
        """The agent's wrapper, when it is known to run."""
        slot = self._slots.get(agent)
        wrapper = slot.running if slot is not None else None
        return wrapper if wrapper is not None and wrapper.alive else None

    async def ensure(self, agent: str) -> Running:
        """The agent's wrapper: the running one, one found in the home, or a new one.

        Raises: LaunchError, also while one that ends again and again is given a rest.
        """
        slot = self._slots.setdefault(agent, _Slot())
        if slot.running is not None and slot.running.alive and not slot.doubted:
            return slot.running
        async with slot.lock:
            if slot.running is not None and slot.doubted:
                await self._settle(slot.running)
                slot.doubted = False
            if slot.running is None or not slot.running.alive:
                slot.running = await self._awaited(agent) or await self._again(agent, slot)
            return slot.running

    def doubt(self, agent: str) -> None:
        """A link to the agent's wrapper failed: it may be about to end."""
        if (slot := self._slots.get(agent)) is not None:
            slot.doubted = True

    async def _settle(self, wrapper: Running) -> None:
        """Wait for the end of one that has taken its note back: it takes nothing up any more."""
        if wrapper.alive and not self._home.note(wrapper.port).exists():
            logger.info("wrapper %d is ending; waiting for it", wrapper.process.pid)
            if not await wrapper.ended() and wrapper.ours:
                await wrapper.stop()

    async def stop(self) -> None:
        """Stop every wrapper that a gateway of this home started, side by side; unless this one
        was asked to keep them.

        Those of a gateway that was killed too, although nobody asked this one for them.
        """
        if self._home.keeps_agents():
            logger.info("the local agents go on, and the next gateway takes them over")
            return
        running = [slot.running for slot in self._slots.values() if slot.running is not None]
        used = {wrapper.process for wrapper in running}
        found = [self._adopted(published) for published in self._home.wrappers()]
        running += [wrapper for wrapper in found if wrapper.process not in used]
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                for wrapper in running:
                    if wrapper.ours and wrapper.alive:
                        group.start_soon(wrapper.stop)
            self._home.launched.unlink(missing_ok=True)

    # -- one that runs ---------------------------------------------------------------------------

    async def _awaited(self, agent: str) -> Running | None:
        """The one that runs, or that a killed gateway had just started; the end of one that is
        ending is waited for, because its successor needs its folder."""
        process: Process | None = None
        match as_object((read_private(self._home.launched) or {}).get(agent)):
            case {"pid": int(pid), "start_time": int(ticks)}:
                process = Process(pid=pid, start_time=ticks)
            case _:
                pass
        with anyio.move_on_after(self._timeout_s):
            while (found := self._found(agent)) is None and process and process.alive:  # noqa: ASYNC110
                await anyio.sleep(POLL_S)  # no child of ours: nobody tells us
            return found
        return None

    def _found(self, agent: str) -> Running | None:
        for published in self._home.wrappers():
            if published.name == agent:
                logger.info("agent %s runs already, pid %d", agent, published.process.pid)
                return self._adopted(published)
        return None

    def _adopted(self, published: Published) -> Running:
        return Running(
            base_url=published.url,
            token=token_in(published.token_file),
            process=published.process,
            ours=published.launched,
        )

    # -- a new one -------------------------------------------------------------------------------

    async def _again(self, agent: str, slot: _Slot) -> Running:
        """A new wrapper, after the rest that its predecessors' ends have earned it."""
        restarts = slot.restarts
        if slot.running is not None and slot.running.failed:
            restarts.ended(time.monotonic())
        slot.running = None
        if (wait_s := restarts.wait_s(time.monotonic())) > PATIENCE_S:
            why = f"it ended {restarts.ends} times in a row; the next try is in {wait_s:.0f} s"
            raise LaunchError(agent, why)
        await anyio.sleep(wait_s)
        restarts.started(time.monotonic())
        try:
            return await self._start(agent)
        except LaunchError:
            restarts.ended(time.monotonic())
            raise

    async def _start(self, agent: str) -> Running:
        try:
            running = await starting.start(
                agent,
                self._command(agent),
                environment=self._environment,
                folder=self._home.path,
                log=self._home.logs / f"{agent}.log",
                timeout_s=self._timeout_s,
                # Before it is ready: we may be killed meanwhile.
                on_spawned=lambda process: self._remember(agent, process),
            )
        except NameTakenError as exc:
            # One that a gateway was killed over before it could note it.
            if (found := await self._about_to_run(agent)) is not None:
                return found
            raise LaunchError(
                agent, "another wrapper of its name runs and does not say where"
            ) from exc
        logger.info("agent %s started, pid %d, %s", agent, running.process.pid, running.base_url)
        return running

    async def _about_to_run(self, agent: str) -> Running | None:
        with anyio.move_on_after(self._timeout_s):
            while (found := self._found(agent)) is None:  # noqa: ASYNC110
                await anyio.sleep(POLL_S)  # no child of ours: nobody tells us
            return found
        return None

    def _command(self, agent: str) -> Sequence[str]:
        return wrapper_command(agent, self._idle_exit_s)

    def _remember(self, agent: str, process: Process) -> None:
        launched = read_private(self._home.launched) or {}
        noted: JsonObject = {"pid": process.pid, "start_time": process.start_time}
        write_private(self._home.launched, {**launched, agent: noted})
