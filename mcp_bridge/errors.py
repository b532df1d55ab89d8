"""What the bridge itself refuses. The task server's and the gateway's refusals pass through.

Knows no tool; `text_of` is the one form in which an error reaches a model: a line, text only.
"""

import re
from typing import Final

from gateway.core.errors import CoreError

ERROR_MAX: Final = 600  # characters; an error is read by a model, not by a debugger
# Control characters, those that turn the direction of writing, halves of surrogate pairs.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


# What an A2A client would call instead; a model has no such tool.
_A2A_NAME: Final = re.compile(r" \((?:Get|List|Send|Cancel)[A-Za-z]*\)")


class RefusedError(CoreError):
    """A call that cannot be taken as it is; the text names the argument and what to do."""

    code = "refused"


def text_of(error: CoreError) -> str:
    """One line of an error. What a caller sent stands in it, and a terminal may show it."""
    text = _A2A_NAME.sub("", " ".join(str(error).split()))
    text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    return text if len(text) <= ERROR_MAX else text[: ERROR_MAX - 3] + "..."
