"""Statements compiled once for each engine: one for many rows, and one that looks a row up.

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
        text, names = _text_of(self._statement(connection), connection)
        made = self._compiled[connection.dialect.name] = text, itemgetter(*names)
        return made


class Look:
    """A select of at most one row, its columns of types that drivers hand over as they are stored
    (texts and integers); its parameters are bound by name. A lookup costs 10 us instead of 170."""

    def __init__(self, statement: sa.Select[*tuple[Any, ...]]) -> None:
        self._statement = statement
        self._columns = [column.name for column in statement.selected_columns]
        self._compiled: dict[str, tuple[str, list[str]]] = {}

    def first(self, connection: sa.Connection, **values: Any) -> dict[str, Any] | None:
        """The row by its columns' names."""
        dialect = connection.dialect
        if (compiled := self._compiled.get(dialect.name)) is None:
            compiled = self._compiled[dialect.name] = _text_of(self._statement, connection)
        text, names = compiled
        cursor = connection.connection.cursor()
        try:
            (given,) = storable(connection, [tuple([values[name] for name in names])])
            cursor.execute(text, given)
            row = cursor.fetchone()
        except dialect.loaded_dbapi.Error as exc:
            raise _failed(connection, text, exc) from exc
        else:
            return None if row is None else dict(zip(self._columns, row, strict=True))
        finally:
            cursor.close()


def _text_of(statement: sa.Executable, connection: sa.Connection) -> tuple[str, list[str]]:
    """The statement's text, and the names of its parameters in their order."""
    compiled: Any = cast("sa.ClauseElement", statement).compile(dialect=connection.dialect)
    return str(compiled), list(getattr(compiled, "positiontup", None) or compiled.params)


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
