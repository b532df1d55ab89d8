"""What the wrappers of one process have in common, and whom they tell. Values alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.secrets import Mask
from wrappers.adapter import Finding
from wrappers.serving.ending import Ending
from wrappers.serving.idle import Idle
from wrappers.serving.ready import Ready
from wrappers.settings import WrapperSettings

FAILURE: Final = "failure"  # the reason of an end that nobody asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """What is told to whoever started the wrappers: that one answers, and how well its agent can
    work here."""

    ready: Callable[[Ready], None]
    found: Callable[[str, Sequence[Finding]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the wrappers of one process share; `agents` is how many they are, `source` the
    environment of this process."""

    settings: WrapperSettings
    source: Mapping[str, str]
    mask: Mask
    ending: Ending
    idle: Idle
    says: Says
    agents: int = 1
