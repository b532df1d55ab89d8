"""What is kept of runs that have ended, and how settings say it. Pure: `keeping` sees to it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, ByteSize, Field


def _off(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in ("", "off") else value


# What settings take: ISO 8601 (P7D) or seconds, and bytes (2GB); "off" for no bound.
KeepFinished: TypeAlias = Annotated[
    Annotated[timedelta, Field(gt=timedelta())] | None, BeforeValidator(_off)
]
KeepBytes: TypeAlias = Annotated[Annotated[ByteSize, Field(gt=0)] | None, BeforeValidator(_off)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What is kept of runs that have ended; what has not ended is kept, whatever is said here.

    `finished`: how long after its end a run is kept, with its session when that has no other.
    `bytes_`: what the database may take, about; beyond it the runs that ended longest ago lose
    their events and payloads first, and their records when no ended run has events left.
    None: for ever, and without bound.
    """

    finished: timedelta | None = None
    bytes_: int | None = None

    @property
    def everything(self) -> bool:
        return self.finished is None and self.bytes_ is None
