"""Agents of one caller among themselves: who there is, what one writes to another, what it reads.

Knows the log and who asks, nothing of what moves a run. An agent is a session; it is called by its
name in its folder. An agent of another principal does not exist.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from gateway.core import messages
from gateway.core.clock import Clock
from gateway.core.errors import InvalidInputError
from gateway.core.json import JsonObject
from gateway.core.messages import Message
from gateway.core.record import Run, Session
from gateway.core.store.agents import AgentPage, AgentQuery
from gateway.core.store.log import RunLog
from gateway.core.store.mail import LETTER_BYTES, Letter, LetterPage

# The run that an id means, ours or its caller's; None for one that is not the principal's.
Find: TypeAlias = Callable[[str, str], Awaitable[Run | None]]

_SHOWS: Final = "list_agents shows the names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is written to the agent `to`, by the agent `sender` where one is named.

    `within`: the run from within which it is written; its agent is the sender where none is named.
    `cwd`: the folder of both; the sender's where it is not given.
    """

    to: str
    message: Message
    sender: str | None = None
    within: str | None = None
    cwd: str | None = None
    metadata: JsonObject = field(default_factory=dict[str, Any])
    request_key: str | None = None


def name_of(session: Session) -> str:
    """The name by which an agent is referred to."""
    return session.nickname or session.id


class Peers:
    """What agents may do with each other."""

    def __init__(self, log: RunLog, find: Find, *, clock: Clock) -> None:
        self._log = log
        self._find = find
        self._clock = clock

    async def page(self, principal: str, query: AgentQuery) -> AgentPage:
        """A page of agents. Raises: InvalidInputError."""
        return await self._log.agents.page(principal, query)

    async def within(self, principal: str, run_id: str | None) -> Session | None:
        """The agent of the run from within which a call comes; None outside of runs."""
        run = None if run_id is None else await self._find(principal, run_id)
        return None if run is None else await self._log.session(run.context_id)

    async def named(self, principal: str, name: str, cwd: str | None = None) -> Session:
        """The agent of this name. Raises: InvalidInputError, when there is none or several."""
        found = await self._log.agents.find(principal, name, cwd)
        if len(found) == 1:
            return found[0]
        if not found:
            where = f" in cwd {cwd}" if cwd is not None else ""
            raise InvalidInputError(f"Unknown agent_name{where}: {name}; {_SHOWS}", "agent_name")
        raise InvalidInputError(
            f"agent_name is ambiguous across multiple cwd values: {name}; give cwd", "agent_name"
        )

    async def send(self, principal: str, note: Note) -> tuple[Letter, Session]:
        """The message as it is stored, and the agent it is for. What is secret in it is masked.

        Raises: InvalidInputError, RequestConflictError, StorageError.
        """
        sender = await self._sender(principal, note)
        cwd = note.cwd if note.cwd is not None else sender and sender.cwd
        if sender is not None and cwd is not None and sender.cwd != cwd:
            raise _cross(sender, cwd)
        to = await self._recipient(principal, note.to, cwd, sender)
        masked = self._log.masking.mask.data(
            {"body": messages.to_contract(note.message), "metadata": note.metadata}
        )
        letter = Letter(
            id=str(uuid.uuid4()),
            to_session_id=to.id,
            from_session_id=None if sender is None else sender.id,
            from_name=None if sender is None else name_of(sender),
            created_at=self._clock(),
            body=masked["body"],
            metadata=masked["metadata"],
            key=note.request_key,
        )
        if (size := len(letter.content().encode())) > LETTER_BYTES:
            raise InvalidInputError(
                f"the message has {size} bytes and may have {LETTER_BYTES}; put what is long into a "
                "file of the folder and write where it is",
                "message",
            )
        return await self._log.mail.send(letter), to

    async def fetch(  # what a reader may say, all by keyword
        self,
        principal: str,
        session: Session,
        *,
        after: int = 0,
        limit: int = 100,
        wait_s: float = 0.0,
    ) -> LetterPage:
        """The agent's messages behind `after`; waits up to `wait_s` for the first of them."""
        if session.principal != principal:
            raise InvalidInputError(f"Unknown agent_name: {name_of(session)}; {_SHOWS}")
        return await self._log.mail.fetch(session.id, after, limit, wait_s)

    async def _sender(self, principal: str, note: Note) -> Session | None:
        if note.sender is not None:
            return await self.named(principal, note.sender, note.cwd)
        return await self.within(principal, note.within)

    async def _recipient(
        self, principal: str, name: str, cwd: str | None, sender: Session | None
    ) -> Session:
        """Raises: InvalidInputError, which says so of an agent that is in another folder."""
        try:
            return await self.named(principal, name, cwd)
        except InvalidInputError:
            if sender is None or cwd is None:
                raise
            elsewhere = await self._log.agents.find(principal, name)
            if len(elsewhere) != 1:
                raise
            raise _cross(sender, elsewhere[0].cwd) from None


def _cross(sender: Session, cwd: str | None) -> InvalidInputError:
    return InvalidInputError(
        f"Cross-cwd agent messaging is not supported: {sender.cwd} -> {cwd}; list_agents with "
        "your cwd shows whom you can write to",
        "cwd",
    )
