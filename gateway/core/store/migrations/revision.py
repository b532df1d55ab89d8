"""Which revision of the schema a database has, and the one that this code is written for.

Knows no migration. A database of that revision is opened without Alembic, which costs 0.2 s to
import; a test compares HEAD with the newest of `versions`.
"""

from typing import Final

import sqlalchemy as sa

HEAD: Final = "0002"

# As Alembic makes its version table, under a name of our own: the database may be shared.
revision = sa.Table(
    "a2a_gateway_revision",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="a2a_gateway_revision_pkc"),
)
