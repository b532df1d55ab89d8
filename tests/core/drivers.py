"""A driver that plays its prompt: `verb argument; verb argument; …`.

say TEXT · reason TEXT · artifact ID TEXT · data JSON (structured answer) · big N · ask QUESTION ·
auth TEXT · finish TEXT · fail TEXT · reject TEXT · hang (until cancelled) · count N (N messages)
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from gateway.core import json
from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    AuthRequired,
    Event,
    InputRequired,
    Reasoning,
    Rejected,
    RunCompleted,
    RunFailed,
    RunStarted,
    StatusChanged,
)
from gateway.core.extension import Answer
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message
from gateway.core.record import Run


def _artifact(text: str) -> Event:
    name, _, content = text.partition(" ")
    return ArtifactAdded(artifact_id=name, name=name, parts=[{"text": content}])


_PLAIN: Mapping[str, Callable[[str], Event]] = {
    "say": lambda text: AgentMessage(text=text),
    "reason": lambda text: Reasoning(text=text),
    "big": lambda text: AgentMessage(text="0123456789" * (int(text) // 10)),
    "artifact": _artifact,
    "data": lambda text: RunCompleted(final_response=text, structured_output=json.decode(text)),
    "finish": lambda text: RunCompleted(final_response=text),
    "long": lambda text: RunCompleted(final_response="z" * int(text)),
    "fail": lambda text: RunFailed(message=text, reason="scripted"),
    "reject": lambda text: Rejected(message=text),
}


class Player:
    """Plays one run's prompt; ends it as completed where the script does not."""

    upstream = False
    deadline_grace_s = 0.0

    def __init__(self, run: Run) -> None:
        self._run = run
        self._heard: asyncio.Queue[str] = asyncio.Queue()
        self._cancelled = asyncio.Event()

    def outlasts(self, run: Run) -> bool:
        return False

    async def drive(self, writer: RunWriter) -> None:
        await writer.emit(RunStarted())
        for number, line in enumerate(self._run.message.text.split(";"), start=1):
            verb, _, text = line.strip().partition(" ")
            await self._play(writer, verb, text, number)
            if writer.run.terminal:
                return
        await writer.emit(RunCompleted(final_response="done"))

    async def _play(self, writer: RunWriter, verb: str, text: str, number: int) -> None:
        match verb:
            case "count":
                for n in range(int(text)):
                    await writer.emit(AgentMessage(text=f"message {n}"))
            case "ask":
                await self._ask(writer, text, f"q-{number}")
            case "auth":
                await writer.emit(AuthRequired(text=text))
                await self._heard.get()
                await writer.emit(StatusChanged(status="running"))
            case "hang":
                await self._cancelled.wait()
                await writer.emit(StatusChanged(status="cancelled"))
            case _:
                say = _PLAIN.get(verb)
                event = say(text) if say else AgentMessage(text=f"echo: {verb} {text}".strip())
                await writer.emit(event)

    async def _ask(self, writer: RunWriter, text: str, request_id: str) -> None:
        request = {
            "request_id": request_id,
            "kind": "question",
            "text": text,
            "questions": [{"id": "0", "question": text}],
        }
        await writer.emit(InputRequired(text=text, pending=[request]))
        heard = await self._heard.get()
        if not writer.run.terminal:
            await writer.emit(AgentMessage(text=f"heard: {heard}"))

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        given = answers[0]
        self._heard.put_nowait(given.message or str(given.answers))

    async def steer(self, message: Message) -> None:
        self._heard.put_nowait(message.text)

    async def cancel(self) -> None:
        self._cancelled.set()
        self._heard.put_nowait("")
