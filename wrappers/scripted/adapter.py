"""The scripted agent behind the adapter's interface: it needs no login, no binary and no network.

Knows no server. What it can do stands in `script`.
"""

import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from gateway.core.events import AuthRequired, Event, RunCompleted, RunFailed, RunStarted
from gateway.core.extension import Answer, CodingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message
from gateway.core.structured import artifact, fault_of_output, fault_of_schema
from wrappers.adapter import Bound, Context, Finding, Step, Turn, UnsupportedError
from wrappers.runfile import RUN_VARIABLE
from wrappers.scripted.memory import Memory
from wrappers.scripted.play import EndedError, Play
from wrappers.scripted.script import perform
from wrappers.scripted.suites import script_of

MODEL: Final = "scripted"
DONE: Final = "done"  # the final response of a turn that said nothing


class ScriptedSession:
    """One context: what was said in it is kept in a file, so another process can go on."""

    def __init__(self, context: Context, env: Mapping[str, str], folder: Path) -> None:
        self._context = context
        self._env = env
        self._folder = folder
        self._vendor_session = context.vendor_session
        self._allowed: set[str] = set()
        self._play: Play | None = None

    async def run(self, turn: Turn) -> AsyncGenerator[Step, None]:
        play = Play(
            context=self._context,
            turn=turn,
            script=script_of(turn.message),
            environment={**self._env, **turn.environment, RUN_VARIABLE: turn.known_as},
            allowed=self._allowed,
        )
        self._play = play  # before anything is awaited: a cancel may come at once
        try:
            if fresh := self._vendor_session is None:
                self._vendor_session = uuid.uuid4().hex
                yield Bound(vendor_session=self._vendor_session)
            memory = Memory(self._folder, self._vendor_session, fresh=fresh)
            yield RunStarted(extra={"session": self._vendor_session, "model": MODEL})
            async with aclosing(_played(play, memory)) as steps:
                async for step in steps:
                    yield step
        finally:
            self._play = None

    async def answer(self, answer: Answer, message: Message | None = None) -> None:
        if self._play is not None:
            self._play.signal((answer, message))

    async def steer(self, message: Message) -> bool:
        if self._play is None:
            return False
        self._play.signal(message)
        return True

    async def cancel(self) -> None:
        if self._play is not None:
            self._play.signal(None)

    async def close(self) -> None:
        """Nothing is held between turns."""


async def _played(play: Play, memory: Memory) -> AsyncGenerator[Step, None]:
    """The turn's steps, its last one too; what it waits for can be gone on with elsewhere."""
    play.before, state = await memory.recall(play.turn.run_id)
    play.signed_in = state is not None
    try:
        if play.turn.answered:
            play.go_on(_known(state))
        async with aclosing(_performed(play, memory)) as steps:
            async for step in steps:
                yield step
        last: Event | None = _completed(play)
    except EndedError as end:
        last = end.last
    match last:
        case RunCompleted(final_response=str(final), structured_output=output):
            await memory.remember(final)
            if output is not None:
                yield artifact(output)
        case AuthRequired():  # tried again, here or after a restart, it passes
            await memory.keep_turn(play.to_json())
        case _:
            pass
    if last is not None:
        yield last


async def _performed(play: Play, memory: Memory) -> AsyncGenerator[Step, None]:
    """What the script does; how far it came is kept while it waits. Raises: EndedError."""
    kept = 0
    async with aclosing(perform(play)) as steps:
        async for step in steps:
            if play.pending and kept != (kept := play.line):
                await memory.keep_turn(play.to_json())
            yield step


def _known(state: JsonObject | None) -> JsonObject:
    """Raises: EndedError when the session knows nothing of the turn."""
    if state is None:
        text = "the scripted session was lost; send a message in the same session to go on"
        raise EndedError(RunFailed(message=text, reason="interrupted"))
    return state


def _completed(play: Play) -> Event:
    final = play.said[-1] if play.said else DONE
    usage = {
        "input_tokens": len(play.turn.message.text.split()),
        "output_tokens": sum(len(text.split()) for text in play.said),
    }
    schema = play.turn.request.output_schema
    if schema is not None and (fault := fault_of_output(play.structured, schema)):
        text = f"the structured output does not fit: {fault}"
        return RunFailed(message=text, reason="schema_mismatch", usage=usage)
    return RunCompleted(final_response=final, structured_output=play.structured, usage=usage)


class ScriptedAdapter:
    """`env` is what its commands see, `home` keeps what was said in each context."""

    def __init__(self, *, env: Mapping[str, str], home: Path) -> None:
        self._env = dict(env)
        self._folder = home / "scripted"

    @property
    def name(self) -> str:
        return "scripted"

    def check(self, request: CodingRequest) -> None:
        schema = request.output_schema
        if schema is not None and (fault := fault_of_schema(schema)):
            raise UnsupportedError("output_schema", fault)

    async def inspect(self) -> Sequence[Finding]:
        return [Finding(name="program", verdict="ok", text="built in; needs no login")]

    def status(self) -> JsonObject:
        return {}

    async def open(self, context: Context) -> ScriptedSession:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return ScriptedSession(context, self._env, self._folder)

    async def close(self) -> None:
        """Every command ends with its turn."""
