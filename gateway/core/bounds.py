"""How large a message may be: the same for every caller, and for every server it is passed on to.

Pure; knows no wire and no caller.
"""

from typing import Final

from gateway.core import json
from gateway.core.messages import DataPart, InvalidMessageError, Message, TextPart

# Bytes of UTF-8 of one text: 5 MB are known to be sent. What a task shows of a longer text than
# `wire.PIECE` leaves in pieces, and a log reads it in ranges.
TEXT_MAX: Final = 8 * 1024 * 1024
# Characters of a message's data and metadata as JSON: their numbers are looked at one by one (a
# list of whole floats costs 36 ms a MB), and no request may hold the others up for 30 ms.
DATA_MAX: Final = 512 * 1024


def check_size(message: Message, at: str = "") -> int:
    """The characters of the message's data and metadata as JSON; `at` is its name in refusals.

    Raises: InvalidMessageError, which names the limit and what to do instead.
    """
    structured = len(json.encode(message.metadata)) if message.metadata else 0
    for number, part in enumerate(message.parts):
        if isinstance(part, DataPart):
            structured += len(json.encode(part.data))
        elif isinstance(part, TextPart) and (excess := text_excess(part.text)) is not None:
            raise InvalidMessageError(f"{at}parts[{number}].text {excess}")
    if structured > DATA_MAX:
        raise InvalidMessageError(
            f"the message's data and metadata have {structured} characters as JSON, they may "
            f"have {DATA_MAX}; send more as text or as a file"
        )
    return structured


def text_excess(text: str) -> str | None:
    """What is wrong with a text that is too long, None for one that is not."""
    size = len(text) if text.isascii() else len(json.utf8(text))
    if size <= TEXT_MAX:
        return None
    return (
        f"has {size} bytes, a text has at most {TEXT_MAX}; put it into a file in cwd and say its "
        "path"
    )
