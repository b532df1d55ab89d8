"""How one kind of agent asks its caller, where plain A2A has only words. The seam of the dialects.

Pure: JSON in, values out. Knows no run, no stream and no other dialect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gateway.core.extension import Answer, CodingRequest, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An answer that is a method of its own, beside the task: JSON-RPC `method` and `params`. Its
    result says nothing of the task; that goes on where it was being followed."""

    method: str
    params: JsonObject


Said: TypeAlias = Message | Call


class Ear(Protocol):
    """What one run's agent says, in plain words."""

    def plain(self, result: JsonObject) -> list[JsonObject]:
        """An item (stream result or task, in the JSON of A2A 1.0) as the items that say the same in
        plain A2A: questions as the data part `{"pending": [...]}` of an INPUT_REQUIRED message.
        Items of no dialect come back as they are."""
        ...


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

    @property
    def one_task(self) -> bool:
        """Whether the agent's memory is its task: a session's next run goes on in the one before."""
        ...

    def ear(self, pending: Sequence[PendingRequest]) -> Ear:
        """For one run; `pending` is what another process heard it ask, and nobody answered."""
        ...

    def answer(self, request: PendingRequest, answer: Answer, message: Message) -> Said:
        """What says `answer` to `request`; `message` is what the caller sent.

        Raises: core.errors.InvalidInputError when the dialect cannot say this answer.
        """
        ...

    def spoken_by(self, card_name: str, card_extensions: Sequence[str]) -> bool:
        """Whether an agent with this card is known to speak it before it has said a word."""
        ...

    def settings(self, request: CodingRequest) -> JsonObject:
        """The metadata of a run's first message that carries what `request` asks of the agent."""
        ...
