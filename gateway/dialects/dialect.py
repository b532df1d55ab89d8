"""How one kind of agent asks its caller, where plain A2A has only words. The seam of the dialects.

Pure: JSON in, values out. Knows no run, no stream and no other dialect.
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gateway.core.extension import Answer, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An answer that is a method of its own, beside the task: JSON-RPC `method` and `params`. Its
    result says nothing of the task; that goes on where it was being followed."""

    method: str
    params: JsonObject


Said: TypeAlias = Message | Call


class Dialect(Protocol):
    """One agent's way to ask. Its requests are told by their ids, which begin with `<name>:`, so
    an answer finds its dialect again after a restart, with nothing else kept."""

    @property
    def name(self) -> str:
        """Letters, digits and `-`."""
        ...

    @property
    def extensions(self) -> tuple[str, ...]:
        """The URIs to name in the header A2A-Extensions when the card declares them."""
        ...

    def asked(self, status: JsonObject, metadata: JsonObject) -> list[PendingRequest]:
        """What an item asks for; nothing when it is not in this dialect.

        `status` is a TaskStatus in the JSON of A2A 1.0, whatever its state; `metadata` that of the
        task or update which brought it.
        """
        ...

    def answer(self, request: PendingRequest, answer: Answer, message: Message) -> Said:
        """What says `answer` to `request`; `message` is what the caller sent.

        Raises: core.errors.InvalidInputError when the dialect cannot say this answer.
        """
        ...
