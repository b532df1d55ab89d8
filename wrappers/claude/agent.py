"""Claude Code, as start-a2a-agent offers it. Imports its adapter only when it is made."""

import os
from typing import Final

from gateway.core.face.cards import Skill
from wrappers.adapter import Adapter
from wrappers.agent import Agent, AgentMissingError, Making


def _make(making: Making) -> Adapter:
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


CLAUDE_CODE: Final = Agent(
    name="claude_code",
    title="Claude Code",
    skill=Skill(
        id="claude-code",
        name="Coding with Claude Code",
        description="Reads, writes and runs code in a folder, with Claude Code.",
        tags=("code", "claude"),
    ),
    make=_make,
)
