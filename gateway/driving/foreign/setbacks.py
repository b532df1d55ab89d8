"""What goes wrong between a run and its foreign agent: what ends the run, what is tried again.

Knows errors and the run's parts; which stream is read next is `foreign`'s.
"""

from typing import Final

from gateway.core.events import StatusChanged
from gateway.core.life.writer import RunWriter
from gateway.driving.foreign.recording import Recording
from gateway.driving.foreign.search import Search
from gateway.driving.foreign.task_streams import TASK_NOT_FOUND, Sent, TaskStreams
from gateway.driving.foreign.translation import Translation
from gateway.driving.reach import Reach
from gateway.errors import (
    AgentLostError,
    AgentRefusedError,
    AgentUnreachableError,
    GatewayError,
    SchemaMismatchError,
    StartUnknownError,
)

MISSING_MAX: Final = 4  # times in a row that a task is not found; some servers store it late
DOUBLINGS_MAX: Final = 16  # of a delay


class Setbacks:
    """Of one run. `missing`: how often in a row its task was not found."""

    def __init__(
        self,
        writer: RunWriter,
        reach: Reach,
        streams: TaskStreams,
        translation: Translation,
        recording: Recording,
    ) -> None:
        self._writer = writer
        self._reach = reach
        self._streams = streams
        self._translation = translation
        self._recording = recording
        self.missing = 0

    async def take(self, error: GatewayError, sent: Sent | None) -> None:
        """Returns, after a while, when it can be gone on, or the run has ended. `sent`: what the
        agent had not reacted to. Raises: GatewayError, what ends the run."""
        task_id = self._translation.remote.task_id
        if isinstance(error, AgentUnreachableError):
            # Silence is no failure: whether the agent is there, its task will show.
            if task_id is None or not error.silent:
                await self._lost(error)
        elif (end := self._translation.replied) is not None:
            await self._recording.emit([end])
        elif not isinstance(error, AgentRefusedError) or task_id is None:
            raise error
        elif sent is not None:
            await self._refused(error, sent)
        else:
            self._unanswered(error, task_id)

    async def _lost(self, error: AgentUnreachableError) -> None:
        """Wait for the agent; one that waits for its caller may be away for as long as that."""
        remote = self._translation.remote
        try:
            await self._reach.lost(error)
        except GatewayError as exc:
            if remote.task_id is None:
                raise StartUnknownError(remote.agent) from exc
            if not self._translation.waiting:
                raise

    def _unanswered(self, error: AgentRefusedError, task_id: str) -> None:
        if error.rpc_code == TASK_NOT_FOUND:
            self.missing += 1
            if self.missing >= MISSING_MAX:
                what = f"no longer knows task {task_id}"
                raise AgentLostError(self._reach.agent, what) from error
        elif error.method == "SubscribeToTask":
            self._streams.subscribable = False  # it is polled from now on
        else:
            raise error

    async def _refused(self, error: AgentRefusedError, sent: Sent) -> None:
        """A follow-up that the agent does not take: what it asks for, it asks for still."""
        if sent.message_id == self._recording.repair:
            raise SchemaMismatchError(self._reach.agent, self._recording.fault) from error
        await self.say_refused(error)
        self._translation.ask_again()

    async def say_refused(self, error: AgentRefusedError) -> None:
        """Record that the agent does not take what its caller said."""
        status = self._writer.run.status
        refused = StatusChanged(status=status, reason="follow_up_refused", message=error.text)
        await self._writer.emit(refused)

    def search(self, message_id: str) -> Search:
        """For what was sent; where it cannot be found, the run ends and nothing is sent again."""
        agent, apart = self._reach.agent, message_id == self._recording.repair
        unknown = (
            SchemaMismatchError(agent, self._recording.fault) if apart else StartUnknownError(agent)
        )
        return Search(self._streams, self._translation, message_id, unknown, apart=apart)


def pause_s(idle: int, first: float, most: float) -> float:
    """Seconds before an agent is asked again that had nothing new to say `idle` times in a row."""
    return min(first * 2.0 ** min(idle - 1, DOUBLINGS_MAX), most)
