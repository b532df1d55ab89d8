"""What start-a2a-agent says while it serves: lines for a person, or one of JSON and the log.

Knows no server; how words reach a stream is its caller's.
"""

import sys
from collections.abc import Callable, Sequence
from typing import TextIO, TypeAlias

from wrappers.adapter import Finding
from wrappers.serving.idle import IDLE
from wrappers.serving.preflight import lines, to_log
from wrappers.serving.ready import Ready
from wrappers.serving.shared import Says

Say: TypeAlias = Callable[[str, TextIO | None], None]


def says(say: Say, *, as_json: bool) -> Says:
    def ready(one: Ready) -> None:
        say(one.line() if as_json else one.text(), None)

    def found(agent: str, findings: Sequence[Finding]) -> None:
        """stdout is for who started us; what the agent is like is said beside it."""
        if as_json:
            to_log(agent, findings)
        else:
            say("\n".join([f"\n{agent} on this machine:", *lines(findings), ""]), sys.stderr)

    return Says(ready=ready, found=found)


def on_stop(say: Say, names: Sequence[str], *, as_json: bool) -> Callable[[str], None]:
    what = f"{', '.join(names)} A2A wrapper{'s' if len(names) > 1 else ''}"

    def told(reason: str) -> None:
        if as_json:
            return
        if reason == IDLE:
            say(f"\nNobody asked for a while, shutting down {what}...", None)
        else:
            say(f"\nReceived {reason}, shutting down {what}...", None)

    return told
