"""The seam between the task server and whatever does the work.

A driver moves one run on. In a wrapper it drives an adapter's session; in the gateway a remote
A2A agent. The server's supervisor owns it: one instance a run; answers and steers
come one at a time, a cancel may overtake one that hangs.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from gateway.core.extension import Answer
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Run


class Driver(Protocol):
    """Moves one run on by appending events to its writer."""

    @property
    def upstream(self) -> bool:
        """True when another server keeps this run's answers and cancels and its events report
        them (the gateway's driver of our own wrappers); then the supervisor records neither."""
        ...

    def outlasts(self, run: Run) -> bool:
        """Whether `run`, as it stands, goes on with the next start of the server. If not, a stop
        ends it with a reason."""
        ...

    @property
    def deadline_grace_s(self) -> float:
        """Seconds of running by which this server's deadline comes later than the run's: more
        than 0 where the agent's own server keeps it, and ours only stands behind it."""
        ...

    async def drive(self, writer: RunWriter) -> None:
        """Work until a terminal event is appended. An exception ends the run as failed.

        Called again with a run that was active when the process ended (`writer.run.last_seq > 0`
        or `writer.run.remote` set): re-attach, or end it truthfully. What is pending then is
        whole, and may be answered as soon as this is called, before anything is awaited.
        """
        ...

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        """Hand answers of pending requests on; they fit `run.pending` and, unless `upstream`,
        are appended already. Raises: errors.CoreError when the agent refuses them."""
        ...

    async def steer(self, message: Message) -> None:
        """A message for a run that is running, or the retry of one in auth_required.

        Raises: errors.NotSteerableError.
        """
        ...

    async def cancel(self) -> None:
        """Ask the agent to stop; returns when it was asked. The end comes as an event."""
        ...


@runtime_checkable
class Distant(Protocol):
    """A driver whose agent's own server may let a run wait for its turn."""

    async def place(self) -> int | None:
        """The run's place there, 1 is next; None when it does not wait, or nothing can be heard."""
        ...


DriverFactory: TypeAlias = Callable[[Run], Driver]
