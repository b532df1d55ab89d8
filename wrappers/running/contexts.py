"""What a wrapper remembers of each context: its folder, its profile, its vendor session. Durable.

Knows no agent and no run's course; its table is this wrapper's own, beside the run log.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.core.errors import SessionConflictError
from gateway.core.record import Run
from wrappers.adapter import Context
from wrappers.running.workspace import checked_cwd

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS contexts (
        principal TEXT NOT NULL,
        id TEXT NOT NULL,
        cwd TEXT NOT NULL,
        profile TEXT,
        vendor_session TEXT,
        PRIMARY KEY (principal, id)
    ) WITHOUT ROWID
"""


class Contexts:
    """The contexts of one wrapper, in the SQLite file `path`. Folders must lie under `roots`."""

    def __init__(self, path: Path, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)
        self._turn = asyncio.Lock()  # one connection, one statement at a time
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(_TABLE)

    async def bind(self, run: Run) -> Context:
        """The context of a run: a new one gets the run's folder and profile for good.

        A run that names neither takes what its context has. Raises: InvalidInputError (the folder
        cannot be worked in), SessionConflictError (the context has another folder or profile).
        """
        async with self._turn:
            return await asyncio.to_thread(self._bind, run)

    async def keep_session(self, run: Run, vendor_session: str) -> None:
        """Store the vendor's id of the run's context."""
        async with self._turn:
            await asyncio.to_thread(
                self._database.execute,
                "UPDATE contexts SET vendor_session = ? WHERE principal = ? AND id = ?",
                (vendor_session, run.principal, run.context_id),
            )

    def close(self) -> None:
        self._database.close()

    def _bind(self, run: Run) -> Context:
        known = self._find(run)
        request = run.request
        cwd = checked_cwd(request.cwd or (str(known.cwd) if known else None), self._roots)
        profile = request.profile.text if request.profile else None
        if known is None:
            self._database.execute(
                "INSERT INTO contexts (principal, id, cwd, profile) VALUES (?, ?, ?, ?)",
                (run.principal, run.context_id, str(cwd), profile),
            )
            return Context(id=run.context_id, cwd=cwd, profile=profile)
        if cwd != known.cwd:
            raise SessionConflictError(
                f"context {known.id} is already bound to cwd {known.cwd}, received {cwd}; "
                "start a new session for another folder"
            )
        if profile is not None and profile != known.profile:
            raise SessionConflictError(
                f"context {known.id} already has {'another' if known.profile else 'no'} profile; "
                "start a new session for this one"
            )
        return known

    def _find(self, run: Run) -> Context | None:
        row = self._database.execute(
            "SELECT cwd, profile, vendor_session FROM contexts WHERE principal = ? AND id = ?",
            (run.principal, run.context_id),
        ).fetchone()
        if row is None:
            return None
        cwd, profile, vendor_session = row
        return Context(
            id=run.context_id, cwd=Path(cwd), profile=profile, vendor_session=vendor_session
        )
