"""A real Codex on a scripted model, in a home of its own, for the tests beside this file."""

import contextlib
import os
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio

from gateway.core.events import Event
from gateway.core.extension import Answer, CodingRequest, PendingRequest
from gateway.core.messages import Message, user_text
from tests.models.codex_program import codex_program
from tests.models.openai_responses import Endpoint, codex_home, running
from wrappers.adapter import AgentSession, Ask, Context, Step, Turn
from wrappers.codex.adapter import CodexAdapter
from wrappers.codex.session import CodexSession

T = TypeVar("T")
PATIENCE_S = 60.0  # other tests run on the same two cores


def turn_of(said: str | Message, /, **request: Any) -> Turn:
    message = user_text("m-1", said) if isinstance(said, str) else said
    environment = request.pop("environment", {})
    return Turn(
        run_id=request.pop("run_id", "r-1"),
        message=message,
        request=CodingRequest.model_validate(request),
        environment=environment,
    )


def only(kind: type[T], steps: list[Step]) -> list[T]:
    return [step for step in steps if isinstance(step, kind)]


def types(steps: list[Step]) -> list[str]:
    """The event types of a run, without the status events beside the work."""
    found = [step.type for step in steps if isinstance(step, Event)]
    return [name for name in found if name != "status_changed"]


class Gate:
    """A pipe in the folder of a run, through which its command and the test wait for each other."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self.path = folder / name
        os.mkfifo(self.path)

    async def open(self) -> None:
        """Let the command go on that reads the pipe."""
        await anyio.to_thread.run_sync(self.path.write_text, "go", "utf-8", abandon_on_cancel=True)

    async def reached(self) -> None:
        """Wait for the command that writes to the pipe."""
        await anyio.to_thread.run_sync(self.path.read_text, "utf-8", abandon_on_cancel=True)


class Processes:
    """Every process of this machine that has `mark` in its command line now."""

    def __init__(self, mark: str) -> None:
        self._handles: list[int] = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes():
                    self._handles.append(os.pidfd_open(int(entry.name)))

    def __len__(self) -> int:
        return len(self._handles)

    async def ended(self) -> None:
        """Wait until the last of them has ended: killed processes take some milliseconds."""
        with anyio.fail_after(2):
            for handle in self._handles:
                await anyio.wait_readable(handle)
                os.close(handle)


def new_mark() -> str:
    return str(uuid.uuid4().int)[:12]  # a number of seconds that no other test sleeps


def holding(mark: str) -> str:
    """A script whose command opens the gate and goes on; its shell stays what it is meanwhile."""
    return f"@sh sleep {mark} & echo up > gate; wait; true\n@say no"


@dataclass
class Bench:
    model: Endpoint
    work: Path
    home: Path
    env: dict[str, str]
    adapters: list[CodexAdapter] = field(default_factory=list[CodexAdapter])

    def adapter(self, **env: str) -> CodexAdapter:
        """A new adapter, as a wrapper that was started again has one."""
        self.adapters.append(
            CodexAdapter(binary=codex_program(), env=self.env | env, home=self.home)
        )
        return self.adapters[-1]

    async def open(
        self, *, session: str | None = None, profile: str | None = None, **env: str
    ) -> CodexSession:
        adapter = self.adapters[-1] if self.adapters and not env else self.adapter(**env)
        context = Context(id="c-1", cwd=self.work, vendor_session=session, profile=profile)
        return await adapter.open(context)

    def configure(self, **provider: bool | str) -> None:
        """Say something else about the model's provider in config.toml."""
        path = self.home / "codex" / "config.toml"
        lines = [f"{key} = {str(value).lower()}" for key, value in provider.items()]
        text = path.read_text("utf-8").replace('wire_api = "responses"', "\n".join(lines))
        path.write_text(text.replace("env_key", "# env_key"), "utf-8")

    def settings(self, lines: str, features: Sequence[str] = ()) -> None:
        """Say something at the top of config.toml, and switch features on."""
        path = self.home / "codex" / "config.toml"
        switched = "".join(f"{feature} = true\n" for feature in features)
        text = path.read_text("utf-8").replace("[features]\n", f"[features]\n{switched}")
        path.write_text(f"{lines}\n{text}", "utf-8")

    def said(self, index: int = -1) -> str:
        """Everything a request to the model held, as text."""
        return str(self.model.requests[index]["input"])


@asynccontextmanager
async def codex_bench(
    folder: Path, environment: Mapping[str, str], *, extra: str = ""
) -> AsyncGenerator[Bench]:
    """`extra` are further tables for the end of config.toml."""
    work = folder / "work"
    work.mkdir()
    async with running() as model:
        env = {**environment, **codex_home(folder / "codex", model.url, tables=extra)}
        bench = Bench(model=model, work=work, home=folder, env=env)
        try:
            yield bench
        finally:
            for adapter in bench.adapters:
                await adapter.close()


async def play(
    session: AgentSession,
    said: str | Message,
    /,
    answer: Callable[[PendingRequest], Answer] | None = None,
    **request: Any,
) -> list[Step]:
    """All steps of one run; `answer` makes the answer of every request."""
    steps: list[Step] = []
    with anyio.fail_after(PATIENCE_S):
        async for step in session.run(turn_of(said, **request)):
            steps.append(step)
            if isinstance(step, Ask):
                assert answer is not None, f"nobody answers {step.request}"
                await session.answer(answer(step.request))
    return steps


def app_server_of(bench: Bench) -> int:
    """The pid of the codex whose home is this test's."""
    mark = f"CODEX_HOME={bench.env['CODEX_HOME']}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            name = Path(line.split(b"\0")[0].decode()).name
            if mark in environment and name == "codex" and b"app-server" in line:
                return int(entry.name)
    raise AssertionError("no app-server of this test runs")
