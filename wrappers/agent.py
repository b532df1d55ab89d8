"""What a vendor's folder says of its agent: how it is called, described and made.

Knows no vendor. A folder's `agent.py` is imported at every start, so `make` imports its adapter: the
others would cost seconds of start-up time and need not be installed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.core.extension import CodingRequest, Sandbox
from gateway.core.face.cards import Skill
from gateway.core.messages import Message
from wrappers.adapter import Adapter
from wrappers.processes.environment import child_environment
from wrappers.settings import WrapperSettings


class AgentMissingError(Exception):
    """The agent's program is not there; the text says how to get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What an adapter is made of: `source` is the environment of this process, `mark` what every
    child has in its own, `folder` where the adapter may keep files."""

    settings: WrapperSettings
    source: Mapping[str, str]
    mark: Mapping[str, str]
    folder: Path

    def environment(self, request: CodingRequest | None = None) -> dict[str, str]:
        policy = (request.env_policy if request else None) or "core"
        passed = {name: self.source[name] for name in self.settings.pass_env if name in self.source}
        return child_environment(self.source, policy, passed | dict(self.mark))


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """`name` is the word that starts it; `sandbox` is what its runs have when they ask for none,
    and with `asks_beyond_sandbox` what a caller allows in the mode `ask` may run outside of it.

    `per_turn`: the environment is given anew with each turn; Codex applies the policy itself.
    `unbounded`: its runs cost no processes, so their number needs no default bound. `direct` picks
    the messages that it answers with a message, where others give a task."""

    name: str
    title: str
    skill: Skill
    make: Callable[[Making], Adapter]
    sandbox: Sandbox = "danger-full-access"
    asks_beyond_sandbox: bool = False
    per_turn: bool = True
    unbounded: bool = False
    direct: Callable[[Message], bool] | None = None

    def turn_environment(self, making: Making, request: CodingRequest) -> dict[str, str]:
        return making.environment(request) if self.per_turn else {}
