"""What the log asks of a database: transactions for synchronous functions of a connection.

Knows no table. Both engines run the same functions: SQLite in a thread, PostgreSQL under asyncpg.
"""

import asyncio
from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias, TypeVar

import sqlalchemy as sa

T = TypeVar("T")
Operation: TypeAlias = Callable[[sa.Connection], T]
Durability: TypeAlias = Literal["normal", "full"]  # each engine says what it makes of them


class Engine(Protocol):
    """One database. Operations that raise a CoreError must not have changed anything before."""

    @property
    def shared(self) -> bool:
        """Whether other processes may serve this database at the same time."""
        ...

    async def set_up(self, operation: Operation[T]) -> T:
        """Run `operation`, which makes or alters tables, alone and before anything else."""
        ...

    def submit(
        self, operation: Operation[T], *, weight: Callable[[], int] | None = None
    ) -> asyncio.Future[T]:
        """Run `operation` in the next write transaction; done when it is durable.

        In the order of submission. `weight` is asked just before: how many rows of about
        50 us it will write. Raises: errors.StorageError when the database cannot be
        reached or is full; then nothing was changed, or (a connection lost in a commit) all was.
        """
        ...

    async def write(self, operation: Operation[T]) -> T:
        """`submit`, and wait for it."""
        ...

    async def read(self, operation: Operation[T], *, brief: bool = False) -> T:
        """Run `operation` on a snapshot; `brief`: it looks up a row by its key.

        Raises: errors.StorageError.
        """
        ...

    def announce(self, run_ids: set[str]) -> None:
        """Tell other processes on this database that these runs have new events: a hint, which
        may be lost. It goes out with what was submitted before. Where a database serves one
        process it does nothing."""
        ...

    def on_hint(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with the id of each run that another process announced."""
        ...

    async def close(self) -> None:
        """Finish what was submitted, then let the database go."""
        ...
