"""What the tests of the real Claude Code stand on: an adapter, a scripted model, a private home."""

import sys
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio

from gateway.core.events import Event
from gateway.core.extension import Answer, CodingRequest, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import user_text
from tests.models.anthropic_messages import Endpoint, claude_home, running
from tests.models.anthropic_script import texts
from wrappers.adapter import AgentSession, Ask, Bound, Context, Step, Turn, Withdraw
from wrappers.claude.adapter import ClaudeAdapter

RUN_MAX_S = 30.0  # a run of the real CLI takes 0.5 to 1 s on a quiet machine
E = TypeVar("E")

Reply = Callable[[PendingRequest], Answer]


@dataclass
class Case:
    """One wrapper's worth of Claude Code: a model, a home, a work folder."""

    model: Endpoint
    folder: Path
    env: dict[str, str]
    adapter: ClaudeAdapter
    _made: list[ClaudeAdapter] = field(default_factory=list[ClaudeAdapter])

    @property
    def cwd(self) -> Path:
        return self.folder / "work"

    def context(self, context_id: str = "c-1", profile: str | None = None) -> Context:
        return Context(id=context_id, cwd=self.cwd, profile=profile)

    def start_anew(self, **changes: Any) -> None:
        """Another adapter from now on, as a wrapper that was started anew has."""
        made: dict[str, Any] = {"cli": None, "home": self.folder / "adapter", "allow_root": True}
        self._made.append(self.adapter)
        self.adapter = ClaudeAdapter(env=self.env, **(made | changes))

    async def close(self) -> None:
        for adapter in (*self._made, self.adapter):
            await adapter.close()

    async def session(self, context_id: str = "c-1", profile: str | None = None) -> AgentSession:
        return await self.adapter.open(self.context(context_id, profile))

    async def run(
        self,
        prompt: str,
        *,
        session: AgentSession | None = None,
        reply: Reply | None = None,
        on_step: Callable[[Step, AgentSession], Awaitable[None]] | None = None,
        **request: Any,
    ) -> list[Step]:
        """The steps of one run; `reply` answers what is asked."""
        session = session or await self.session()
        turn = turn_of(prompt, **request)
        steps: list[Step] = []
        with anyio.fail_after(RUN_MAX_S):
            async with aclosing(cast("AsyncGenerator[Step]", session.run(turn))) as items:
                async for step in items:
                    steps.append(step)
                    if reply is not None and isinstance(step, Ask):
                        await session.answer(reply(step.request))
                    if on_step is not None:
                        await on_step(step, session)
        return steps

    def heard(self) -> list[str]:
        """All texts of the last request that the model got."""
        messages: list[JsonObject] = self.model.requests[-1]["messages"]
        return [text for message in messages for text in texts(message)]


def turn_of(prompt: str, **request: Any) -> Turn:
    return Turn(
        run_id=uuid.uuid4().hex,
        message=user_text(uuid.uuid4().hex, prompt),
        request=CodingRequest.model_validate(request),
    )


@asynccontextmanager
async def claude_case(folder: Path) -> AsyncGenerator[Case]:
    (folder / "work").mkdir(exist_ok=True)
    async with running() as model:
        env = claude_home(folder / "home", model.url)
        adapter = ClaudeAdapter(cli=None, env=env, home=folder / "adapter", allow_root=True)
        case = Case(model=model, folder=folder, env=env, adapter=adapter)
        try:
            yield case
        finally:
            await case.close()


def lines(*script: str) -> str:
    return "\n".join(script)


def of(steps: Sequence[Step], kind: type[E]) -> list[E]:
    return [step for step in steps if isinstance(step, kind)]


def only(steps: Sequence[Step], kind: type[E]) -> E:
    found = of(steps, kind)
    assert len(found) == 1, f"{len(found)} {kind.__name__} in {steps}"
    return found[0]


def end(steps: Sequence[Step], kind: type[E]) -> E:
    """The last step, which must be of this kind."""
    assert isinstance(steps[-1], kind), steps[-1]
    return steps[-1]


def events(steps: Sequence[Step]) -> list[Event]:
    return [step for step in steps if not isinstance(step, Ask | Withdraw | Bound)]


async def _work_until_killed(folder: Path) -> None:
    async with claude_case(folder) as case:
        await case.run("@sh echo $$ $PPID > pids; exec sleep 600")


if __name__ == "__main__":
    anyio.run(_work_until_killed, Path(sys.argv[1]))
