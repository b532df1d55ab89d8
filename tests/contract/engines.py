"""The two engines of the store, for suites that run on both. Knows no test."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest
import sqlalchemy as sa

from gateway.core.store.log import RunLog
from gateway.core.store.open import open_log
from gateway.core.store.postgres import PostgresEngine
from gateway.core.store.sqlite import SqliteEngine

Kind: TypeAlias = Literal["sqlite", "postgres"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgres")


@dataclass(frozen=True, slots=True)
class Database:
    """A database of one kind; `place` is what `open_log` and `task_server` take."""

    kind: Kind
    place: Path | str

    def engine(self) -> SqliteEngine | PostgresEngine:
        if isinstance(self.place, Path):
            return SqliteEngine(self.place)
        return PostgresEngine(sa.make_url(self.place))

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[SqliteEngine | PostgresEngine]:
        engine = self.engine()
        try:
            yield engine
        finally:
            await engine.close()

    async def log(self) -> RunLog:
        return await open_log(self.place)


def empty_database(kind: Kind, folder: Path, request: pytest.FixtureRequest) -> Database:
    """PostgreSQL's server is started only for those who ask for it."""
    if kind == "sqlite":
        return Database(kind, folder / "deep" / "runs.db")
    return Database(kind, request.getfixturevalue("postgres_url"))


TABLE = sa.Table(
    "words",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("word", sa.Text),
)


def make_table(connection: sa.Connection) -> None:
    TABLE.create(connection)


def put(id_: int, word: str = "") -> Callable[[sa.Connection], int]:
    """An operation that stores a word."""

    def operation(connection: sa.Connection) -> int:
        connection.execute(sa.insert(TABLE).values(id=id_, word=word))
        return id_

    return operation


def words(connection: sa.Connection) -> dict[int, Any]:
    return {row.id: row.word for row in connection.execute(sa.select(TABLE).order_by(TABLE.c.id))}
