"""Places in a list as opaque texts, and back. Pure; knows no list."""

import base64
import binascii
from typing import Final

from gateway.core.errors import InvalidInputError

_INT64_MAX: Final = 2**63 - 1


def write_cursor(tied: str, at: int, run_id: str) -> str:
    """The cursor behind the run `run_id`, at `at` (unix microseconds), in the list `tied` says."""
    text = f"{tied}.{at}.{run_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(tied: str, cursor: str) -> tuple[int, str]:
    """(at, run_id). Raises: InvalidInputError, also for the cursor of another list."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
        of, at, run_id = text.split(".", 2)
        place = int(at)
    except (ValueError, binascii.Error) as exc:
        raise _refused("is not one of ours") from exc
    if not 0 <= place <= _INT64_MAX or not run_id.isprintable():
        raise _refused("is not one of ours")
    if of != tied:
        raise _refused("belongs to a list of another order or with other filters")
    return place, run_id


def _refused(what: str) -> InvalidInputError:
    return InvalidInputError(f"cursor {what}; leave it out for the first page", "cursor")
