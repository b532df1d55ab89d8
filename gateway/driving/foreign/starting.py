"""The first message to a foreign agent, and the mark that it is on its way.

Knows the run's writer. Such an agent would do the same message twice, so that it may have been
sent is durable before it is; a mark without a task is looked into, never sent again.
"""

from dataclasses import replace

from gateway.core.events import StatusChanged
from gateway.core.json import JsonObject, as_object
from gateway.core.life.writer import RunWriter
from gateway.core.record import Remote
from gateway.core.status import STATUS_OF_STATE, WAITING
from gateway.dialects import spoken
from gateway.driving.foreign.replies import Manner
from gateway.driving.foreign.task_streams import Sent
from gateway.driving.outgoing import first_message_id, foreign_first_params
from gateway.driving.reach import Reach
from gateway.errors import AgentRefusedError


class Starting:
    """Of one run."""

    def __init__(self, writer: RunWriter, reach: Reach, manner: Manner) -> None:
        self._writer = writer
        self._reach = reach
        self._manner = manner
        self._base_url = ""

    @property
    def message_id(self) -> str:
        return first_message_id(self._writer.run)

    async def message(self) -> Sent:
        """What starts the run. Raises: GatewayError, errors.SecretLostError."""
        run = self._writer.given
        session = await self._writer.session()
        known = session.remote if session is not None else None
        known = known if known is not None and known.agent == self._reach.agent else None
        context = known.context_id if known is not None else None
        self._base_url = (await self._reach.endpoint()).base_url
        params = foreign_first_params(run, context, self._manner.modes, self._manner.history)
        if (card := self._reach.card) is not None:
            own = spoken.settings(run.request, card.name, card.extensions)
            message = params["message"]
            message["metadata"] = {**own, **message.get("metadata", {})}
            if known is not None and spoken.one_task(card.name, card.extensions):
                message |= await self._going_on(known)
        return Sent(message_id=self.message_id, params=params)

    async def _going_on(self, known: Remote) -> JsonObject:
        """The task of the session's run before, where it still takes messages."""
        if known.task_id is None:
            return {}
        try:
            task = await (await self._reach.endpoint()).call("GetTask", {"id": known.task_id})
        except AgentRefusedError:
            return {}
        state = as_object(task.get("status")).get("state")
        return {"taskId": known.task_id} if STATUS_OF_STATE.get(str(state)) in WAITING else {}

    async def mark(self) -> Remote:
        """Write down that it is about to be sent."""
        run = self._writer.run
        marked = Remote(agent=self._reach.agent, agent_url=self._base_url)
        about = {"agent_name": marked.agent, "agent_url": marked.agent_url}
        first = [StatusChanged(status=run.status, extra=about)] if run.last_seq == 0 else []
        await self._writer.emit(*first, remote=marked)
        await self._writer.flush()
        return marked

    async def unmark(self) -> None:
        """The agent was not reached, so it cannot have heard it."""
        if (marked := self._writer.run.remote) is not None:
            await self._writer.emit(remote=replace(marked, agent_url=None))


def may_be_there(remote: Remote | None) -> bool:
    """Whether a run's agent may have heard of it."""
    return remote is not None and (remote.task_id or remote.agent_url) is not None
