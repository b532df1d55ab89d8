"""Operations on their way through a writer: what was asked, and what came of it.

Knows no database. Both engines commit many at once and deliver each its own outcome.
"""

import asyncio
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event

from gateway.core.errors import CoreError
from gateway.core.store.engine import Operation

T = TypeVar("T")

BATCH_MAX: Final = 256  # operations of one commit; beyond it latency grows and speed does not

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")  # PostgreSQL has no NUL, UTF-8 no surrogate
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


@dataclass(slots=True)
class Job:
    """One operation; `tries` counts its transactions of its own."""

    operation: Operation[Any]
    future: asyncio.Future[Any]
    outcome: Any = None
    error: BaseException | None = None
    tries: int = 0

    def reset(self) -> None:
        self.outcome = self.error = None

    def carry_out(self, connection: sa.Connection) -> None:
        """Run it. What it refuses is its outcome, and no reason to roll others back."""
        try:
            self.outcome = self.operation(connection)
        except CoreError as exc:
            self.error = exc


def deliver(batch: Sequence[Job]) -> None:
    """Tell those who wait, in the order of their submission."""
    for job in batch:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.outcome)


def is_unstorable_text(exc: BaseException) -> bool:
    """Whether a text was refused for a character that the database has no way to hold."""
    code = getattr(getattr(exc, "orig", None), "sqlstate", None)
    cause: BaseException | None = exc
    while cause is not None and not isinstance(cause, UnicodeEncodeError):
        cause = cause.__cause__
    return code == "22021" or cause is not None


def mending(operation: Operation[T]) -> Operation[T]:
    """`operation` with such characters stored (and looked for) as U+FFFD.

    Event data is JSON, where they are escaped; this is for what stands in columns of its own: a
    summary, a name. Not always on: looking at every value of every statement is not free.
    """

    def mended(connection: sa.Connection) -> T:
        with _mended_texts(connection):
            return operation(connection)

    return mended


@contextmanager
def _mended_texts(connection: sa.Connection) -> Generator[None]:
    def mend(*call: Any) -> tuple[Any, Any]:
        return call[2], _mended(call[3])

    event.listen(connection, "before_cursor_execute", mend, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", mend)


def _mended(value: Any) -> Any:
    """Of one row of parameters, or of a list of rows."""
    if isinstance(value, str):
        return _UNSTORABLE.sub(_REPLACEMENT, value)
    if isinstance(value, list | tuple):
        mended = [_mended(item) for item in cast("Sequence[Any]", value)]
        return mended if isinstance(value, list) else tuple(mended)
    return value
