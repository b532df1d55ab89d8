"""What a foreign agent's items become in the run's log.

Knows the run's writer and the translation; nothing of streams. Whether an answer fits what was
asked for is found out here: its agent was only told so in words.
"""

from collections.abc import Sequence
from typing import Final

from gateway.core.events import Event, RunCompleted
from gateway.core.json import JsonObject
from gateway.core.life.writer import RunWriter
from gateway.core.record import Remote
from gateway.driving.foreign.artifacts import TooManyArtifactsError
from gateway.driving.foreign.course import lawful
from gateway.driving.foreign.outputs import Misfit, checked
from gateway.driving.foreign.replies import Replies
from gateway.driving.foreign.translation import Translation
from gateway.driving.whereabouts import WrongTaskError
from gateway.errors import AgentFloodError, AgentProtocolError, SchemaMismatchError

EVENTS_MAX: Final = 250_000  # of one run; a day of work is some 20,000


class MisfitError(Exception):
    """The answer does not fit, and the agent can be asked for a better one."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


class Recording:
    """Of one run. `repair`: the message id under which the agent was asked for a better answer."""

    def __init__(
        self,
        writer: RunWriter,
        translation: Translation,
        replies: Replies,
        *,
        repair: str | None = None,
    ) -> None:
        self._writer = writer
        self._translation = translation
        self._replies = replies
        self.repair = repair
        self.fault = "the better answer that it was asked for never came"

    async def take(self, result: JsonObject) -> bool:
        """Record what an item says; returns whether it says something new.

        Raises: AgentProtocolError, AgentFloodError, SchemaMismatchError, MisfitError.
        """
        translation, before = self._translation, self._translation.remote
        try:
            events = translation.read(result)
        except WrongTaskError as exc:
            raise AgentProtocolError(before.agent, before.agent_url or "", str(exc)) from exc
        except TooManyArtifactsError as exc:
            raise AgentFloodError(before.agent, str(exc)) from exc
        moved = translation.remote is not before
        await self.emit(events, translation.remote if moved else None)
        return bool(events)

    async def emit(self, events: Sequence[Event], remote: Remote | None = None) -> None:
        """Append `events`, where the record can take them. Raises: AgentFloodError, …"""
        if self._writer.run.last_seq + len(events) > EVENTS_MAX:
            what = f"its run has {EVENTS_MAX:,} events"
            raise AgentFloodError(self._translation.remote.agent, what)
        if remote is not None:
            await self._writer.emit(remote=remote)
        for event in events:
            good = self._fitting(event) if isinstance(event, RunCompleted) else event
            for one in lawful(self._writer.run, good):
                await self._writer.emit(self._replies.noted(one))

    def _fitting(self, end: RunCompleted) -> RunCompleted:
        """The end with the output that was asked for. Raises: MisfitError, SchemaMismatchError."""
        run, remote = self._writer.run, self._translation.remote
        if (schema := run.request.output_schema) is None:
            return end
        found = checked(end, schema, self._translation.texts)
        if not isinstance(found, Misfit):
            return found
        self.fault = found.fault
        once_more = remote.context_id is not None and self.repair is None
        if not once_more or run.cancel_requested_at is not None:
            raise SchemaMismatchError(remote.agent, found.fault)
        raise MisfitError(found.fault)
