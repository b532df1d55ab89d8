"""Opens the log of a database: which engine it takes, and whether its tables are those we know.

The one module that knows both engines. An empty database gets the tables as they are now; one of
an older revision is migrated; one of a newer or an unknown revision is left as it is.
"""

import importlib
import inspect
import uuid
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from gateway.core.errors import DatabaseUnusableError, StorageError
from gateway.core.secrets import Mask
from gateway.core.store.dialect import insert
from gateway.core.store.engine import Durability
from gateway.core.store.log import RunLog
from gateway.core.store.migrations.revision import HEAD, revision
from gateway.core.store.schema import facts, metadata
from gateway.core.store.sqlite import SqliteEngine

if TYPE_CHECKING:
    from alembic.config import Config

    from gateway.core.store.postgres import PostgresEngine

POSTGRES: Final = "postgresql+asyncpg"
_SPELLINGS: Final = {POSTGRES, "postgresql", "postgres"}


async def open_log(
    database: Path | str, *, durability: Durability = "normal", mask: Mask | None = None
) -> RunLog:
    """The log of `database`: a file, or a URL (sqlite:///…, postgresql+asyncpg://…).

    Raises: DatabaseUnusableError, whose text says which database and why; its subclass
    files.DatabaseLockedError when another process has the file.
    """
    url, where = _read(database)
    engine = _engine(url, durability)
    try:
        log_id = await engine.set_up(bring_up)
    except (StorageError, DatabaseUnusableError) as exc:
        await engine.close()
        raise DatabaseUnusableError(f"database {where}: {exc}") from exc
    except BaseException:
        await engine.close()
        raise
    return RunLog(engine, log_id, mask or Mask())


def password_of(database: Path | str) -> str:
    """What of a database's address is secret; empty where nothing is."""
    try:
        return "" if isinstance(database, Path) else str(sa.make_url(database).password or "")
    except (ArgumentError, ValueError):
        return ""  # `open_log` says what is wrong with it


def bring_up(connection: sa.Connection) -> str:
    """Give the database the tables this code works on; returns its log id.

    Raises: DatabaseUnusableError, and then nothing was changed.
    """
    there = set(sa.inspect(connection).get_table_names())
    if revision.name in there:
        found = connection.scalar(sa.select(revision.c.version_num))
        if found != HEAD:
            _migrate(connection, str(found))
    elif foreign := sorted(there & set(metadata.tables)):
        raise DatabaseUnusableError(
            f"it has tables of the same names that no released version made ({foreign[0]}, …); "
            "use an empty one"
        )
    else:
        metadata.create_all(connection, checkfirst=False)
        revision.create(connection)
        connection.execute(sa.insert(revision).values(version_num=HEAD))
    return _log_id(connection)


def alembic_config(connection: sa.Connection) -> "Config":
    """For Alembic's commands on our migrations; they run in the transaction of `connection`."""
    # Inline: 0.2 s that only a database of another revision costs.
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    folder = str(files("gateway.core.store.migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _migrate(connection: sa.Connection, found: str) -> None:
    from alembic import command  # noqa: PLC0415  # see alembic_config
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found not in known:
        raise DatabaseUnusableError(
            f"a newer version of a2a-gateway made it (revision {found!r}, this one knows {HEAD!r}); "
            "install that version, or use another database"
        )
    command.upgrade(config, HEAD)


def _log_id(connection: sa.Connection) -> str:
    """The name this database was born with."""
    connection.execute(
        insert(connection, facts)
        .values(key="log_id", value=str(uuid.uuid4()))
        .on_conflict_do_nothing()
    )
    return connection.execute(sa.select(facts.c.value).where(facts.c.key == "log_id")).scalar_one()


# -- which database ------------------------------------------------------------------------------


def _read(database: Path | str) -> tuple[sa.URL, str]:
    """(URL, how to name it to people: never with a password)."""
    if isinstance(database, Path) or "://" not in database:
        return sa.URL.create("sqlite", database=str(database)), str(database)
    try:
        url = sa.make_url(database)
    except (ArgumentError, ValueError) as exc:
        raise DatabaseUnusableError(
            "the database URL cannot be read; it looks like "
            "postgresql+asyncpg://user:password@host:5432/name or sqlite:////path/to/file"
        ) from exc
    if url.drivername == "sqlite" and url.database:
        return url, url.database
    if url.drivername not in _SPELLINGS:
        raise DatabaseUnusableError(
            f"databases of kind {url.drivername!r} are not supported; use sqlite or {POSTGRES}"
        )
    return url, f"{url.host or 'localhost'}:{url.port or 5432}/{url.database}"


def _engine(url: sa.URL, durability: Durability) -> "SqliteEngine | PostgresEngine":
    if url.drivername == "sqlite":
        return SqliteEngine(Path(url.database or ""), durability=durability)
    try:
        driver = importlib.import_module("asyncpg")
        importlib.import_module("greenlet")
    except ImportError as exc:
        raise DatabaseUnusableError(
            "PostgreSQL needs drivers that are not installed: pip install 'a2a-gateway[postgres]'"
        ) from exc
    # Inline: what serves a file does without them.
    from gateway.core.store.postgres import PostgresEngine  # noqa: PLC0415

    return PostgresEngine(_for_asyncpg(url, driver), durability=durability)


def _for_asyncpg(url: sa.URL, driver: Any) -> sa.URL:
    """The URL with libpq's `sslmode` under asyncpg's name."""
    query: Mapping[str, Any] = {
        "ssl" if name == "sslmode" else name: value for name, value in url.query.items()
    }
    known = set(inspect.signature(driver.connect).parameters)
    if unknown := sorted(set(query) - known):
        raise DatabaseUnusableError(
            f"the database URL has a parameter {unknown[0]!r} that asyncpg does not know"
        )
    return url.set(drivername=POSTGRES, query=query)
