"""Ends wrappers that nobody needs: no active run, and no request with a token for a while.

Knows runs by their number alone. What comes after the decision is refused as by a server that is
gone already, so whoever started this wrapper starts it again; nothing is taken up and then dropped.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.core.errors import ServerStoppingError
from gateway.core.face.guard import is_public
from wrappers.serving.ending import Ending

IDLE: Final = "idleness"  # the reason of such an end
LOOKS: Final = 10  # how often idleness is looked for in the time it takes
LOOK_MIN_S: Final = 0.05


class Activity:
    """The app behind the guard; knows when it was last needed. Public paths do not count."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open = 0
        self._last = time.monotonic()
        self._shut = False

    @property
    def idle_s(self) -> float:
        return 0.0 if self._open else time.monotonic() - self._last

    def touch(self) -> None:
        """It is needed now."""
        self._last = time.monotonic()

    def shut(self) -> None:
        """From now on nothing is taken up any more."""
        self._shut = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._shut:
            # 503 says to clients, the gateway among them, that nothing was done with it.
            body = {"error": {"code": ServerStoppingError.code, "message": "this agent has ended"}}
            await JSONResponse(body, 503, {"Connection": "close"})(scope, receive, send)
        elif is_public(scope):
            await self._app(scope, receive, send)
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1
            self.touch()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One wrapper of this process. `active` counts its runs, those that wait for somebody among
    them; `leave` takes back what says that it is there."""

    activity: Activity
    active: Callable[[], int]
    leave: Callable[[], None]

    def idle_s(self) -> float:
        if self.active():
            self.activity.touch()
        return self.activity.idle_s


@dataclass(slots=True, kw_only=True)
class Idle:
    """Ends the process once every wrapper in it was idle for `after_s`; never, if that is None."""

    after_s: float | None
    ending: Ending
    members: list[Member] = field(default_factory=list[Member])

    async def watch(self) -> None:
        if self.after_s is None:
            return
        while True:
            await asyncio.sleep(max(self.after_s / LOOKS, LOOK_MIN_S))
            if self.members and all(member.idle_s() >= self.after_s for member in self.members):
                break
        # Nothing is awaited from here on: no request can come between the look and the end.
        for member in self.members:
            member.leave()
            member.activity.shut()
        self.ending.begin(IDLE)
