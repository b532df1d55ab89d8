"""Run by Alembic: which connection, which tables. Knows no settings; `open` and tests run it."""

from alembic import context

from gateway.core.store.migrations.revision import revision
from gateway.core.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=revision.name,
    # SQLite alters little in place: a table is made anew and its rows are moved.
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
