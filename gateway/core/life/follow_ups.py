"""What callers say to a run that is at work: answers, steers, the retry after a login.

Knows the run's writer and driver; whether the run may be spoken to now is its owner's to say. An
answer is recorded before the agent gets it.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias

from gateway.core.answers import AnswerError, names_requests, read_answers
from gateway.core.errors import AnswerRefusedError, NotSteerableError, RunEndedError
from gateway.core.extension import Answer
from gateway.core.life.driver import Driver
from gateway.core.life.resolved import how_resolved
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import AfterTerminalError, follow_up, resolutions
from gateway.core.status import RunStatus
from gateway.core.store.entry import RequestKey
from gateway.core.store.log import RunLog

# What a follow-up did; `attached`: its key says that it was done before.
Did: TypeAlias = Literal["attached", "answered", "steered", "resumed"]

_LOOK: Final = "poll_events (GetTask) shows how the run goes on"


class FollowUps:
    """Those of one run; its owner lets them in one at a time."""

    def __init__(self, writer: RunWriter, driver: Driver, log: RunLog) -> None:
        self._writer = writer
        self._driver = driver
        self._log = log
        self._answered: set[str] = set()

    async def take(self, message: Message, principal: str, key: RequestKey | None) -> Did:
        """Answer what is pending, or steer. Raises: see `Owner.message`."""
        run = self._writer.run
        if run.pending or names_requests(message):
            await self._answer(message, principal, key)
            return "answered"
        await self._steer(message, key)
        return "resumed" if run.status is RunStatus.AUTH_REQUIRED else "steered"

    async def _steer(self, message: Message, key: RequestKey | None) -> None:
        writer = self._writer
        try:
            await self._driver.steer(message)
        except NotSteerableError as exc:
            if not writer.run.terminal:
                raise
            await writer.flush()
            raise RunEndedError(writer.run.id, writer.run.status) from exc
        if not self._driver.upstream and not writer.run.terminal:
            with suppress(AfterTerminalError):  # heard, and then the run ended: nothing to add
                await writer.emit(follow_up(message), key=key)
                await writer.flush()
        elif key is not None:
            await self._log.keep_key(key, writer.run.id)

    async def _answer(self, message: Message, principal: str, key: RequestKey | None) -> None:
        answers = await self._read(message)
        writer, ids = self._writer, [answer.request_id for answer in answers]
        if self._driver.upstream:
            await self._driver.answer(answers, message)
            self._answered.update(ids)
            if key is not None:  # lost by a crash right here: the agent's server knows it too
                await self._log.keep_key(key, writer.run.id)
            return
        # One transaction with the key: a crash keeps all or nothing, and then a retry is taken.
        self._answered.update(ids)
        resolved = resolutions(writer.run, ids, how="answered", by=principal)
        try:
            await writer.emit(follow_up(message), *resolved, key=key)
        except AfterTerminalError as exc:
            raise RunEndedError(writer.run.id, writer.run.status) from exc
        await writer.flush()
        await self._driver.answer(answers, message)

    async def _read(self, message: Message) -> Sequence[Answer]:
        try:
            return read_answers(message, self._writer.run.pending)
        except AnswerError as exc:
            answered = exc.request_id is not None and await self._was_answered(exc.request_id)
            if answered:
                text = f"request {exc.request_id!r} was already answered; this answer is dropped"
                raise AnswerRefusedError("already_answered", f"{text}; {_LOOK}") from exc
            raise AnswerRefusedError(exc.code, f"{exc}; {_LOOK}") from exc

    async def _was_answered(self, request_id: str) -> bool:
        """By this process, by one before it, or at the agent's own server."""
        if request_id in self._answered:
            return True
        return await how_resolved(self._log, self._writer.run.id, request_id) == "answered"
