"""What is said to Codex in one run: turns that are begun, and messages into them.

Knows the calls and the terms that each states anew; no event, and nothing of what comes back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.json import JsonObject, as_object
from wrappers.adapter import Context, Turn
from wrappers.codex import terms
from wrappers.codex.client import CodexClient, RpcError
from wrappers.codex.router import CodexGoneError
from wrappers.codex.server import Defaults
from wrappers.resumption import Grants


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a run works under. `mark` is in its commands' environment (see `process.sweep`)."""

    context: Context
    turn: Turn
    defaults: Defaults
    mark: str
    git_dirs: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class RunState:
    """What a run keeps when it is tried again after a login.

    `before` are the thread's tokens when it began, where that is known at its start.
    """

    run_id: str
    before: JsonObject | None
    grants: Grants
    planning: bool


class Talk:
    """With one thread; `planning` is whether the next turn makes a plan."""

    def __init__(self, client: CodexClient, thread: str, work: Terms, *, planning: bool) -> None:
        self.planning = planning
        self.beginning: asyncio.Task[JsonObject] | None = None  # `turn/start` under way
        self._client = client
        self._thread = thread
        self._work = work

    async def begin(self, items: Sequence[JsonObject]) -> str:
        """Start a turn; its id. Raises: RpcError, CodexGoneError."""
        work, request = self._work, self._work.turn.request
        params = terms.turn_start(work.context, work.turn, self._thread, git_dirs=work.git_dirs)
        stated = {"model": work.defaults.model, "effort": work.defaults.effort, **params}
        if request.permission_mode == "plan":
            model = request.model or work.defaults.model
            stated |= terms.collaboration(model, planning=self.planning)
        call = self._client.call("turn/start", {**stated, "input": list(items)})
        self.beginning = asyncio.create_task(call, name="codex turn/start")
        try:
            answer = await self.beginning
        finally:
            self.beginning = None
        return str(as_object(answer.get("turn")).get("id"))

    async def steer(self, items: Sequence[JsonObject], turn: str) -> bool:
        """Say something into the running turn; False when it has ended."""
        params = {"threadId": self._thread, "expectedTurnId": turn}
        try:
            await self._client.call("turn/steer", {**params, "input": list(items)})
        except (RpcError, CodexGoneError):
            return False
        return True
