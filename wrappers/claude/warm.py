"""One context's process of Claude Code: found warm, taken from the spare, started, or let go.

Knows no turn: a way to start in, a connected `Client` out.
"""

import asyncio
import functools
from typing import Final, Protocol

import anyio
import anyio.to_thread

from wrappers.adapter import Context
from wrappers.claude.client import AgentDownError, Client
from wrappers.claude.ledger import Ledger
from wrappers.claude.options import Installation, Start, session_of
from wrappers.claude.transport import END_S

# A refusal that names the session: what the disk says of it was wrong.
MISTAKEN: Final = ("No conversation found", "already in use")
RECORDED_S: Final = 0.5
LOOK_S: Final = 0.02
LOST: Final = "Claude Code no longer has this conversation"


class Pool(Protocol):
    """What the contexts of a wrapper share: a bound on processes, and perhaps one to spare."""

    async def admit(self) -> None:
        """Make room before a process is started."""
        ...

    def spare(self, start: Start) -> Client | None:
        """A connected process with a session of its own, started just so; it is the caller's."""
        ...

    def began(self, start: Start) -> None:
        """A conversation in a process that was started so has begun."""
        ...


class Warm:
    """At most one process, for the one session of a context."""

    def __init__(self, context: Context, installation: Installation, pool: Pool) -> None:
        self.session = session_of(context)
        self.client: Client | None = None
        self.ledger: Final = Ledger(installation.home / "totals")
        self._context = context
        self._installation = installation
        self._pool = pool
        self._new = False  # its conversation begins with the next turn

    def fits(self, start: Start) -> bool:
        client = self.client
        return client is not None and client.lost is None and client.start == start

    def take_spare(self, start: Start) -> None:
        """A conversation that has not begun may be held in a process that waits already."""
        begun = self._context.vendor_session is not None or self.ledger.knows(self.session)
        if self.client is not None or begun or self._installation.has_session(self.session):
            return
        spare = self._pool.spare(start)
        if spare is not None:
            self.client, self.session, self._new = spare, spare.session, True

    async def connect(self, start: Start, *, resumed: bool) -> bool:
        """Start a process that resumes the session where there is one. True when it is lost.

        What the disk says can be wrong (a transcript without a turn), so a refusal that names the
        session is followed by one try the other way. `resumed`: nothing but the old session will
        do. Raises: AgentDownError.
        """
        await self.drop()
        await self._pool.admit()
        resume = self._installation.has_session(self.session)
        for again in (False, True):
            if resumed and not resume:
                raise AgentDownError("interrupted", f"{LOST}; the answers cannot reach it")
            client = self.client = Client(self.session, self._installation, start)
            try:
                await client.connect(resume=resume)
                break
            except AgentDownError as exc:
                self.client = None
                if again or not any(sign in str(exc) for sign in MISTAKEN):
                    raise
                resume = not resume
        self._new = not resume
        lost = not resume and self.ledger.knows(self.session)
        if lost:
            self.ledger.forget(self.session)
        return lost

    async def recorded(self, message_id: str) -> None:
        """Wait until what was said is in the session's file, for half a second at most.

        A model takes longer than that to ask something; a request that is pending longer than its
        process lives would belong to no turn.
        """
        with anyio.move_on_after(RECORDED_S):
            look = functools.partial(self._installation.has_said, self.session, message_id)
            while not await anyio.to_thread.run_sync(look):  # noqa: ASYNC110 - another's file
                await asyncio.sleep(LOOK_S)

    def began(self) -> None:
        """The turn is with the model, which takes longer than to start a process to spare."""
        # After a new conversation alone: turns of old ones, each in its folder, would replace the
        # spare process in turn.
        if self.client is not None and self._new:
            self._new = False
            self._pool.began(self.client.start)

    async def drop(self, *, busy: bool = False, end_s: float = END_S) -> None:
        """End the process; the next one resumes the session."""
        client, self.client = self.client, None
        if client is not None:
            await client.close(busy=busy, end_s=end_s)
