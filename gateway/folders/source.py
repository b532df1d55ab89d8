"""What a run folder is made of, read from the log by a thread that is not the log's.

Knows the log and its loop. Each read waits until the loop has answered it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import CancelledError
from typing import Any, Final, TypeVar

from gateway.core.errors import CoreError, ReplayError
from gateway.core.record import Run, Session
from gateway.core.redact import Payload
from gateway.core.store.entry import Recorded
from gateway.core.store.log import RunLog

T = TypeVar("T")

PATIENCE_S: Final = 30.0  # for one answer; the log answers in milliseconds


class SourceError(Exception):
    """The log did not answer; what is written so far stays, and the rest is read later."""


class Source:
    """Blocking reads. Every method raises SourceError."""

    def __init__(self, log: RunLog) -> None:
        self._log = log

    def run(self, run_id: str) -> Run | None:
        return self._answer(self._log.get(run_id))

    def sessions(self, ids: Iterable[str]) -> dict[str, Session]:
        """By their id, those that there are."""
        return {session.id: session for session in self._answer(self._log.sessions(ids))}

    def events(self, run_id: str, after: int, limit: int) -> list[Recorded]:
        """Events with `seq > after`; from the first one on that is still kept."""
        try:
            return self._answer(self._log.read(run_id, after, limit))
        except ReplayError:
            run = self.run(run_id)
            if run is None or run.first_seq > run.last_seq:
                return []
            return self._answer(self._log.read(run_id, run.first_seq - 1, limit))

    def payloads(self, run_id: str, seq: int) -> list[Payload]:
        return self._answer(self._log.payloads(run_id, seq))

    def active(self) -> list[Run]:
        return self.asked(self._log.active)

    def asked(self, question: Callable[[], T]) -> T:
        """What `question` answers on the loop."""

        async def answer() -> T:
            return question()

        return self._answer(answer())

    def ended(self, since: int, after: str, limit: int) -> list[Run]:
        """Runs that ended from `since` on (unix microseconds), in the order of their end; those
        at `since` itself only when their id comes behind `after`."""
        return self._answer(self._log.ended(since, after, limit))

    def _answer(self, asked: Coroutine[Any, Any, T]) -> T:
        try:
            answer = asyncio.run_coroutine_threadsafe(asked, self._log.loop)
        except RuntimeError as exc:  # the loop is closed
            asked.close()
            raise SourceError(str(exc)) from exc
        try:
            return answer.result(PATIENCE_S)
        except ReplayError:
            raise
        except (CoreError, TimeoutError, CancelledError) as exc:
            answer.cancel()
            raise SourceError(str(exc)) from exc
