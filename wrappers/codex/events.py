"""Messages of `codex app-server` about one run -> steps (run events, asks), by one table.

Pure: the time is an argument. `item/completed` is the truth about an item; deltas only fill the
wait for it. A turn's end is not the end of its items: `end` closes those still open.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from gateway.core.events import (
    ArtifactAdded,
    CommandUpdated,
    Event,
    RunFailed,
    RunStarted,
    StatusChanged,
)
from gateway.core.extension import ABORT, Answer
from gateway.core.json import JsonObject, as_object, merge_null
from gateway.core.status import RunStatus
from wrappers.adapter import Ask, Bound, Step, Withdraw
from wrappers.codex import items, notices, outcome
from wrappers.codex.deltas import Deltas
from wrappers.codex.requests import Asked, ask
from wrappers.codex.wire import Incoming

OUTPUT_DELTA: Final = "item/commandExecution/outputDelta"
Handle: TypeAlias = "Callable[[TurnFold, Incoming, str | None, float], list[Step]]"


class TurnFold:
    """One run's state at Codex: its turn, open items, open requests, tokens and last answer."""

    def __init__(self, thread: str) -> None:
        self.thread = thread
        self.turn: str | None = None
        self.ended: JsonObject | None = None  # the turn as `turn/completed` says it
        self.asks: dict[str, Asked] = {}  # request id -> what is open
        self.sub_turns: dict[str, str] = {}  # sub-agent's thread -> its running turn
        self.plan: str | None = None  # proposed in plan mode
        self.usage = outcome.Usage()
        self._open: dict[str, tuple[JsonObject, str | None]] = {}
        self._output: Deltas[str] = Deltas()  # a command's, by its item id
        self._final: str | None = None
        self._last: str | None = None
        self._diff = ""
        self._started = False
        self._aborted = False

    @property
    def due(self) -> float | None:
        """When `flush` has something to say."""
        return self._output.due

    @property
    def commands_open(self) -> bool:
        return any(item.get("type") == "commandExecution" for item, _ in self._open.values())

    @property
    def waiting(self) -> str:
        """The run's status as far as Codex is concerned."""
        return RunStatus.INPUT_REQUIRED if self.asks else RunStatus.RUNNING

    def begin(self, turn: str) -> None:
        """A turn was started; what is said of others from now on is not this run's."""
        self.turn, self.ended, self.plan = turn, None, None
        self._final = self._last = None

    def take(self, message: Incoming, now: float) -> list[Step]:
        """What a message means."""
        author = None if message.thread == self.thread else message.thread
        if author is None and message.turn not in (None, self.turn):
            return []  # the rest of an earlier turn (a command that went on in the background)
        handle = _HANDLES.get(message.method)
        if handle is None and message.request_id is not None:
            handle = _asked
        if handle is not None:
            return handle(self, message, author, now)
        return [*notices.read(message, author, self.waiting)]

    def flush(self, now: float) -> list[Step]:
        """The gathered pieces whose time has come."""
        return [self._piece(item_id, text) for item_id, text in self._output.ripe(now)]

    def answered(self, answer: Answer) -> Asked | None:
        """The open request that `answer` closes; None when it is gone."""
        asked = self.asks.pop(answer.request_id, None)
        self._aborted = self._aborted or (asked is not None and answer.choice == ABORT)
        return asked

    def end(self, *, cancelled: bool, schema: JsonObject | None = None) -> list[Step]:
        """The run's last steps after the turn has ended."""
        turn = self.ended or {}
        last: Event
        match turn.get("status"):
            case "completed":
                final = self._final or self._last
                last = outcome.completed(final, schema, self.usage.to_json())
            case "failed":
                last = outcome.failed(as_object(turn.get("error")), self.usage.to_json())
            case _:
                last = self._interrupted()
        if cancelled:
            last = _cancelled("cancelled_by_caller")
        left = "interrupted" if turn.get("status") != "completed" else "background"
        return [*self.close(left), *self._artifact(), last]

    def close(self, left: str) -> list[Step]:
        """End what is open: its items as `left`, its requests as withdrawn."""
        steps: list[Step] = [self._piece(item_id, text) for item_id, text in self._output.rest()]
        for item, author in self._open.values():
            steps += items.left_open(item, author, left)
        steps += [Withdraw(request_id=request_id) for request_id in self.asks]
        self._open.clear()
        self.asks.clear()
        return steps

    def _interrupted(self) -> Event:
        if self._aborted:
            return _cancelled("stopped_by_answer")
        return RunFailed(
            message="codex interrupted the turn; send a message in the same session to go on",
            reason="interrupted",
            usage=self.usage.to_json(),
        )

    def _artifact(self) -> list[Step]:
        if not self._diff:
            return []
        part: JsonObject = {"text": self._diff, "mediaType": "text/x-diff"}
        diff = ArtifactAdded(
            artifact_id="turn-diff",
            name="turn.diff",
            description="All file changes of the run as one diff",
            parts=[part],
            text=self._diff,
        )
        return [diff]

    def _piece(self, item_id: str, text: str) -> Step:
        item, author = self._open.get(item_id, ({}, None))
        extra = merge_null({"status": "in_progress", "agent": author})
        command = item.get("command")
        return CommandUpdated(command=command, output=text, tool_use_id=item_id, extra=extra)

    # -- one method per message ----------------------------------------------------------------

    def turn_started(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        turn = str(as_object(message.params.get("turn")).get("id"))
        if author is not None:
            self.sub_turns[author] = turn
            return []
        if self._started:
            return []
        self._started = True
        ids: JsonObject = {"thread_id": self.thread, "turn_id": turn}
        running = StatusChanged(status=RunStatus.RUNNING, extra={"thread_id": self.thread})
        return [Bound(vendor_session=self.thread), RunStarted(extra=ids), running]

    def turn_completed(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        if author is not None:
            self.sub_turns.pop(author, None)
        else:
            self.ended = as_object(message.params.get("turn"))
        return []

    def item_started(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        item = as_object(message.params.get("item"))
        self._open[str(item.get("id"))] = (item, author)
        return [*items.started(item, author)]

    def item_completed(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        item = as_object(message.params.get("item"))
        if (self.ended or {}).get("status") == "interrupted" and item.get("status") == "failed":
            item = {**item, "status": "interrupted"}  # it was killed; its exit code varies
        item_id, kind = str(item.get("id")), item.get("type")
        self._open.pop(item_id, None)
        self._output.take(item_id)  # the whole follows here
        if author is None and kind == "agentMessage" and not item.get("questions"):
            self._last = str(item.get("text") or "")
            if item.get("phase") in (None, "final_answer"):
                self._final = self._last
        if author is None and kind == "plan":
            self.plan = str(item.get("text") or "")
        return [*items.finished(item, author)]

    def output(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        text = str(message.params.get("delta") or "")
        self._output.add(str(message.params.get("itemId")), text, now)
        return self.flush(now)

    def diff(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        if author is None:
            self._diff = str(message.params.get("diff") or "")
        return []

    def tokens(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        if author is None:
            self.usage.take(as_object(message.params.get("tokenUsage")))
        return []

    def resolved(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        number = message.params.get("requestId")
        gone = [key for key, asked in self.asks.items() if asked.rpc_id == number]
        for key in gone:
            del self.asks[key]
        return [Withdraw(request_id=key) for key in gone]

    def asked(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        if message.request_id is None:
            return []
        item, _ = self._open.get(str(message.params.get("itemId")), ({}, None))
        found = ask(
            message.method,
            message.params,
            message.request_id,
            changes=items.changes(item),
            author=author,
        )
        if found is None:
            return []
        self.asks[found.pending.request_id] = found
        return [Ask(request=found.pending)]


def _cancelled(reason: str) -> Event:
    return StatusChanged(status=RunStatus.CANCELLED, reason=reason)


_asked: Final[Handle] = TurnFold.asked
_HANDLES: Final[Mapping[str, Handle]] = {
    "turn/started": TurnFold.turn_started,
    "turn/completed": TurnFold.turn_completed,
    "item/started": TurnFold.item_started,
    "item/completed": TurnFold.item_completed,
    "turn/diff/updated": TurnFold.diff,
    "thread/tokenUsage/updated": TurnFold.tokens,
    "serverRequest/resolved": TurnFold.resolved,
    OUTPUT_DELTA: TurnFold.output,
}
HANDLED: Final = frozenset(_HANDLES)
