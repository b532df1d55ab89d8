"""What the two engines say differently, in one place."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that can say what to do on a conflict; both engines say it alike."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def clock(connection: sa.Connection) -> Any:
    """The database's clock, unix microseconds: replicas' own clocks need not agree."""
    if connection.dialect.name == "postgresql":
        clock = "extract(epoch from clock_timestamp())"
    else:
        clock = "(julianday('now') - 2440587.5) * 86400"
    return sa.cast(sa.literal_column(f"({clock}) * 1000000"), sa.BigInteger)
