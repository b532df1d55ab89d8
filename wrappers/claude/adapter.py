"""Claude Code as an adapter: a session per context, a bounded number of them with a warm process.

Knows no A2A and no server.
"""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.core.extension import CodingRequest
from gateway.core.json import JsonObject
from wrappers.adapter import AgentSession, Context, Finding
from wrappers.claude.client import Client
from wrappers.claude.inspection import inspect
from wrappers.claude.options import Installation, Start, bundled_cli
from wrappers.claude.session import ClaudeSession
from wrappers.claude.spare import Spare

# A warm process answers in 76 ms where a new one takes 921 ms, for about 110 MB each (medians).
WARM_MAX: Final = 8
IDLE_S: Final = 600.0


class ClaudeAdapter:
    """All contexts of one wrapper. `env` is the whole environment of the CLI, `home` a private
    folder for what is kept beside the CLI's own files; `spare` keeps one process more, for the
    next new context."""

    def __init__(
        self,
        *,
        cli: Path | None,
        env: Mapping[str, str],
        home: Path,
        allow_root: bool,
        warm_max: int = WARM_MAX,
        idle_s: float = IDLE_S,
        spare: bool = False,
    ) -> None:
        self._installation = Installation(
            cli=cli or bundled_cli(), env=dict(env), home=home, allow_root=allow_root
        )
        shutil.rmtree(self._installation.scratch, ignore_errors=True)
        self._installation.files.clear()
        self._warm_max = warm_max
        self._idle_s = idle_s
        self._spare = Spare(self._installation, idle_s) if spare else None
        self._sessions: dict[str, ClaudeSession] = {}
        # Idle sessions with a warm process, the one idle for longest first, and their timers.
        self._rested: dict[ClaudeSession, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return "claude_code"

    def check(self, request: CodingRequest) -> None:
        self._installation.check(request)

    async def inspect(self) -> Sequence[Finding]:
        return await inspect(self._installation)

    def status(self) -> JsonObject:
        """`warm` processes have a context, `idle` of them no turn; `spare` has none."""
        sessions = {*self._sessions.values(), *self._rested}
        return {
            "warm": sum(session.has_process for session in sessions),
            "idle": len(self._rested),
            "spare": int(self._spare is not None and self._spare.ready),
            "warm_max": self._warm_max,
        }

    async def open(self, context: Context) -> AgentSession:
        known = self._sessions.get(context.id)
        if known is not None and known.serves(context):
            return known
        if known is not None:
            await known.close()
        session = ClaudeSession(context, self._installation, self, self._changed)
        self._sessions[context.id] = session
        return session

    async def close(self) -> None:
        for timer in self._rested.values():
            timer.cancel()
        sessions = {*self._sessions.values(), *self._rested}
        self._sessions.clear()
        self._rested.clear()
        spares = [self._spare.close()] if self._spare is not None else []
        await asyncio.gather(*(session.close() for session in sessions), *self._closing, *spares)

    # -- warm processes ------------------------------------------------------------------------

    async def admit(self) -> None:
        """Before a process is started: the longest idle ones beyond the limit go."""
        warm = sum(session.has_process for session in self._sessions.values())
        for idle in list(self._rested)[: max(0, warm - self._warm_max + 1)]:
            await idle.close()

    def spare(self, start: Start) -> Client | None:
        return self._spare.take(start) if self._spare is not None else None

    def began(self, start: Start) -> None:
        if self._spare is not None:
            self._spare.prepare(start)

    def _changed(self, session: ClaudeSession) -> None:
        """A session took up work, came to rest or was closed."""
        timer = self._rested.pop(session, None)
        if timer is not None:
            timer.cancel()
        if session.busy:
            self._sessions[session.context.id] = session
        elif session.has_process:
            loop = asyncio.get_running_loop()
            self._rested[session] = loop.call_later(self._idle_s, self._expire, session)
        elif self._sessions.get(session.context.id) is session:
            del self._sessions[session.context.id]

    def _expire(self, session: ClaudeSession) -> None:
        task = asyncio.get_running_loop().create_task(session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
