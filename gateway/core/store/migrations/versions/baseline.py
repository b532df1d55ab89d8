"""Baseline."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "facts",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "name_counters",
        sa.Column("principal", sa.String(length=64), nullable=False),
        sa.Column("cwd", sa.Text(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("principal", "cwd"),
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("principal", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("backend", sa.String(length=32), nullable=False),
        sa.Column("cwd", sa.Text(), nullable=True),
        sa.Column("nickname", sa.String(length=64), nullable=True),
        sa.Column("backend_session_id", sa.Text(), nullable=True),
        sa.Column("remote", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.create_index(
            "ix_sessions_name",
            ["principal", "cwd", "nickname"],
            unique=True,
            sqlite_where=sa.text("nickname IS NOT NULL"),
            postgresql_where=sa.text("nickname IS NOT NULL"),
        )

    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("context_id", sa.String(length=128), nullable=False),
        sa.Column("principal", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("backend", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("cwd", sa.Text(), nullable=True),
        sa.Column("role", sa.String(length=64), nullable=True),
        sa.Column("nickname", sa.String(length=64), nullable=True),
        sa.Column("parent_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("status_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("cancel_requested_at", sa.BigInteger(), nullable=True),
        sa.Column("running_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_seq", sa.Integer(), server_default="1", nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("artifact_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pending", sa.Text(), nullable=True),
        sa.Column("remote", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["context_id"],
            ["sessions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(
            "ix_runs_active",
            ["principal", "created_at", "id"],
            unique=False,
            sqlite_where=sa.text(
                "(status = 'auth_required' or status = 'input_required' or status = 'queued' or status = 'running')"
            ),
            postgresql_where=sa.text(
                "(status = 'auth_required' or status = 'input_required' or status = 'queued' or status = 'running')"
            ),
        )
        batch_op.create_index(
            "ix_runs_agent", ["principal", "agent", "created_at", "id"], unique=False
        )
        batch_op.create_index(
            "ix_runs_backend", ["principal", "backend", "created_at", "id"], unique=False
        )
        batch_op.create_index(
            "ix_runs_changed",
            ["principal", "agent", "status", "status_at", "id"],
            unique=False,
            sqlite_where=sa.text(
                "(status = 'cancelled' or status = 'completed' or status = 'failed' or status = 'rejected')"
            ),
            postgresql_where=sa.text(
                "(status = 'cancelled' or status = 'completed' or status = 'failed' or status = 'rejected')"
            ),
        )
        batch_op.create_index("ix_runs_context", ["context_id"], unique=False)
        batch_op.create_index("ix_runs_created", ["principal", "created_at", "id"], unique=False)
        batch_op.create_index(
            "ix_runs_cwd",
            ["principal", "cwd", "created_at", "id"],
            unique=False,
            sqlite_where=sa.text("cwd IS NOT NULL"),
            postgresql_where=sa.text("cwd IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_runs_ended",
            ["completed_at"],
            unique=False,
            sqlite_where=sa.text("completed_at IS NOT NULL"),
            postgresql_where=sa.text("completed_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_runs_nickname",
            ["principal", "nickname", "created_at", "id"],
            unique=False,
            sqlite_where=sa.text("nickname IS NOT NULL"),
            postgresql_where=sa.text("nickname IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_runs_parent_id",
            ["principal", "parent_id", "created_at", "id"],
            unique=False,
            sqlite_where=sa.text("parent_id IS NOT NULL"),
            postgresql_where=sa.text("parent_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_runs_role",
            ["principal", "role", "created_at", "id"],
            unique=False,
            sqlite_where=sa.text("role IS NOT NULL"),
            postgresql_where=sa.text("role IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_runs_status",
            ["principal", "status", "created_at", "id"],
            unique=False,
            sqlite_where=sa.text(
                "(status = 'cancelled' or status = 'completed' or status = 'failed' or status = 'rejected')"
            ),
            postgresql_where=sa.text(
                "(status = 'cancelled' or status = 'completed' or status = 'failed' or status = 'rejected')"
            ),
        )

    op.create_table(
        "events",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("src_seq", sa.Integer(), nullable=True),
        sa.Column("shown", sa.SmallInteger(), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "seq"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(
            "ix_events_shown",
            ["run_id", "shown", "seq"],
            unique=False,
            sqlite_where=sa.text("shown IS NOT NULL"),
            postgresql_where=sa.text("shown IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_events_src",
            ["run_id", "src_seq"],
            unique=True,
            sqlite_where=sa.text("src_seq IS NOT NULL"),
            postgresql_where=sa.text("src_seq IS NOT NULL"),
        )

    op.create_table(
        "push_configs",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("scheme", sa.String(length=32), nullable=True),
        sa.Column("credentials", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "id"),
    )
    with op.batch_alter_table("push_configs", schema=None) as batch_op:
        batch_op.create_index(
            "ix_push_due",
            ["next_at"],
            unique=False,
            sqlite_where=sa.text("next_at IS NOT NULL"),
            postgresql_where=sa.text("next_at IS NOT NULL"),
        )

    op.create_table(
        "request_keys",
        sa.Column("scope", sa.String(length=256), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], ondelete="CASCADE", initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("scope", "key"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("request_keys", schema=None) as batch_op:
        batch_op.create_index("ix_request_keys_run", ["run_id"], unique=False)

    op.create_table(
        "run_inputs",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_labels",
        sa.Column("principal", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("principal", "key", "value", "created_at", "run_id"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("run_labels", schema=None) as batch_op:
        batch_op.create_index("ix_run_labels_run", ["run_id"], unique=False)

    op.create_table(
        "event_chunks",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pointer", sa.String(length=512), nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "seq"], ["events.run_id", "events.seq"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "seq", "pointer", "at"),
        sqlite_with_rowid=False,
    )
