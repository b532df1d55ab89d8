"""Which run a message of the app-server belongs to: one inbox a thread, its sub-agents' included.

Pure but for the queues it fills; knows no process and no meaning of a message beyond its threads.
"""

import asyncio
from collections import deque
from typing import Final, TypeAlias

from gateway.core.json import JsonObject, as_object
from wrappers.codex.wire import Incoming, RequestId

STRAYS: Final = 256  # messages kept per thread that nobody claimed yet
STRAY_THREADS: Final = 64


class CodexGoneError(Exception):
    """The app-server ended, or does not answer; its running turns are lost, its threads are not."""


Inbox: TypeAlias = "asyncio.Queue[Incoming | CodexGoneError]"


class Router:
    """Which inbox a message belongs to.

    A sub-agent's messages carry a thread id of their own and often come before the item of the
    parent that names it, so messages of unknown threads are kept for a while.
    """

    def __init__(self) -> None:
        self._inboxes: dict[str, Inbox] = {}
        self._parents: dict[str, str] = {}  # sub-agent's thread -> the thread that is listened to
        self._known: set[str] = set()
        self._strays: dict[str, deque[Incoming]] = {}

    def listen(self, thread: str) -> Inbox:
        inbox: Inbox = asyncio.Queue()
        self._inboxes[thread] = inbox
        self._known.add(thread)
        for message in self._strays.pop(thread, ()):
            inbox.put_nowait(message)
        return inbox

    def unlisten(self, thread: str) -> None:
        self._inboxes.pop(thread, None)

    def sub_agents(self, thread: str) -> list[str]:
        """The threads that are known to work for `thread`."""
        return [child for child, root in self._parents.items() if root == thread]

    def forget(self, thread: str) -> None:
        """Nobody will listen to the thread again, or only when it was loaded anew."""
        for child in self.sub_agents(thread):
            del self._parents[child]
        self._known.discard(thread)

    def end(self, gone: CodexGoneError) -> None:
        for inbox in self._inboxes.values():
            inbox.put_nowait(gone)

    def route(self, method: str, params: JsonObject, request_id: RequestId | None) -> bool:
        """Whether somebody will see the message."""
        thread = params.get("threadId") or as_object(params.get("thread")).get("id")
        if not isinstance(thread, str):
            return False
        for child, parent in _families(params, thread):
            self._adopt(child, parent)
        message = Incoming(method=method, params=params, thread=thread, request_id=request_id)
        root = self._parents.get(thread, thread)
        if (inbox := self._inboxes.get(root)) is not None:
            inbox.put_nowait(message)
            return True
        return root not in self._known and self._keep(message)

    def _adopt(self, child: str, parent: str) -> None:
        root = self._parents.get(parent, parent)
        if child == root:
            return
        self._parents[child] = root
        inbox = self._inboxes.get(root)
        for message in self._strays.pop(child, ()):
            if inbox is not None:
                inbox.put_nowait(message)

    def _keep(self, message: Incoming) -> bool:
        strays = self._strays.setdefault(message.thread, deque(maxlen=STRAYS))
        strays.append(message)
        if len(self._strays) > STRAY_THREADS:
            self._strays.pop(next(iter(self._strays)))
        return True


def _families(params: JsonObject, thread: str) -> list[tuple[str, str]]:
    """The (sub-agent's, parent's) threads a message names."""
    item = as_object(params.get("item"))
    named: list[object] = [*(item.get("receiverThreadIds") or ()), item.get("agentThreadId")]
    pairs = [(child, thread) for child in named if isinstance(child, str)]
    parent = as_object(params.get("thread")).get("parentThreadId")
    return [*pairs, (thread, parent)] if isinstance(parent, str) else pairs
