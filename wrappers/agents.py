"""The agents that can be wrapped: how each is called, described and made.

The one module that names the adapters; each is imported only when it is chosen, because the others
would cost seconds of start-up time and need not be installed.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.core.extension import CodingRequest, Sandbox
from gateway.core.face.cards import Skill
from gateway.core.messages import Message
from wrappers.adapter import Adapter
from wrappers.environment import child_environment
from wrappers.scripted.suites import DIRECT, behaviour_of
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
    """`sandbox` is what its runs have when they ask for none; with `asks_beyond_sandbox` what a
    caller allows in the mode `ask` may run outside of it.

    `per_turn`: the environment is given anew with each turn; Codex applies the policy itself.
    `unbounded`: its runs cost no processes, so their number needs no default bound. `direct` picks
    the messages that it answers with a message, where others give a task."""

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


def _codex(making: Making) -> Adapter:
    from wrappers.codex.adapter import CodexAdapter, find_codex  # noqa: PLC0415 - start-up time

    binary = find_codex(making.settings.codex_bin, making.source.get("PATH"))
    if binary is None or not os.access(binary, os.X_OK):
        raise AgentMissingError(
            "no codex program found; install it (pip install 'a2a-gateway[codex]'), put it on "
            "PATH, or name it with --codex-bin"
        )
    return CodexAdapter(binary=binary, env=making.environment(), home=making.folder)


def _claude_code(making: Making) -> Adapter:
    given = making.settings.claude_bin
    if given is not None and not (given.is_file() and os.access(given, os.X_OK)):
        raise AgentMissingError(f"{given} is no program; name the claude program with --claude-bin")
    from wrappers.claude.adapter import ClaudeAdapter  # noqa: PLC0415 - start-up time
    from wrappers.claude.spare import affordable  # noqa: PLC0415 - as above

    spare = making.settings.spare
    return ClaudeAdapter(
        cli=making.settings.claude_bin,
        env=making.environment(),
        home=making.folder,
        allow_root=making.settings.allow_root,
        spare=affordable() if spare is None else spare,
    )


def _scripted(making: Making) -> Adapter:
    from wrappers.scripted.adapter import ScriptedAdapter  # noqa: PLC0415 - start-up time

    return ScriptedAdapter(env=making.environment(), home=making.folder)


AGENTS: Final[Mapping[str, Agent]] = {
    "codex": Agent(
        title="Codex",
        skill=Skill(
            id="codex-code",
            name="Coding with Codex",
            description="Reads, writes and runs code in a folder, with OpenAI Codex.",
            tags=("code", "codex"),
        ),
        make=_codex,
        sandbox="workspace-write",
        asks_beyond_sandbox=True,
        per_turn=False,
    ),
    "claude_code": Agent(
        title="Claude Code",
        skill=Skill(
            id="claude-code",
            name="Coding with Claude Code",
            description="Reads, writes and runs code in a folder, with Claude Code.",
            tags=("code", "claude"),
        ),
        make=_claude_code,
    ),
    "scripted": Agent(
        title="Scripted agent",
        skill=Skill(
            id="scripted",
            name="Do what the prompt's script says",
            description="An agent without a model, for demonstrations and tests.",
            tags=("test",),
            examples=("say hello", "ask Which colour? [blue|green]"),
        ),
        make=_scripted,
        unbounded=True,
        direct=lambda message: behaviour_of(message) == DIRECT,
    ),
}
ALIASES: Final[Mapping[str, str]] = {
    **{name: name for name in AGENTS},
    "1": "codex",
    "2": "claude_code",
    "claude": "claude_code",
    "claudecode": "claude_code",
}


def agent_named(text: str) -> str | None:
    """The agent that somebody means by `text`."""
    return ALIASES.get(text.strip().lower())
