"""Threads of the app-server: started, loaded with a run's settings, and let go of.

Knows the calls and what a loaded thread keeps; no run and no event.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.core.json import JsonObject, as_object
from wrappers.adapter import Context, Turn
from wrappers.codex import terms
from wrappers.codex.client import CodexClient, RpcError
from wrappers.processes.process import to_the_end

# Loaded without a run: 1.2 MB each after a short turn, and 30 ms to load one again (measured).
WARM: Final = 16
CLOSING_S: Final = 0.01  # between two looks at a thread that is being unloaded
CLOSING_LOOKS: Final = 500
LET_GO_S: Final = 2.0  # it is answered within milliseconds
UNKNOWN: Final[JsonObject] = {}  # the settings of a thread whose loading was cut off
# JSON-RPC's code is the same for every refusal.
LOST: Final = "no rollout found"
ARCHIVED: Final = "is archived"
CLOSING: Final = "is closing"


class ThreadLostError(Exception):
    """Codex has no thread of this id any more."""


class Warm:
    """Sessions without a run whose threads stay loaded; beyond `most` the oldest are let go."""

    def __init__(self, most: int = WARM) -> None:
        self._most = most
        self._resting: OrderedDict[object, Callable[[], Awaitable[None]]] = OrderedDict()

    def wake(self, session: object) -> None:
        self._resting.pop(session, None)

    async def rest(self, session: object, let_go: Callable[[], Awaitable[None]]) -> None:
        self._resting[session] = let_go
        while len(self._resting) > self._most:
            _, oldest = self._resting.popitem(last=False)
            await oldest()


async def start(client: CodexClient, context: Context, turn: Turn) -> str:
    """A new thread's id."""
    answer = await client.call("thread/start", terms.thread_start(context, turn))
    thread = str(as_object(answer.get("thread")).get("id"))
    client.threads[thread] = terms.thread_config(str(context.cwd), turn)
    return thread


async def resume(client: CodexClient, context: Context, turn: Turn, thread: str) -> JsonObject:
    """Load a thread with this run's settings; the answer of `thread/resume`.

    Raises: ThreadLostError.
    """
    if thread in client.threads:  # it keeps its settings, whatever `thread/resume` says
        await unload(client, thread)
    client.threads[thread] = UNKNOWN
    params = terms.thread_resume(context, turn, thread)
    for _ in range(CLOSING_LOOKS):
        try:
            answer = await client.call("thread/resume", params)
        except RpcError as exc:
            if CLOSING in exc.text:
                await asyncio.sleep(CLOSING_S)
            elif ARCHIVED in exc.text:
                await client.call("thread/unarchive", {"threadId": thread})
            else:
                del client.threads[thread]
                if LOST in exc.text:
                    raise ThreadLostError(thread) from exc
                raise
        else:
            client.threads[thread] = terms.thread_config(str(context.cwd), turn)
            return answer
    raise RpcError("thread/resume", {"message": f"thread {thread} does not close"})


async def let_go(client: CodexClient, thread: str) -> None:
    """Nobody listens to the thread any more: Codex unloads it, its sub-agents' likewise."""
    client.threads[thread] = UNKNOWN  # until it is certain
    for one in (*client.sub_agents(thread), thread):
        await client.call("thread/unsubscribe", {"threadId": one}, timeout_s=LET_GO_S)
    client.threads.pop(thread, None)
    client.forget(thread)


async def unload(client: CodexClient, thread: str) -> None:
    """Have the thread unloaded, and see to it."""
    await let_go(client, thread)
    for _ in range(CLOSING_LOOKS):
        answer = await client.call("thread/read", {"threadId": thread, "includeTurns": False})
        status = as_object(as_object(answer.get("thread")).get("status"))
        if status.get("type") == "notLoaded":
            return
        await asyncio.sleep(CLOSING_S)
    await to_the_end(_archive(client, thread))


async def _archive(client: CodexClient, thread: str) -> None:
    """What unloads a thread at once in every version."""
    for method in ("thread/archive", "thread/unarchive"):
        await client.call(method, {"threadId": thread})
