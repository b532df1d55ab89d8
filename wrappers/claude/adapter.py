"""Claude Code as an adapter: a session per context, a bounded number of them with a warm process.

Knows no A2A and no server.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.core.extension import CodingRequest
from gateway.core.json import JsonObject
from wrappers.adapter import AgentSession, Context, Finding
from wrappers.claude.options import Installation, bundled_cli, session_of
from wrappers.claude.session import ClaudeSession

# A warm process answers in 76 ms where a new one takes 921 ms, for about 110 MB each (medians).
WARM_MAX: Final = 8
IDLE_S: Final = 600.0


class ClaudeAdapter:
    """All contexts of one wrapper. `env` is the whole environment of the CLI, `home` a private
    folder for what is kept beside the CLI's own files."""

    def __init__(
        self,
        *,
        cli: Path | None,
        env: Mapping[str, str],
        home: Path,
        allow_root: bool,
        warm_max: int = WARM_MAX,
        idle_s: float = IDLE_S,
    ) -> None:
        self._installation = Installation(
            cli=cli or bundled_cli(), env=dict(env), home=home, allow_root=allow_root
        )
        self._warm_max = warm_max
        self._idle_s = idle_s
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
        return [Finding(name="program", verdict="ok", text=str(self._installation.cli))]

    def status(self) -> JsonObject:
        return {"warm": sum(session.warm for session in self._sessions.values())}

    async def open(self, context: Context) -> AgentSession:
        known = self._sessions.get(context.id)
        if known is not None and _same(known.context, context):
            return known
        if known is not None:
            await known.close()
        session = ClaudeSession(
            context, self._installation, admit=self._admit, changed=self._changed
        )
        self._sessions[context.id] = session
        return session

    async def close(self) -> None:
        for timer in self._rested.values():
            timer.cancel()
        sessions = {*self._sessions.values(), *self._rested}
        self._sessions.clear()
        self._rested.clear()
        await asyncio.gather(*(session.close() for session in sessions), *self._closing)

    # -- warm processes ------------------------------------------------------------------------

    async def _admit(self, session: ClaudeSession) -> None:
        """Before `session` starts a process: the longest idle ones beyond the limit go."""
        self._sessions[session.context.id] = session
        warm = sum(other.warm for other in self._sessions.values() if other is not session)
        for idle in list(self._rested)[: max(0, warm - self._warm_max + 1)]:
            await idle.close()

    def _changed(self, session: ClaudeSession) -> None:
        """A session took up work, came to rest or was closed."""
        timer = self._rested.pop(session, None)
        if timer is not None:
            timer.cancel()
        if session.busy:
            return
        if session.warm:
            loop = asyncio.get_running_loop()
            self._rested[session] = loop.call_later(self._idle_s, self._expire, session)
        elif self._sessions.get(session.context.id) is session:
            del self._sessions[session.context.id]

    def _expire(self, session: ClaudeSession) -> None:
        task = asyncio.get_running_loop().create_task(session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _same(one: Context, other: Context) -> bool:
    """The vendor's session is named by the first turn at the latest."""
    return (one.cwd, one.profile, session_of(one)) == (
        other.cwd,
        other.profile,
        session_of(other),
    )
