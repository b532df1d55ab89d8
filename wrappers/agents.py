"""The agents that can be wrapped, and the words that mean them. The one module that names them."""

from collections.abc import Mapping
from typing import Final

from wrappers.agent import Agent
from wrappers.claude.agent import CLAUDE_CODE
from wrappers.codex.agent import CODEX
from wrappers.scripted.agent import SCRIPTED

AGENTS: Final[Mapping[str, Agent]] = {
    agent.name: agent
    for agent in (
        CODEX,
        CLAUDE_CODE,
        SCRIPTED,
    )
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
