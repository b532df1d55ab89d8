"""All dialects at once: what an agent's items ask for, and how an answer is said to it.

Pure. Knows the dialects by their Protocol alone.
"""

from collections.abc import Sequence
from typing import Final

from gateway.core.extension import Answer, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message
from gateway.dialects.dialect import Dialect, Said

DIALECTS: Final[list[Dialect]] = []


def asked(status: JsonObject, metadata: JsonObject) -> list[PendingRequest]:
    """What an item asks for, in the first dialect that understands it; nothing in plain A2A.

    `status` is a TaskStatus in the JSON of A2A 1.0, whatever its state; `metadata` that of the task
    or update which brought it.
    """
    return next((found for one in DIALECTS if (found := one.asked(status, metadata))), [])


def answer(request: PendingRequest, answer: Answer, message: Message) -> Said | None:
    """What says `answer` to `request`; None when the request is not a dialect's.

    Raises: core.errors.InvalidInputError when the dialect cannot say this answer.
    """
    for one in DIALECTS:
        if request.request_id.startswith(f"{one.name}:"):
            return one.answer(request, answer, message)
    return None


def requested(card_extensions: Sequence[str]) -> tuple[str, ...]:
    """The URIs of A2A-Extensions that make an agent speak its dialect, of those its card names."""
    known = {uri for one in DIALECTS for uri in one.extensions}
    return tuple(uri for uri in card_extensions if uri in known)
