"""Codex, as start-a2a-agent offers it. Imports its adapter only when it is made."""

import os
from typing import Final

from gateway.core.face.cards import Skill
from wrappers.adapter import Adapter
from wrappers.agent import Agent, AgentMissingError, Making


def _make(making: Making) -> Adapter:
    from wrappers.codex.adapter import CodexAdapter, find_codex  # noqa: PLC0415 - start-up time

    binary = find_codex(making.settings.codex_bin, making.source.get("PATH"))
    if binary is None or not os.access(binary, os.X_OK):
        raise AgentMissingError(
            "no codex program found; install it (pip install 'a2a-gateway[codex]'), put it on "
            "PATH, or name it with --codex-bin"
        )
    return CodexAdapter(binary=binary, env=making.environment(), home=making.folder)


CODEX: Final = Agent(
    name="codex",
    title="Codex",
    skill=Skill(
        id="codex-code",
        name="Coding with Codex",
        description="Reads, writes and runs code in a folder, with OpenAI Codex.",
        tags=("code", "codex"),
    ),
    make=_make,
    sandbox="workspace-write",
    asks_beyond_sandbox=True,
    per_turn=False,
)
