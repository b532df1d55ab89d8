"""What goes into the log and what comes out of it: events with their seq, payloads, keys."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from gateway.core.redact import Payload
from gateway.core.status import RunStatus


# Named tuples, these two: one of each an event, and frozen dataclasses take three times as long.
class Recorded(NamedTuple):
    """A durable event. `ts` is unix microseconds, `status` the run's after it, `data` JSON text."""

    seq: int
    ts: int
    type: str
    status: RunStatus
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """An idempotency key: `digest` is of the canonical content it was first used with."""

    scope: str
    key: str
    digest: str


class Entry(NamedTuple):
    """An event on its way into the log, with the payloads that leave its data and the key of the
    follow-up that caused it: what was done and that it was done are one transaction."""

    recorded: Recorded
    src_seq: int | None = None
    payloads: tuple[Payload, ...] = ()
    key: RequestKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadSlice:
    """Bytes `offset .. offset+len(content)` of a split field, cut on character borders."""

    seq: int
    pointer: str
    mime: str
    encoding: Literal["utf-8"]
    total_bytes: int
    offset: int
    content: bytes
    relpath: str
