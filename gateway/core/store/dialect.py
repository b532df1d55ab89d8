"""What the two engines say differently, in one place."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that can say what to do on a conflict; both engines say it alike."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
