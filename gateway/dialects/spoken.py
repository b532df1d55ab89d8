"""All dialects at once: what agents say in plain words, and how answers are said to them.

Pure. Knows the dialects by their Protocol alone.
"""

from collections.abc import Sequence
from typing import Final

from gateway.core.extension import Answer, CodingRequest, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message
from gateway.dialects.a2acode import A2acode
from gateway.dialects.codex_a2a import CodexA2a
from gateway.dialects.dialect import Dialect, Said
from gateway.dialects.gemini import Gemini

DIALECTS: Final[tuple[Dialect, ...]] = (A2acode(), CodexA2a(), Gemini())


def _is_of(request: PendingRequest, dialect: Dialect) -> bool:
    return request.request_id.startswith(f"{dialect.name}:")


class Ears:
    """What one run's agent says, in plain words, whichever dialect it speaks."""

    def __init__(self, pending: Sequence[PendingRequest] = ()) -> None:
        """`pending` is what another process heard it ask, and nobody answered."""
        # Time limits are the gateway's own: the same request is asked without them.
        heard = [one.model_copy(update={"expires_at": None, "default": None}) for one in pending]
        self._ears = [
            one.ear([request for request in heard if _is_of(request, one)]) for one in DIALECTS
        ]

    def plain(self, result: JsonObject) -> list[JsonObject]:
        """An item as the items that say the same in plain A2A; often itself."""
        results = [result]
        if "statusUpdate" not in result and "task" not in result:
            return results  # every dialect speaks by the status of its task
        for ear in self._ears:
            results = [plain for one in results for plain in ear.plain(one)]
        return results


def answer(request: PendingRequest, answer: Answer, message: Message) -> Said | None:
    """What says `answer` to `request`; None when the request is not a dialect's.

    Raises: core.errors.InvalidInputError when the dialect cannot say this answer.
    """
    for one in DIALECTS:
        if _is_of(request, one):
            return one.answer(request, answer, message)
    return None


def requested(card_extensions: Sequence[str]) -> tuple[str, ...]:
    """The URIs of A2A-Extensions that make an agent speak its dialect, of those its card names."""
    known = {uri for one in DIALECTS for uri in one.extensions}
    return tuple(uri for uri in card_extensions if uri in known)


def settings(request: CodingRequest, card_name: str, card_extensions: Sequence[str]) -> JsonObject:
    """Metadata of a run's first message: what `request` asks, as an agent with this card reads it."""
    speaking = _spoken_by(card_name, card_extensions)
    return {key: value for one in speaking for key, value in one.settings(request).items()}


def one_task(card_name: str, card_extensions: Sequence[str]) -> bool:
    """Whether an agent with this card remembers a session only within one task."""
    return any(one.one_task for one in _spoken_by(card_name, card_extensions))


def _spoken_by(card_name: str, card_extensions: Sequence[str]) -> list[Dialect]:
    return [one for one in DIALECTS if one.spoken_by(card_name, card_extensions)]
