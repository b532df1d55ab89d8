"""What a foreign agent asks for in plain A2A -> requests that are answered by their ids. Pure.

The dialects of agents that have more than words are `gateway.dialects`.
"""

import hashlib
from collections.abc import Sequence

from pydantic import ValidationError

from gateway.core.extension import PendingRequest
from gateway.core.json import as_object, objects
from gateway.core.messages import DataPart, Part


def listed(parts: Sequence[Part]) -> list[PendingRequest]:
    """The requests that a message lists in our form."""
    for part in parts:
        items = as_object(part.data).get("pending") if isinstance(part, DataPart) else None
        try:
            found = [PendingRequest.model_validate(item) for item in objects(items)]
        except ValidationError:
            continue
        if found:
            return found
    return []


def in_words(text: str, seed: str) -> PendingRequest:
    """A question of which only the words are known; equal seeds give it the same id."""
    name = hashlib.sha256(seed.encode()).hexdigest()[:16]
    return PendingRequest(request_id=f"q-{name}", kind="question", text=text)
