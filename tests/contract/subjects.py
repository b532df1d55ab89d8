"""The agents under the contract: the scripted one, and the real CLIs on scripted models.

Each subject says in its own script language what the contract wants done.
"""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.models import anthropic_messages, openai_responses
from tests.models.codex_program import codex_program
from wrappers.adapter import Adapter, Context
from wrappers.claude.adapter import ClaudeAdapter
from wrappers.codex.adapter import CodexAdapter
from wrappers.scripted.adapter import ScriptedAdapter

QUESTION = {
    "id": "colour",
    "header": "Colour",
    "question": "Which colour?",
    "options": [
        {"label": "blue", "description": "cold"},
        {"label": "green", "description": "warm"},
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How an agent is told what to do; `permission` asks for one in the mode `ask`."""

    say: str
    command: str
    permission: str
    question: str
    fail: str
    recall: str


@dataclass(slots=True, kw_only=True)
class Subject:
    """One wrapper's worth of an agent. `model_heard` is what its model was last sent, if it has
    one: there the second turn's knowledge of the first shows."""

    name: str
    language: Language
    cwd: Path
    make: Callable[[], Adapter]
    model_heard: Callable[[], str] | None = None
    adapters: list[Adapter] = field(default_factory=list[Adapter])

    def adapter(self) -> Adapter:
        """A new adapter, as a wrapper that was started again has one."""
        self.adapters.append(self.make())
        return self.adapters[-1]

    def context(self, context_id: str = "c-1", vendor_session: str | None = None) -> Context:
        return Context(id=context_id, cwd=self.cwd, vendor_session=vendor_session)


SCRIPTED = Language(
    say="say {}",
    command="run {}\nsay done",
    permission="permission Bash {{}}\nsay done",
    question="ask Which colour? [blue|green]",
    fail="fail as scripted",
    recall="recall",
)
CODEX = Language(
    say="@say {}",
    command="@sh {}\n@say done",
    permission="@sh touch made\n@say done",
    question=f"@input {json.dumps({'questions': [QUESTION]})}\n@results".replace("{", "{{").replace(
        "}", "}}"
    ),
    fail="@http 400",
    recall="@say what was it?",
)
CLAUDE = Language(
    say="@say {}",
    command="@sh {}\n@say done",
    permission="@sh touch made\n@say done",
    question="@question Which colour?|blue|green\n@results",
    fail="@http 400",
    recall="@say what was it?",
)


@asynccontextmanager
async def _scripted(
    folder: Path, cwd: Path, environment: Mapping[str, str]
) -> AsyncGenerator[Subject]:
    yield Subject(
        name="scripted",
        language=SCRIPTED,
        cwd=cwd,
        make=lambda: ScriptedAdapter(env=environment, home=folder),
    )


@asynccontextmanager
async def _codex(
    folder: Path, cwd: Path, environment: Mapping[str, str]
) -> AsyncGenerator[Subject]:
    binary = codex_program()
    async with openai_responses.running() as model:
        env = {**environment, **openai_responses.codex_home(folder / "codex", model.url)}
        yield Subject(
            name="codex",
            language=CODEX,
            cwd=cwd,
            make=lambda: CodexAdapter(binary=binary, env=env, home=folder),
            model_heard=lambda: json.dumps(model.requests[-1]),
        )


@asynccontextmanager
async def _claude(
    folder: Path, cwd: Path, environment: Mapping[str, str]
) -> AsyncGenerator[Subject]:
    del environment  # its own says where the model is
    async with anthropic_messages.running() as model:
        env = anthropic_messages.claude_home(folder / "home", model.url)
        yield Subject(
            name="claude_code",
            language=CLAUDE,
            cwd=cwd,
            make=lambda: ClaudeAdapter(cli=None, env=env, home=folder / "adapter", allow_root=True),
            model_heard=lambda: json.dumps(model.requests[-1]),
        )


Making = Callable[[Path, Path, Mapping[str, str]], AbstractAsyncContextManager[Subject]]
# A new agent is one line here: from a folder, the runs' folder and an environment.
SUBJECTS: Final[Mapping[str, Making]] = {
    "scripted": _scripted,
    "codex": _codex,
    "claude_code": _claude,
}


@asynccontextmanager
async def subject_named(
    name: str, folder: Path, environment: Mapping[str, str]
) -> AsyncGenerator[Subject]:
    """Skips the test when the agent's program is not installed."""
    cwd = folder / "work"
    cwd.mkdir()
    async with SUBJECTS[name](folder, cwd, environment) as subject:
        try:
            yield subject
        finally:
            for adapter in subject.adapters:
                await adapter.close()
