"""How the work of a run is stopped at Codex: told first, then swept, its process killed at last.

Knows the app-server's calls that end things; no event and no meaning of a message.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Final

from wrappers.codex.client import CodexClient, RpcError
from wrappers.codex.router import CodexGoneError
from wrappers.processes.process import to_the_end
from wrappers.processes.sweeper import now, sweep_part

# A cancel has 2 s in all. `turn/interrupt` is answered within 10 ms, by a busy process within 0.2 s.
ANSWER_S: Final = 0.6
TRIES: Final = 10
TRY_AGAIN_S: Final = 0.05
ALIVE_S: Final = 0.4
ENDED_S: Final = 1.2  # until a turn that was told to end says so; seen within 0.1 s
SLOW_S: Final = 5.0  # the same, where the process answers others
FROZEN: Final = "codex app-server did not answer and was killed"


class Stop:
    """`mark` is in the environment of every command of the run (see `process.sweep`)."""

    def __init__(self, client: CodexClient, mark: str) -> None:
        self._client = client
        self._mark = mark
        self._since = now()
        self.due: float | None = None  # when a turn that was told to end must have ended
        self._slow = False
        self._told: set[str] = set()  # turns: Codex leaves a second interrupt of one unanswered

    async def interrupt(self, turns: Mapping[str, str | None]) -> None:
        """Tell that these turns (by thread) are to end, and see to it that it was heard."""
        await self._all(
            self._interrupt(thread, turn)
            for thread, turn in turns.items()
            if turn is not None and turn not in self._told
        )

    async def insist(self, turns: Mapping[str, str | None]) -> None:
        """Tell it until it was taken, where nobody listens for a turn that starts late."""
        for _ in range(TRIES):
            await self.interrupt(turns)
            if self._told.issuperset(turn for turn in turns.values() if turn is not None):
                return
            await asyncio.sleep(TRY_AGAIN_S)

    async def clean(self, threads: Iterable[str]) -> None:
        """End the commands that an interrupt leaves running, by design, whatever they became."""
        told = [self._tell("thread/backgroundTerminals/clean", {"threadId": it}) for it in threads]
        await self._all(told)
        # What made a session of its own, ignores signals, or threw its environment away.
        await asyncio.to_thread(sweep_part, self._mark, self._since)

    async def unless_frozen(self, work: "asyncio.Future[Any]") -> None:
        """Await what the process has to answer, for a while; kill it when it answers nothing."""
        done, _ = await asyncio.wait({work}, timeout=ANSWER_S)
        if not done and not await self.alive():
            await self.kill()

    async def alive(self) -> bool:
        """Whether the process answers: killing a slow one would end the runs of others as well."""
        try:
            await self._client.call("thread/loaded/list", {"limit": 1}, timeout_s=ALIVE_S)
        except CodexGoneError:
            return False
        except RpcError:
            return True
        return True

    def watch(self) -> None:
        """From now on the turn has so long to end."""
        self.due = asyncio.get_running_loop().time() + ENDED_S

    async def look(self) -> None:
        """Kill the process when the turn is overdue; once later, when it is only slow."""
        now = asyncio.get_running_loop().time()
        if self.due is None or self.due > now:
            return
        self.due = None
        if self._slow or not await self.alive():
            await self.kill()
        else:
            self._slow, self.due = True, now + SLOW_S

    async def kill(self) -> None:
        """End the process: every call is answered then, and every run of it has ended."""
        await to_the_end(self._client.kill(FROZEN))

    async def _all(self, told: Iterable[Coroutine[Any, Any, None]]) -> None:
        work = asyncio.gather(*told)
        await self.unless_frozen(work)
        work.cancel()  # what is still open will never be answered

    async def _interrupt(self, thread: str, turn: str) -> None:
        self._told.add(turn)
        try:
            await self._client.call("turn/interrupt", {"threadId": thread, "turnId": turn})
        except RpcError:  # it has just ended, or was accepted and has not started yet
            self._told.discard(turn)
        except CodexGoneError:
            return  # whoever listens hears of it

    async def _tell(self, method: str, params: dict[str, str]) -> None:
        with contextlib.suppress(RpcError, CodexGoneError):
            await self._client.call(method, dict(params))
