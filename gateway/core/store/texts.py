"""Texts that a database has no way to hold: PostgreSQL no NUL, UTF-8 no half of a surrogate pair.

Knows connections, not tables. Event data is JSON, where a NUL is escaped; this is for what stands
in columns of its own: a summary, a name. Only an operation that was refused for such a character
is run again with its texts mended: looking at every value of every statement is not free.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event

from gateway.core.store.engine import Operation

T = TypeVar("T")

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_REFUSED: Final = "22021"  # character_not_in_repertoire
_OPTION: Final = "mended_texts"


def is_unstorable_text(exc: BaseException) -> bool:
    """Whether a statement was refused for a character that the database cannot hold."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, UnicodeEncodeError) or getattr(cause, "sqlstate", None) == _REFUSED:
            return True
        cause = cause.__cause__ or getattr(cause, "orig", None)
    return False


def mending(operation: Operation[T]) -> Operation[T]:
    """`operation` with such characters stored (and looked for) as U+FFFD."""

    def mended(connection: sa.Connection) -> T:
        connection.execution_options(**{_OPTION: True})
        event.listen(connection, "before_cursor_execute", _mend, retval=True)
        try:
            return operation(connection)
        finally:
            event.remove(connection, "before_cursor_execute", _mend)
            connection.execution_options(**{_OPTION: False})

    return mended


def storable(connection: sa.Connection, rows: list[Any]) -> list[Any]:
    """The parameters of many rows, for who hands them to the driver without SQLAlchemy."""
    return _mended(rows) if connection.get_execution_options().get(_OPTION) else rows


def _mend(*call: Any) -> tuple[Any, Any]:
    return call[2], _mended(call[3])


def _mended(value: Any) -> Any:
    """Of one row of parameters, or of a list of rows."""
    if isinstance(value, str):
        return _UNSTORABLE.sub(_REPLACEMENT, value)
    if isinstance(value, list | tuple):
        mended = [_mended(item) for item in cast("Sequence[Any]", value)]
        return mended if isinstance(value, list) else tuple(mended)
    return value
