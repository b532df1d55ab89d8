"""How a database is opened: new, known, old, newer, somebody else's, or none at all."""

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.core.errors import DatabaseUnusableError
from gateway.core.events import RunStarted
from gateway.core.store import migrations
from gateway.core.store import open as open_module
from gateway.core.store.files import DatabaseLockedError
from gateway.core.store.log import RunLog
from gateway.core.store.migrations.revision import HEAD, revision
from gateway.core.store.open import alembic_config, bring_up, open_log
from gateway.core.store.schema import metadata
from tests.contract.engines import KINDS, Database, Kind, empty_database
from tests.contract.runs import DONE, RUN, SESSION, a_writer
from tests.postgres import Server


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    kind: Kind = request.param
    return empty_database(kind, tmp_path, request)


def upgrade(connection: sa.Connection) -> None:
    command.upgrade(alembic_config(connection), "head")


def differences(connection: sa.Connection) -> list[Any]:
    """Between the tables of the database and those of the code, as Alembic sees them."""
    context = MigrationContext.configure(
        connection, opts={"version_table": revision.name, "compare_type": True}
    )
    return compare_metadata(context, metadata)


def definitions(connection: sa.Connection) -> set[tuple[Any, ...]]:
    """Every table and index, in the words of the database."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(sa.text("select name, sql from sqlite_master"))
        return {(name, frozenset((sql or "").replace(",", " ").split())) for name, sql in found}
    columns = connection.execute(
        sa.text(
            "select table_name, column_name, data_type, character_maximum_length, is_nullable,"
            " column_default from information_schema.columns where table_schema = 'public'"
        )
    )
    rest = connection.execute(
        sa.text(
            "select indexname, indexdef from pg_indexes where schemaname = 'public' union all "
            "select conname, pg_get_constraintdef(oid) from pg_constraint where contype = 'f'"
        )
    )
    return {tuple(row) for row in columns} | {tuple(row) for row in rest}


async def test_the_revisions_lead_to_the_tables_of_the_code(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """If not: python -m tests.contract.revision."""
    for kind in KINDS:
        made: list[set[tuple[Any, ...]]] = []
        for way in (upgrade, bring_up):
            database = empty_database(kind, tmp_path / way.__name__, request)
            async with database.opened() as engine:
                await engine.set_up(way)
                assert await engine.read(differences) == []
                made.append(await engine.read(definitions))
            if isinstance(database.place, str):
                server: Server = request.getfixturevalue("postgres_server")
                server.sql(
                    "drop schema public cascade; create schema public",
                    database.place.rpartition("/")[2],
                )
        assert made[0] == made[1], kind


def test_head_is_the_newest_revision() -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    assert scripts.get_heads() == [HEAD]


async def test_a_database_keeps_its_name_and_its_rows(database: Database) -> None:
    log = await database.log()
    log_id = log.log_id
    await log.close()
    async with database.opened() as engine:
        await engine.write(
            lambda c: c.execute(sa.text("insert into replicas values ('r', 1)")).close()
        )
    log = await database.log()
    assert log.log_id == log_id
    await log.close()
    async with database.opened() as engine:
        assert await engine.read(lambda c: c.scalar(sa.text("select id from replicas"))) == "r"


async def test_two_servers_that_start_at_once_make_one_database(postgres_url: str) -> None:
    logs: list[RunLog | None] = [None] * 4

    async def open_one(n: int) -> None:
        logs[n] = await open_log(postgres_url)

    async with anyio.create_task_group() as group:
        for n in range(len(logs)):
            group.start_soon(open_one, n)
    assert len({log.log_id for log in logs if log is not None}) == 1
    for log in logs:
        assert log is not None
        await log.close()


async def test_a_known_database_is_opened_without_alembic(database: Database) -> None:
    log = await database.log()
    await log.close()
    program = (
        "import asyncio, sys, pathlib\n"
        "from gateway.core.store.open import open_log\n"
        "async def main(place):\n"
        "    log = await open_log(place if '://' in place else pathlib.Path(place))\n"
        "    await log.close()\n"
        "asyncio.run(main(sys.argv[1]))\n"
        "print([name for name in ('alembic', 'asyncpg', 'greenlet') if name in sys.modules])"
    )
    process = await anyio.run_process([sys.executable, "-c", program, str(database.place)])
    loaded = "[]" if database.kind == "sqlite" else "['asyncpg', 'greenlet']"
    assert process.stdout.decode().strip() == loaded


async def test_a_newer_database_is_left_alone(database: Database) -> None:
    log = await database.log()
    await log.close()
    async with database.opened() as engine:
        await engine.write(lambda c: c.execute(sa.update(revision).values(version_num="9")).close())
    with pytest.raises(DatabaseUnusableError, match="install that version"):
        await database.log()
    async with database.opened() as engine:
        assert await engine.read(lambda c: c.scalar(sa.select(revision.c.version_num))) == "9"


async def test_tables_of_somebody_else_are_left_alone(database: Database) -> None:
    async with database.opened() as engine:
        await engine.write(lambda c: c.execute(sa.text("create table runs (id int)")).close())
    with pytest.raises(DatabaseUnusableError, match=r"tables of the same names.*runs"):
        await database.log()


# -- no database ---------------------------------------------------------------------------------


async def test_a_file_that_is_no_database_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100, encoding="utf-8")
    with pytest.raises(DatabaseUnusableError, match=r"notes\.txt: the file is not a database"):
        await open_log(path)
    assert path.read_text("utf-8").startswith("not a database")
    with pytest.raises(DatabaseUnusableError, match="not a database"):  # its lock was let go
        await open_log(path)


async def test_a_folder_nobody_may_write_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnusableError, match="cannot be made or opened"):
        await open_log(tmp_path / "file" / "runs.db")


async def test_a_database_file_serves_one_process_at_a_time(tmp_path: Path) -> None:
    log = await open_log(tmp_path / "runs.db")
    with pytest.raises(DatabaseLockedError, match="another home"):
        await open_log(f"sqlite:///{tmp_path}/runs.db")
    await log.close()
    await (await open_log(tmp_path / "runs.db")).close()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o377])
async def test_only_the_owner_sees_the_files_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        log = await open_log(tmp_path / "deep" / "er" / "runs.db")
        assert await log.claim_active("me") == []  # now SQLite has its files beside it
    finally:
        os.umask(before)
    folder = tmp_path / "deep"
    assert {stat.S_IMODE(f.stat().st_mode) for f in (folder, folder / "er")} == {0o700}
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (folder / "er").iterdir()}
    assert files == dict.fromkeys(["runs.db", "runs.db-wal", "runs.db-shm", "runs.lock"], 0o600)
    await log.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:sesame@h/d", "'mysql' are not supported; use sqlite or postgresql"),
        ("postgresql://u:sesame@[::1/d", "cannot be read"),
        ("postgresql://u:sesame@127.0.0.1:1/d", r"127\.0\.0\.1:1/d: the database does not answer"),
        ("postgresql://u:sesame@127.0.0.1:1/d?nonsense=1", "parameter 'nonsense'"),
        ("postgresql://u:sesame@127.0.0.1:1/d?sslmode=prefer", "does not answer"),
    ],
)
async def test_a_url_that_leads_nowhere_is_explained_without_its_password(
    url: str, says: str
) -> None:
    with pytest.raises(DatabaseUnusableError, match=says) as refusal:
        await open_log(url)
    assert "sesame" not in str(refusal.value)


async def test_a_database_that_is_not_there_is_explained(postgres_url: str) -> None:
    with pytest.raises(DatabaseUnusableError, match="no_such: the database refuses our connection"):
        await open_log(postgres_url.rpartition("/")[0] + "/no_such")


@pytest.mark.parametrize("name", ["asyncpg", "greenlet"])
async def test_missing_drivers_are_told_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DatabaseUnusableError, match=r"pip install 'a2a-gateway\[postgres\]'"):
        await open_log("postgresql://127.0.0.1:1/d")


# -- migrations ----------------------------------------------------------------------------------

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "%s"
branch_labels = depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("runs", recreate="auto") as batch:
        batch.add_column(sa.Column("colour", sa.Text))
        batch.alter_column("summary", existing_type=sa.Text(), nullable=True)
"""


async def test_an_older_database_is_migrated_with_all_its_rows(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On SQLite the change makes `runs` anew. With foreign keys on, dropping the old table deleted
    # its rows first, and every event with them.
    log = await database.log()
    await log.create(RUN, SESSION, None)
    writer = a_writer(log, RUN)
    await writer.emit(RunStarted(), DONE)
    await writer.flush()
    await log.close()
    folder = tmp_path / "migrations"
    shutil.copytree(migrations.__path__[0], folder)
    (folder / "versions" / "next.py").write_text(NEXT % HEAD, encoding="utf-8")

    def ours(_package: str) -> Path:
        return folder

    monkeypatch.setattr(open_module, "files", ours)
    monkeypatch.setattr(open_module, "HEAD", "next")
    newer = await database.log()
    assert newer.log_id == log.log_id
    assert await newer.get("r") == writer.run
    assert len(await newer.read("r", 0, 9)) == 2
    await newer.close()
    async with database.opened() as engine:
        columns = await engine.read(lambda c: sa.inspect(c).get_columns("runs"))
        assert "colour" in {column["name"] for column in columns}
        assert await engine.read(lambda c: c.scalar(sa.select(revision.c.version_num))) == "next"
