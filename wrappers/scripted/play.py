"""One turn of a script and what comes in while it is played: answers, messages, the word to stop.

Knows no verb and no server.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio

from gateway.core.events import Event, StatusChanged
from gateway.core.extension import Answer, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message
from wrappers.adapter import Context, Turn

# None: stop. Bytes are a command's output, empty at its end. An answer has its message beside it.
Signal: TypeAlias = tuple[Answer, Message | None] | Message | bytes | None


class EndedError(Exception):
    """The script ends here, with this event as the turn's last; None for no last word at all."""

    def __init__(self, last: Event | None) -> None:
        super().__init__()
        self.last = last


@dataclass(slots=True, kw_only=True)
class Play:
    """`before` are the final responses of the context's earlier turns, `allowed` the tools that
    were allowed for the session; `signed_in` lets `auth` pass. `line` is how far `script` was
    played: a turn that comes back after a restart goes on there."""

    context: Context
    turn: Turn
    script: str
    line: int = 0
    environment: Mapping[str, str]  # of its commands
    allowed: set[str]
    signed_in: bool = False
    before: Sequence[str] = ()
    said: list[str] = field(default_factory=list[str])
    structured: Any = None
    pending: dict[str, PendingRequest] = field(default_factory=dict[str, PendingRequest])
    output: list[bytes] = field(default_factory=list[bytes])
    output_ended: bool = False
    reply: Message | None = None  # the message of the answer that came last
    _signals: asyncio.Queue[Signal] = field(default_factory=asyncio.Queue[Signal])
    _stopped: bool = False
    _answers: list[tuple[PendingRequest, Answer]] = field(
        default_factory=list[tuple[PendingRequest, Answer]]
    )
    _heard: list[str] = field(default_factory=list[str])
    _made: int = 0

    def to_json(self) -> JsonObject:
        """What another process needs to go on with the turn."""
        return {
            "run_id": self.turn.run_id,
            "script": self.script,
            "line": self.line,
            "said": self.said,
            "structured": self.structured,
            "allowed": sorted(self.allowed),
            "made": self._made,
        }

    def go_on(self, state: JsonObject) -> None:
        """Take up a turn where another process left it."""
        self.script, self.line = str(state["script"]), int(state["line"])
        self.said, self.structured = list(state["said"]), state["structured"]
        self.allowed.update(state["allowed"])
        self._made = int(state["made"])
        self._answers += [(item.request, item.answer) for item in self.turn.answered]

    def signal(self, signal: Signal) -> None:
        self._stopped = self._stopped or signal is None
        self._signals.put_nowait(signal)

    def check(self) -> None:
        """Raises: EndedError when somebody said stop."""
        if self._stopped:
            raise EndedError(StatusChanged(status="cancelled", reason="cancelled_by_caller"))

    def new_id(self, kind: str) -> str:
        self._made += 1
        return f"{kind}-{self._made}"

    async def until(self, done: Callable[[], bool], seconds: float | None = None) -> None:
        """Take in what comes until `done`, or for so many seconds. Raises: EndedError."""
        with anyio.move_on_after(seconds):
            while not done():
                self._take(await self._signals.get())

    def _take(self, signal: Signal) -> None:
        match signal:
            case None:
                self.check()
            case Message():
                self._heard.append(signal.text)
            case bytes():
                self.output.append(signal)
                self.output_ended = not signal
            case (answer, message):
                if (request := self.pending.pop(answer.request_id, None)) is not None:
                    self._answers.append((request, answer))
                    self.reply = message

    def take_heard(self) -> list[str]:
        heard, self._heard = self._heard, []
        return heard

    @property
    def hears(self) -> bool:
        return bool(self._heard)

    @property
    def answered(self) -> bool:
        return bool(self._answers)

    def take_answers(self) -> list[tuple[PendingRequest, Answer]]:
        answers, self._answers = self._answers, []
        return answers
