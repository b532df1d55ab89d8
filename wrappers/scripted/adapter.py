"""The scripted agent behind the adapter's interface: it needs no login, no binary and no network.

Knows no server. What it can do stands in `script`.
"""

import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

import anyio
import jsonschema

from gateway.core import json
from gateway.core.events import Event, RunCompleted, RunFailed, RunStarted
from gateway.core.extension import Answer, CodingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message
from wrappers.adapter import Bound, Context, Finding, Step, Turn, UnsupportedError
from wrappers.scripted.play import EndedError, Play
from wrappers.scripted.script import perform

MODEL: Final = "scripted"


class ScriptedSession:
    """One context: what was said in it is kept in a file, so another process can go on."""

    def __init__(self, context: Context, env: Mapping[str, str], folder: Path) -> None:
        self._context = context
        self._env = env
        self._folder = folder
        self._vendor_session = context.vendor_session
        self._allowed: set[str] = set()
        self._play: Play | None = None
        self._last_run: str | None = None  # played again, it is the retry of auth_required

    async def run(self, turn: Turn) -> AsyncGenerator[Step, None]:
        signed_in = self._last_run == turn.run_id
        play = Play(
            context=self._context,
            turn=turn,
            environment={**self._env, **turn.environment},
            allowed=self._allowed,
            signed_in=signed_in,
        )
        self._play = play  # before anything is awaited: a cancel may come at once
        last: Event | None = None
        try:
            if self._vendor_session is None:
                self._vendor_session = uuid.uuid4().hex
                yield Bound(vendor_session=self._vendor_session)
            play.before = await self._recall()
            yield RunStarted(extra={"session": self._vendor_session, "model": MODEL})
            async with aclosing(perform(play)) as steps:
                async for step in steps:
                    yield step
            last = _completed(play)
        except EndedError as end:
            last = end.last
        finally:
            self._play = None
        if isinstance(last, RunCompleted):
            await self._remember(last.final_response or "")
        self._last_run = turn.run_id
        if last is not None:
            yield last

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

    def _file(self) -> anyio.Path:
        return anyio.Path(self._folder / f"{self._vendor_session}.jsonl")

    async def _recall(self) -> list[str]:
        if not await self._file().exists():
            return []
        text = await self._file().read_text(encoding="utf-8")
        return [str(json.decode(line)) for line in text.splitlines()]

    async def _remember(self, response: str) -> None:
        async with await self._file().open("a", encoding="utf-8") as file:
            await file.write(json.encode(response) + "\n")


def _completed(play: Play) -> Event:
    final = play.said[-1] if play.said else "done"
    usage = {
        "input_tokens": len(play.turn.message.text.split()),
        "output_tokens": sum(len(text.split()) for text in play.said),
    }
    schema = play.turn.request.output_schema
    if schema is not None:
        try:
            jsonschema.validate(play.structured, schema)
        except jsonschema.ValidationError as exc:
            text = f"the structured output does not fit the schema: {exc.message}"
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
        if request.output_schema is not None:
            try:
                jsonschema.Draft202012Validator.check_schema(request.output_schema)
            except jsonschema.SchemaError as exc:
                raise UnsupportedError("output_schema", exc.message) from exc

    async def inspect(self) -> Sequence[Finding]:
        return [Finding(name="program", verdict="ok", text="built in; needs no login")]

    def status(self) -> JsonObject:
        return {}

    async def open(self, context: Context) -> ScriptedSession:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return ScriptedSession(context, self._env, self._folder)

    async def close(self) -> None:
        """Every command ends with its turn."""
