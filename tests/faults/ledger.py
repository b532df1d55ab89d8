"""What must be true of every database of ours at any moment, asked in plain SQL on both engines."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.postgres import Server

Ask = Callable[[str], str]

# Runs whose events are not 1..last_seq, each once.
GAPS: Final = """
    select count(*) from runs left join (
        select run_id, count(*) as number, min(seq) as low, max(seq) as high
        from events group by run_id
    ) as found on found.run_id = runs.id
    where coalesce(number, 0) <> last_seq or (number > 0 and (low <> 1 or high <> number))
"""
# Runs whose status is not that after their last event, or that went on after their end.
FALSE: Final = """
    select count(*) from runs join events on events.run_id = runs.id
    where (events.seq = runs.last_seq and events.status <> runs.status)
    or (events.seq < runs.last_seq and events.status in
        ('completed', 'failed', 'cancelled', 'rejected'))
"""
# Runs that no request_key asked for: every request here has one, so these are duplicates.
TWICE: Final = """
    select count(*) from runs where not exists
    (select 1 from request_keys where request_keys.run_id = runs.id and scope not like '%-%')
"""
RUNS: Final = "select count(*) from runs"


def check(ask: Ask, wanted: int) -> None:
    """`ask` answers a statement with one value; `wanted` is how many runs there are."""
    assert ask(GAPS) == "0", "runs with gaps"
    assert ask(FALSE) == "0", "runs with a false status"
    assert ask(TWICE) == "0", "runs that nobody asked for"
    assert int(ask(RUNS)) == wanted


def of_file(path: Path) -> Ask:
    """Asks a SQLite file, whether a server has it open or not."""

    def ask(statement: str) -> str:
        connection = sqlite3.connect(path)
        try:
            return str(connection.execute(statement).fetchone()[0])
        finally:
            connection.close()

    return ask


def of_server(server: Server, url: str) -> Ask:
    """Asks a database of a PostgreSQL server."""
    name = url.rpartition("/")[2]
    return lambda statement: server.sql(statement, name)
