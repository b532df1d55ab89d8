"""What the databases' drivers raise -> StorageError, by two tables.

Knows no connection. What stands in neither table is a fault of a statement, not of the database.
The texts are for callers: no SQL, no path, no address.
"""

import sqlite3
from typing import Final

from sqlalchemy import exc as sa_errors

from gateway.core.errors import StorageError

FULL: Final = "storage_full"
UNAVAILABLE: Final = "storage_unavailable"

_NO_SPACE: Final = "the disk of the database is full; free some space, then try again"
_READ_ONLY: Final = "the database cannot be written: it is read-only; see the server's log"
_DAMAGED: Final = "the database is damaged; stop the server and restore a copy of it"
_NO_DATABASE: Final = "the file is not a database; name another one"
_DISK: Final = "the disk of the database fails; see the server's log"
_BUSY: Final = "the database is busy with something else; try again"
_GONE: Final = "the database does not answer; try again when it is back"
_SHUT: Final = "the database refuses our connection; see the server's log"

# Primary result codes (sqlite.org/rescode.html); an extended code has its primary in the low byte.
_SQLITE: Final = {
    sqlite3.SQLITE_FULL: (FULL, _NO_SPACE),
    sqlite3.SQLITE_READONLY: (UNAVAILABLE, _READ_ONLY),
    sqlite3.SQLITE_PERM: (UNAVAILABLE, _READ_ONLY),
    sqlite3.SQLITE_CORRUPT: (UNAVAILABLE, _DAMAGED),
    sqlite3.SQLITE_NOTADB: (UNAVAILABLE, _NO_DATABASE),
    sqlite3.SQLITE_IOERR: (UNAVAILABLE, _DISK),
    sqlite3.SQLITE_CANTOPEN: (UNAVAILABLE, _DISK),
    sqlite3.SQLITE_NOMEM: (UNAVAILABLE, _BUSY),
    sqlite3.SQLITE_BUSY: (UNAVAILABLE, _BUSY),
    sqlite3.SQLITE_LOCKED: (UNAVAILABLE, _BUSY),
}
# What the shared memory of the write-ahead log says when there is no space for it.
_SQLITE_NO_SPACE: Final = {sqlite3.SQLITE_IOERR_SHMSIZE}

# SQLSTATEs, whole or by class (postgresql.org/docs/current/errcodes-appendix.html).
_POSTGRES: Final = {
    "53100": (FULL, _NO_SPACE),
    "53": (UNAVAILABLE, _BUSY),
    "55P03": (UNAVAILABLE, _BUSY),
    "57014": (UNAVAILABLE, _BUSY),
    "25006": (UNAVAILABLE, _READ_ONLY),
    "08": (UNAVAILABLE, _GONE),
    "57P": (UNAVAILABLE, _GONE),
    "28": (UNAVAILABLE, _SHUT),
    "3D": (UNAVAILABLE, _SHUT),
    "42501": (UNAVAILABLE, _SHUT),
    "58": (UNAVAILABLE, _DISK),
    "XX001": (UNAVAILABLE, _DAMAGED),
    "XX002": (UNAVAILABLE, _DAMAGED),
}

# What asyncpg raises on a connection whose server died in the middle of an exchange, before it
# notices that the connection is closed (and then SQLAlchemy does not take it for lost).
_OUT_OF_STEP: Final = "InternalClientError"


def sqlite_failure(exc: BaseException) -> StorageError | None:
    """What kept SQLite from working; None when the statement was at fault."""
    cause = exc.orig if isinstance(exc, sa_errors.DBAPIError) else exc
    code = getattr(cause, "sqlite_errorcode", None)
    if code in _SQLITE_NO_SPACE:
        return StorageError(FULL, _NO_SPACE)
    if code is None or (known := _SQLITE.get(code & 0xFF)) is None:
        return None
    return StorageError(*known)


def postgres_failure(exc: BaseException) -> StorageError | None:
    """What kept PostgreSQL from working; None when the statement was at fault."""
    if connection_lost(exc) or isinstance(exc, sa_errors.TimeoutError):
        return StorageError(UNAVAILABLE, _GONE)
    state = sqlstate(exc) or ""
    for prefix in (state, state[:3], state[:2]):
        if (known := _POSTGRES.get(prefix)) is not None:
            return StorageError(*known)
    return None


def connection_lost(exc: BaseException) -> bool:
    """Whether it broke, timed out or never came about, instead of an answer."""
    if isinstance(exc, sa_errors.DBAPIError):
        return exc.connection_invalidated or type(exc.orig).__name__ == _OUT_OF_STEP
    return isinstance(exc, OSError)  # asyncio's time-outs as well


def sqlstate(exc: BaseException) -> str | None:
    """PostgreSQL's code of an error, as SQLAlchemy or asyncpg raise it."""
    cause = exc.orig if isinstance(exc, sa_errors.DBAPIError) else exc
    return getattr(cause, "sqlstate", None)
