"""A statement for many rows, compiled once for each engine.

SQLAlchemy looks at every parameter of every row (6 us a row of ours) and spends 25 us on every
execution. The text and the order of its parameters never change, so they are kept, and rows go to
the driver's cursor as tuples; what the driver raises leaves as SQLAlchemy's error all the same.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from gateway.core.store.dialect import insert
from gateway.core.store.failures import connection_lost
from gateway.core.store.texts import storable

_Compiled: TypeAlias = tuple[str, "itemgetter[Any]"]


class Many:
    """`statement` has at least two parameters, all bound by name: their values are the rows'."""

    def __init__(self, statement: Callable[[sa.Connection], sa.Insert | sa.Update]) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def execute(self, connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> int:
        """Run it for every row; returns how many rows of the table it touched, -1 where the
        driver does not say."""
        dialect = connection.dialect
        text, values = self._compiled.get(dialect.name) or self._compile(connection)
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(text, storable(connection, [values(row) for row in rows]))
        except dialect.loaded_dbapi.Error as exc:
            raise _failed(connection, text, exc) from exc
        else:
            return cursor.rowcount
        finally:
            cursor.close()

    def _compile(self, connection: sa.Connection) -> _Compiled:
        compiled = self._statement(connection).compile(dialect=connection.dialect)
        names = getattr(compiled, "positiontup", None) or list(compiled.params)
        made = str(compiled), itemgetter(*names)
        self._compiled[connection.dialect.name] = made
        return made


def _failed(connection: sa.Connection, text: str, exc: Exception) -> DBAPIError:
    """SQLAlchemy's error of what the driver raised. A broken connection leaves its pool."""
    dialect = connection.dialect
    broken = dialect.is_disconnect(cast("Any", exc), connection.connection.dbapi_connection, None)
    failed: Any = DBAPIError.instance(
        text,
        None,
        exc,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=broken,
        dialect=dialect,
    )
    if connection_lost(failed):
        connection.invalidate(exc)
    return failed


def insert_many(table: sa.Table, *, or_leave: bool = False) -> Many:
    """Inserts rows that name every column of `table`; with `or_leave` those there stay."""
    bound = {column.name: sa.bindparam(column.name, type_=column.type) for column in table.columns}

    def statement(connection: sa.Connection) -> sa.Insert:
        made = insert(connection, table).values(bound)
        return made.on_conflict_do_nothing() if or_leave else made

    return Many(statement)
