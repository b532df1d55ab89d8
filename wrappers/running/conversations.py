"""The open sessions of an agent, one a context; the least used idle ones are let go.

Knows adapters by their interface, and no run.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from wrappers.adapter import Adapter, AgentSession, Context
from wrappers.processes.process import to_the_end

IDLE_SESSIONS: Final = 64  # open conversations without a turn; warm processes have their own bound


class Conversations:
    """Those of one adapter; `idle` of them are kept without a turn."""

    def __init__(self, adapter: Adapter, idle: int = IDLE_SESSIONS) -> None:
        self._adapter = adapter
        self._idle_most = idle
        self._idle: OrderedDict[tuple[str, str], AgentSession] = OrderedDict()

    @asynccontextmanager
    async def of(self, principal: str, context: Context) -> AsyncGenerator[AgentSession]:
        """The context's session, for one turn at a time (the server queues a context's runs)."""
        key = (principal, context.id)
        session = self._idle.pop(key, None) or await self._adapter.open(context)
        try:
            yield session
        finally:
            self._idle[key] = session
            if len(self._idle) > self._idle_most:
                _, oldest = self._idle.popitem(last=False)
                await to_the_end(oldest.close())

    async def close(self) -> None:
        """Let every conversation and then the agent itself go."""
        while self._idle:
            _, session = self._idle.popitem()
            await session.close()
        await self._adapter.close()
