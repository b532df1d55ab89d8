"""How long an agent's requests wait for their answers, and what is answered when nobody does.

Pure but for the timers of `TimeLimits`. Knows no agent and no run's course.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Final

from gateway.core.clock import Clock, iso
from gateway.core.extension import ABORT, DENY, Answer, PendingRequest

SECOND_US: Final = 1_000_000
NOBODY: Final = "Nobody answered in time."
DECIDE: Final = "Nobody answered in time; decide by yourself."


def default_of(request: PendingRequest) -> str:
    """What is answered in the end, if the agent does not say it itself: a permission is denied, a
    plan ends the run (a denied one would only be handed in again), a question gets words."""
    if request.default is not None:
        return request.default
    offered = {option.id for option in request.options}
    if request.kind == "plan" and ABORT in offered:
        return ABORT
    return DECIDE if request.kind == "question" else DENY


def default_answer(request: PendingRequest) -> Answer:
    """The answer when the time is over."""
    default = default_of(request)
    if request.kind == "question":
        answers = {question.id: default for question in request.questions}
        return Answer(request_id=request.request_id, answers=answers or None, message=default)
    return Answer(request_id=request.request_id, option=default, message=NOBODY)


class TimeLimits:
    """The time limits of one run's requests; `expire` is called with the id of one that is over."""

    def __init__(
        self, within_s: float | None, clock: Clock, expire: Callable[[str], Awaitable[None]]
    ) -> None:
        self._within_s = within_s
        self._clock = clock
        self._expire = expire
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._expiring: set[asyncio.Future[None]] = set()

    def stamp(self, request: PendingRequest) -> PendingRequest:
        """`request` with its limit and what is answered then; its time begins."""
        if self._within_s is None:
            return request
        expires = iso(self._clock() + int(self._within_s * SECOND_US))
        stamped = request.model_copy(update={"expires_at": expires, "default": default_of(request)})
        self.watch([stamped])
        return stamped

    def watch(self, requests: Iterable[PendingRequest]) -> None:
        """Let the time of requests run that were stamped, here or before a restart."""
        loop = asyncio.get_running_loop()
        for request in requests:
            if request.expires_at is not None:
                at = datetime.fromisoformat(request.expires_at).timestamp()
                left = max(at - self._clock() / SECOND_US, 0.0)
                timer = loop.call_later(left, self._over, request.request_id)
                self._timers[request.request_id] = timer

    def drop(self, request_id: str) -> None:
        """The request is gone."""
        if (timer := self._timers.pop(request_id, None)) is not None:
            timer.cancel()

    async def close(self) -> None:
        """No limit counts any more; what is being said is said to its end."""
        for request_id in list(self._timers):
            self.drop(request_id)
        if self._expiring:
            await asyncio.wait(self._expiring)

    def _over(self, request_id: str) -> None:
        self._timers.pop(request_id, None)
        expiring = asyncio.ensure_future(self._expire(request_id))
        self._expiring.add(expiring)
        expiring.add_done_callback(self._expiring.discard)
