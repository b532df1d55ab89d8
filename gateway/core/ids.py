"""Ids of runs and sessions: UUIDs that rise with time (RFC 9562, version 7).

Rows of one time then lie side by side in every index: a commit of 25 new runs writes a fifth of
the pages that random ids touch. 74 bits are random, from the system.
"""

import os
import time
from typing import Final

_POOL: Final = 4090  # bytes, a multiple of 10, of randomness fetched at once: a system call an id costs 5-50 us
_random = bytearray()


def new_id() -> str:
    """A new id, in the usual 36 characters."""
    if not _random:
        _random.extend(os.urandom(_POOL))
    tail = _random[-10:]
    del _random[-10:]
    tail[0] = 0x70 | (tail[0] & 0x0F)
    tail[2] = 0x80 | (tail[2] & 0x3F)
    text = (time.time_ns() // 1_000_000).to_bytes(6).hex() + tail.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
