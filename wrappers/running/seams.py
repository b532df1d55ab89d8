"""A command's output, passed on by whole lines: what is cut between two events is masked in neither.

Pure. A line that is not finished waits for the rest of it, or for the command's end; so no secret of
one line is split, and no private key whose end is still to come.
"""

from dataclasses import replace
from typing import Final

from gateway.core.events import (
    CommandFinished,
    CommandUpdated,
    Rejected,
    RunCompleted,
    RunFailed,
    StatusChanged,
)
from gateway.core.status import RunStatus
from wrappers.adapter import Step

LINE_MAX: Final = 4096  # characters that wait; of a longer line the last ones
KEY_MAX: Final = 16 * 1024  # characters of a private key in PEM; 16384 bits are 12,700


class Seams:
    """What waits of each command of one turn."""

    def __init__(self) -> None:
        self._held: dict[str, CommandUpdated] = {}

    def take(self, step: Step) -> list[Step]:
        """What may be told now: usually `step` itself."""
        match step:
            case CommandUpdated(output=str(output)):
                return self._update(step, output)
            case CommandFinished():
                held = self._held.pop(_item(step), None)
                return [step] if held is None else [held, step]
            case RunCompleted() | RunFailed() | Rejected():
                return [*self._rest(), step]
            case StatusChanged(status=RunStatus.CANCELLED):
                return [*self._rest(), step]
            case _:
                return [step]

    def _update(self, step: CommandUpdated, output: str) -> list[Step]:
        held = self._held.pop(_item(step), None)
        if held is not None:
            output = f"{held.output}{output}"
        at = _unfinished(output)
        if at < len(output):
            self._held[_item(step)] = replace(step, output=output[at:])
        if at == 0 and output:
            return []
        whole: Step = replace(step, output=output[:at])
        return [whole]

    def _rest(self) -> list[Step]:
        held, self._held = list(self._held.values()), {}
        return list[Step](held)


def _item(step: CommandUpdated | CommandFinished) -> str:
    return step.tool_use_id or step.command or ""


def _unfinished(text: str) -> int:
    """Where the last line of `text` begins, when it has no end; or a private key without one."""
    line = max(text.rfind("\n"), text.rfind("\r")) + 1
    at = max(line, len(text) - LINE_MAX) if line < len(text) else len(text)
    begun = text.rfind("-----BEGIN ")
    key = text[begun:] if begun >= 0 else ""
    if "PRIVATE KEY-----" not in key[:64] or "-----END " in key or len(key) > KEY_MAX:
        return at
    return min(begun, at)
