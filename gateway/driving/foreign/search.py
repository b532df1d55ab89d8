"""Looks for a message whose answer was lost at a foreign agent: it is never sent again.

Knows how an agent can be asked; what is found is for the run to translate. A2A has no key that
makes a repetition harmless: a message sent twice is work done twice.
"""

from typing import Final

import anyio

from gateway.core.json import JsonObject
from gateway.driving.foreign.task_streams import Source, TaskStreams, heard, unmoved
from gateway.driving.foreign.translation import Translation
from gateway.errors import AgentRefusedError, GatewayError

# Between looks, seconds: a server that is still reading the message lists it a moment later.
LOOKS_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0)


class Search:
    """For one message of one run."""

    def __init__(
        self,
        streams: TaskStreams,
        translation: Translation,
        message_id: str,
        unknown: GatewayError,
        *,
        apart: bool = False,
    ) -> None:
        """`apart`: the message made a task of its own; `unknown`: that there is none to be found."""
        self._streams = streams
        self._translation = translation
        self._message_id = message_id
        self._unknown = unknown
        self._apart = apart

    async def source(self) -> Source:
        """The task that took the message up. One that waits for an answer still, and shows none,
        has not heard it: its question stands. Raises: `unknown`, GatewayError."""
        remote = self._translation.remote
        task: JsonObject | None = None
        for delay_s in LOOKS_S:
            await anyio.sleep(delay_s)
            if remote.task_id is not None and not self._apart:
                task = await self._asked(remote.task_id)
                if task and (heard(task, self._message_id) or not unmoved(task)):
                    break
            found = await self._streams.find(self._message_id, remote.context_id)
            if found is not None:
                self._translation.found()
                yield [{"task": found}]
                return
        else:
            if task is None:
                raise self._unknown
            self._translation.ask_again()
        yield [{"task": task}]

    async def _asked(self, task_id: str) -> JsonObject | None:
        try:
            return await self._streams.ask(task_id)
        except AgentRefusedError:
            return None
