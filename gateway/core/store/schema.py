"""The tables of a log: one schema for SQLite and PostgreSQL.

Times are unix microseconds (the same in both dialects, no time zones). JSON is stored as the text
it was serialised to once, and handed on unparsed; nothing is queried inside it.
"""

from collections.abc import Collection
from typing import Any, Final

import sqlalchemy as sa

from gateway.core.status import ACTIVE, TERMINAL, RunStatus

metadata = sa.MetaData()


def _one_of(statuses: Collection[RunStatus]) -> sa.ColumnElement[bool]:
    """The condition of a partial index. An index is taken for a statement that says the same, and
    for one that says `status = '…'` of one of them; SQLite sees that of these words alone."""
    said = " or ".join(f"status = '{status}'" for status in sorted(statuses))
    return sa.literal_column(f"({said})")


def _set(column: sa.Column[Any]) -> dict[str, Any]:
    """An index of the rows alone in which `column` says something."""
    return dict.fromkeys(("sqlite_where", "postgresql_where"), column.is_not(None))


ACTIVE_STATUSES: Final = _one_of(ACTIVE)
ENDED_STATUSES: Final = _one_of(TERMINAL)

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),  # log_id
    sa.Column("value", sa.Text, nullable=False),
)

replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),  # the A2A contextId: clients may choose it
    sa.Column("principal", sa.String(64), nullable=False),
    sa.Column("agent", sa.String(128), nullable=False),
    sa.Column("backend", sa.String(32), nullable=False),
    sa.Column("cwd", sa.Text),
    sa.Column("nickname", sa.String(64)),
    sa.Column("backend_session_id", sa.Text),
    sa.Column("remote", sa.Text),
    sa.Column("metadata", sa.Text),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index(
    "ix_sessions_name",
    sessions.c.principal,
    sessions.c.cwd,
    sessions.c.nickname,
    unique=True,
    **_set(sessions.c.nickname),
)

# The last N of the names agent1..N given in a folder: a name costs one row, not a scan.
name_counters = sa.Table(
    "name_counters",
    metadata,
    sa.Column("principal", sa.String(64), primary_key=True),
    sa.Column("cwd", sa.Text, primary_key=True),
    sa.Column("last", sa.Integer, nullable=False),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("context_id", sa.String(128), sa.ForeignKey("sessions.id"), nullable=False),
    sa.Column("principal", sa.String(64), nullable=False),
    sa.Column("agent", sa.String(128), nullable=False),
    sa.Column("backend", sa.String(32), nullable=False),
    sa.Column("status", sa.String(24), nullable=False),
    sa.Column("cwd", sa.Text),
    sa.Column("role", sa.String(64)),
    sa.Column("nickname", sa.String(64)),
    sa.Column("parent_id", sa.String(64)),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("status_at", sa.BigInteger, nullable=False),  # moves less often than updated_at
    sa.Column("started_at", sa.BigInteger),
    sa.Column("completed_at", sa.BigInteger),
    sa.Column("cancel_requested_at", sa.BigInteger),
    sa.Column("running_us", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("last_seq", sa.Integer, nullable=False, server_default="0"),
    sa.Column("first_seq", sa.Integer, nullable=False, server_default="1"),  # retention moves it
    sa.Column("owner", sa.String(64)),
    sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("artifact_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("pending", sa.Text),
    sa.Column("remote", sa.Text),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
)
# A page is a walk along one of these, so its cost depends on no number of runs (listing.py chooses).
#
# What an index costs is the pages of 4 KB that a commit rewrites, some 10 us each. A short run is
# two commits, one that stores it and one that ends it, and rewrites 20 pages: by the first one each
# in sessions, runs, its key, run_inputs, and _created, _agent, _backend, _context and _active, and
# in _cwd, _role, _nickname and _parent_id when it has one; by the second in runs, events, _shown,
# _active, _status, _changed and _ended; and four more, where pages are full and split.
# So: all ascend and are walked from their end, as what comes last then goes behind what is there
# (descending ones took 33 pages, most for pages split in their middle); one with `status` or
# `status_at` holds ended runs alone, which enter it once, for the active ones are so few that
# _active finds them; and no column that moves with every event may stand in one.
_active: dict[str, Any] = {"sqlite_where": ACTIVE_STATUSES, "postgresql_where": ACTIVE_STATUSES}
_ended: dict[str, Any] = {"sqlite_where": ENDED_STATUSES, "postgresql_where": ENDED_STATUSES}
_newest = (runs.c.created_at, runs.c.id)
sa.Index("ix_runs_created", runs.c.principal, *_newest)
sa.Index("ix_runs_agent", runs.c.principal, runs.c.agent, *_newest)
sa.Index("ix_runs_backend", runs.c.principal, runs.c.backend, *_newest)
for _column in (runs.c.cwd, runs.c.role, runs.c.nickname, runs.c.parent_id):
    sa.Index(
        f"ix_runs_{_column.name}",
        runs.c.principal,
        _column,
        *_newest,
        **_set(_column),
    )
sa.Index("ix_runs_context", runs.c.context_id)  # a session has so few runs that they are sorted
sa.Index("ix_runs_active", runs.c.principal, *_newest, **_active)
sa.Index("ix_runs_status", runs.c.principal, runs.c.status, *_newest, **_ended)
sa.Index(
    "ix_runs_changed",
    runs.c.principal,
    runs.c.agent,
    runs.c.status,
    runs.c.status_at,
    runs.c.id,
    **_ended,
)
sa.Index("ix_runs_ended", runs.c.completed_at, **_set(runs.c.completed_at))

# What a run was started with. It never changes and may be large (a profile has up to 256 KB), and
# an append rewrites the whole row of its run.
run_inputs = sa.Table(
    "run_inputs",
    metadata,
    sa.Column(
        "run_id", sa.String(36), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("metadata", sa.Text),
    sqlite_with_rowid=False,
)

# `principal` and `created_at` are the run's: a page of a label's runs is a walk along the key.
run_labels = sa.Table(
    "run_labels",
    metadata,
    sa.Column("principal", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.String(256), primary_key=True),
    sa.Column("created_at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column(
        "run_id", sa.String(36), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    ),
    sqlite_with_rowid=False,
)
sa.Index("ix_run_labels_run", run_labels.c.run_id)  # without it a deletion scans the table

# Keys live as long as their run. `scope` is (principal, agent) of a first message or a task id.
request_keys = sa.Table(
    "request_keys",
    metadata,
    sa.Column("scope", sa.String(256), primary_key=True),
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column(
        "run_id",
        sa.String(36),
        sa.ForeignKey("runs.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"),
        nullable=False,
    ),
    sqlite_with_rowid=False,
)
sa.Index("ix_request_keys_run", request_keys.c.run_id)

events = sa.Table(
    "events",
    metadata,
    sa.Column(
        "run_id", sa.String(36), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("ts", sa.BigInteger, nullable=False),
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("status", sa.String(24), nullable=False),  # the run's status after this event
    sa.Column("src_seq", sa.Integer),  # its seq in the agent's own log, for copied events
    sa.Column("shown", sa.SmallInteger),  # what a task shows: 1 in its history, 2 as an artifact
    sa.Column("data", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("ix_events_shown", events.c.run_id, events.c.shown, events.c.seq, **_set(events.c.shown))
sa.Index("ix_events_src", events.c.run_id, events.c.src_seq, unique=True, **_set(events.c.src_seq))

# Payloads over the inline limits, cut at 64 KB and never inside a character. `at` is the byte
# offset of the chunk in its payload, so a range read finds its first chunk by key.
chunks = sa.Table(
    "event_chunks",
    metadata,
    sa.Column("run_id", sa.String(36), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("pointer", sa.String(512), primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.ForeignKeyConstraint(["run_id", "seq"], ["events.run_id", "events.seq"], ondelete="CASCADE"),
    sqlite_with_rowid=False,
)

# Who is told of a run's events by webhook. The log itself is the outbox: `sent_seq` is a cursor
# in it, so an append costs nothing more and a restart goes on where the last delivery ended.
push_configs = sa.Table(
    "push_configs",
    metadata,
    sa.Column(
        "run_id", sa.String(36), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("token", sa.Text),
    sa.Column("scheme", sa.String(32)),
    sa.Column("credentials", sa.Text),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("sent_seq", sa.Integer, nullable=False, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_at", sa.BigInteger),  # None: nothing is left to be sent, or it was given up
    sa.Column("last_error", sa.Text),
)
sa.Index("ix_push_due", push_configs.c.next_at, **_set(push_configs.c.next_at))

# Messages from agent to agent, by the session they are for. The mailbox numbers them: it keeps the
# last number given when the oldest go, and its row is what senders in several processes wait for.
mailboxes = sa.Table(
    "mailboxes",
    metadata,
    sa.Column(
        "session_id",
        sa.String(128),
        sa.ForeignKey("sessions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("first_seq", sa.Integer, nullable=False),
    sa.Column("last_seq", sa.Integer, nullable=False),
    sa.Column("chars", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
mail = sa.Table(
    "mail",
    metadata,
    sa.Column(
        "session_id",
        sa.String(128),
        sa.ForeignKey("mailboxes.session_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(36), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("from_session_id", sa.String(128)),
    sa.Column("from_name", sa.String(128)),
    sa.Column("request_key", sa.String(64)),  # of sender and key, hashed
    sa.Column("digest", sa.String(64)),
    sa.Column("data", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index(
    "ix_mail_request_key",
    mail.c.session_id,
    mail.c.request_key,
    unique=True,
    **_set(mail.c.request_key),
)
