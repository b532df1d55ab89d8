"""What the bridge itself refuses. The task server's and the gateway's refusals pass through.

Knows no tool; `text_of` is the one form in which an error reaches a model: a line, text only.
"""

from typing import Final

from gateway.core.errors import CoreError

ERROR_MAX: Final = 600  # characters; an error is read by a model, not by a debugger


class RefusedError(CoreError):
    """A call that cannot be taken as it is; the text names the argument and what to do."""

    code = "refused"


def text_of(error: CoreError) -> str:
    """One line of an error."""
    text = " ".join(str(error).split())
    return text if len(text) <= ERROR_MAX else text[: ERROR_MAX - 3] + "..."
