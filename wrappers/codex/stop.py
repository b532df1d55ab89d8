"""How the work of a run is stopped at Codex: told first, then swept, its process killed at last.

Knows the app-server's calls that end things; no event and no meaning of a message.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wrappers.codex.client import CodexClient, RpcError
from wrappers.codex.router import CodexGoneError
from wrappers.process import sweep, to_the_end

# A cancel has 2 s in all. `turn/interrupt` is answered within 10 ms, by a busy process within 0.2 s.
ANSWER_S: Final = 0.9
# One that talks to others meanwhile is slow, not frozen: killing it would end their runs as well.
SLOW_S: Final = 5.0
FROZEN: Final = "codex app-server did not answer and was killed"


class Stop:
    """`mark` is in the environment of every command of the run (see `process.sweep`)."""

    def __init__(self, client: CodexClient, mark: str) -> None:
        self._client = client
        self._mark = mark

    async def interrupt(self, turns: Mapping[str, str | None]) -> None:
        """Tell that these turns (by thread) are to end, and see to it that it was heard."""
        told = [
            self._tell("turn/interrupt", {"threadId": thread, "turnId": turn})
            for thread, turn in turns.items()
            if turn is not None
        ]
        await self.unless_frozen(asyncio.gather(*told))

    async def unless_frozen(self, work: "asyncio.Future[Any]") -> None:
        """Await what the process has to answer; one that does not is killed."""
        asked = asyncio.get_running_loop().time()
        for patience_s in (ANSWER_S, SLOW_S):
            done, _ = await asyncio.wait({work}, timeout=patience_s)
            if done or not self._client.alive:
                return
            if self._client.heard < asked:
                break
        await self.kill()

    async def kill(self) -> None:
        """End the process: every call is answered then, and every run of it has ended."""
        await to_the_end(self._client.kill(FROZEN))

    async def clean(self, threads: Iterable[str]) -> None:
        """End the commands that an interrupt leaves running, by design, whatever they became."""
        told = [self._tell("thread/backgroundTerminals/clean", {"threadId": it}) for it in threads]
        await self.unless_frozen(asyncio.gather(*told))
        # What made a session of its own, or ignores signals.
        await asyncio.to_thread(sweep, self._mark)

    async def _tell(self, method: str, params: dict[str, str]) -> None:
        # Refused when the turn has just ended; gone: whoever listens hears of it.
        with contextlib.suppress(RpcError, CodexGoneError):
            await self._client.call(method, dict(params))
