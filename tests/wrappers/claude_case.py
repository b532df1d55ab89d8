"""What the tests of the real Claude Code stand on: an adapter, a scripted model, a private home."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio

from gateway.core import json
from gateway.core.events import Event
from gateway.core.extension import Answer, CodingRequest, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import user_text
from tests.models.anthropic_messages import Endpoint, claude_home, running
from tests.models.anthropic_script import texts
from tests.wrappers.launched import gone
from wrappers.adapter import AgentSession, Answered, Ask, Bound, Context, Step, Turn, Withdraw
from wrappers.claude.adapter import ClaudeAdapter
from wrappers.claude.options import session_of
from wrappers.processes import figures
from wrappers.resumption import message_of

ROOT = Path(__file__).parents[2]
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
        return await self.take(turn_of(prompt, **request), session, reply=reply, on_step=on_step)

    async def resume(
        self,
        answered: Sequence[Answered],
        *,
        reply: Reply | None = None,
        **request: Any,
    ) -> list[Step]:
        """The steps after a restart, as the driver has them done."""
        turn = turn_of("", **request)
        message = message_of(turn.run_id, answered)
        context = self.context()
        bound = replace(context, vendor_session=session_of(context))
        turn = replace(turn, message=message, answered=tuple(answered))
        return await self.take(turn, await self.adapter.open(bound), reply=reply)

    async def take(
        self,
        turn: Turn,
        session: AgentSession,
        *,
        reply: Reply | None = None,
        on_step: Callable[[Step, AgentSession], Awaitable[None]] | None = None,
    ) -> list[Step]:
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

    async def spare(self, number: int) -> None:
        """Wait until so many processes are there to spare."""
        with anyio.fail_after(RUN_MAX_S):
            while self.adapter.status()["spare"] != number:  # noqa: ASYNC110 - a process starts
                await asyncio.sleep(0.02)

    def heard(self) -> list[str]:
        """All texts of the last request that the model got."""
        messages: list[JsonObject] = self.model.requests[-1]["messages"]
        return [text for message in messages for text in texts(message)]

    def heard_as_system(self) -> list[str]:
        """What a user said to a working Claude Code arrives beside the messages."""
        return [json.encode(message) for message in self.model.requests[-1]["messages"]]


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


class Pipe:
    """A named pipe in the work folder, on which a command says which processes are there."""

    def __init__(self, folder: Path, name: str = "pids") -> None:
        folder.mkdir(exist_ok=True)
        os.mkfifo(folder / name)
        self._reader = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK)

    async def pids(self) -> list[int]:
        """The line that was said, when it was."""
        with anyio.fail_after(20):
            await anyio.wait_readable(self._reader)
        return [int(pid) for pid in os.read(self._reader, 100).split()]

    def close(self) -> None:
        os.close(self._reader)


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


@asynccontextmanager
async def watched_proxy() -> AsyncGenerator[tuple[str, list[str]]]:
    """A proxy that refuses: its URL, and the first lines of what it was asked for."""
    seen: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readline()).decode().strip())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


# -- a wrapper that is killed ------------------------------------------------------------------

SLEEPER = "@sh echo $$ $PPID > pids; exec sleep 600"  # the command, and the CLI that runs it


async def _work_until_killed(folder: Path, prompt: str, mode: str) -> None:
    """Say what is asked, a line of JSON each."""

    async def tell(step: Step, _session: AgentSession) -> None:
        if isinstance(step, Ask):
            sys.stdout.write(json.encode(step.request.to_json()) + "\n")
            sys.stdout.flush()

    async with claude_case(folder) as case:
        await case.run(prompt, on_step=tell, permission_mode=mode)


def _is_recorded(folder: Path, request_id: str) -> bool:
    return any(request_id in file.read_text("utf-8") for file in folder.rglob("*.jsonl"))


async def _recorded(folder: Path, request_id: str) -> None:
    """Wait until the CLI has written the call that it asks about; it does so every 100 ms."""
    while not _is_recorded(folder, request_id):  # noqa: ASYNC110 - another process's file
        await asyncio.sleep(0.02)


async def killed_while_asking(
    folder: Path, env: dict[str, str], prompt: str, mode: str, asks: int = 1
) -> list[PendingRequest]:
    """What was pending when the wrapper, the guardian and the CLI of `folder` were killed."""
    argv = [sys.executable, "-m", __name__, str(folder), prompt, mode]
    wrapper = await asyncio.create_subprocess_exec(
        *argv, cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE
    )
    assert wrapper.stdout is not None
    try:
        with anyio.fail_after(RUN_MAX_S):
            said = [json.decode_object(await wrapper.stdout.readline()) for _ in range(asks)]
            for item in said:
                await _recorded(folder, str(item["request_id"]))
    finally:
        below = figures.descendants(wrapper.pid)
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wrapper.kill()
        await wrapper.wait()
        await gone(*below)
    return [PendingRequest.model_validate(item) for item in said]


if __name__ == "__main__":
    anyio.run(_work_until_killed, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
