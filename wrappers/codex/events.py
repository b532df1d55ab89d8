"""Messages of `codex app-server` about one run -> steps (run events, asks), by one table.

Pure: the time is an argument. `item/completed` is the truth about an item; deltas only fill the
wait for it. A turn's end is not the end of its items: `end` closes those still open.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from gateway.core.events import (
    CommandUpdated,
    Event,
    RunFailed,
    RunStarted,
    StatusChanged,
)
from gateway.core.extension import ABORT, DENY, Answer
from gateway.core.json import JsonObject, as_object, merge_null
from gateway.core.status import RunStatus
from wrappers.adapter import Ask, Bound, Step, Withdraw
from wrappers.codex import diffs, items, notices, outcome, usage
from wrappers.codex.deltas import Deltas
from wrappers.codex.pending_items import PendingItems
from wrappers.codex.repeats import Repeats
from wrappers.codex.requests import Asked, ask
from wrappers.codex.wire import Incoming

OUTPUT_DELTA: Final = "item/commandExecution/outputDelta"
Handle: TypeAlias = "Callable[[TurnFold, Incoming, str | None, float], list[Step]]"


class TurnFold:
    """One run's state at Codex: its turn, open items, open requests, tokens and last answer.

    With `permits` the caller is asked whether an MCP server's tool may be used.
    """

    def __init__(self, thread: str, *, permits: bool = True) -> None:
        self.thread = thread
        self._permits = permits
        self.turn: str | None = None
        self.ended: JsonObject | None = None  # the turn as `turn/completed` says it
        self.asks: dict[str, Asked] = {}  # request id -> what is open
        self.sub_turns: dict[str, str] = {}  # sub-agent's thread -> its running turn
        self.plan: str | None = None  # proposed in plan mode
        self.usage = outcome.Usage()  # the agent's own
        self._sub_usage: dict[str, outcome.Usage] = {}  # by sub-agent's thread
        self._open = PendingItems()
        self._output: Deltas[str] = Deltas()  # a command's, by its item id
        self._diffs = diffs.TurnDiffs()
        self._repeats = Repeats()
        self._early: list[Step] | None = []  # said before the run's start; None: it has started
        self._warned: set[str | None] = set()
        self._final: str | None = None
        self._last: str | None = None
        self._aborted = False

    @property
    def due(self) -> float | None:
        """When `flush` has something to say."""
        return self._output.due

    @property
    def commands_open(self) -> bool:
        return self._open.has("commandExecution")

    @property
    def waiting(self) -> str:
        """The run's status as far as Codex is concerned."""
        return RunStatus.INPUT_REQUIRED if self.asks else RunStatus.RUNNING

    @property
    def final(self) -> str | None:
        """The turn's final answer so far: the last message that is no commentary, or any."""
        return self._final or self._last

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
        return self._noticed(notices.read(message, author, self.waiting))

    def flush(self, now: float) -> list[Step]:
        """The gathered pieces whose time has come."""
        return [self._piece(item_id, text) for item_id, text in self._output.ripe(now)]

    def answered(self, answer: Answer) -> Asked | None:
        """The open request that `answer` closes; None when it is gone."""
        asked = self.asks.pop(answer.request_id, None)
        if asked is not None and answer.choice in (DENY, ABORT):
            self._open.refuse(asked.item_id)
            self._aborted = self._aborted or answer.choice == ABORT
        return asked

    def end(self, *, cancelled: bool, schema: JsonObject | None = None) -> list[Step]:
        """The run's last steps after the turn has ended."""
        turn = self.ended or {}
        last: Event
        match turn.get("status"):
            case "completed":
                last = outcome.completed(self.final, schema, self.spent())
            case "failed":
                last = outcome.failed(as_object(turn.get("error")), self.spent())
            case _:
                last = self._interrupted()
        if cancelled:
            last = _cancelled("cancelled_by_caller")
        left = "interrupted" if turn.get("status") != "completed" else "background"
        return [*self.close(left), *self._diffs.artifacts(), last]

    def close(self, left: str) -> list[Step]:
        """End what is open: its items as `left`, its requests as withdrawn."""
        steps: list[Step] = [*(self._early or ())]
        steps += [self._piece(item_id, text) for item_id, text in self._output.rest()]
        for item, author, output in self._open.drain():
            steps += items.left_open(item, author, left, output)
        steps += [Withdraw(request_id=request_id) for request_id in self.asks]
        self._early = None
        self.asks.clear()
        return steps

    def spent(self) -> JsonObject | None:
        """The tokens of the run: the agent's own and its sub-agents'; None while none is known."""
        return usage.summed([self.usage, *self._sub_usage.values()])

    def _interrupted(self) -> Event:
        if self._aborted:
            return _cancelled("stopped_by_answer")
        return RunFailed(
            message="codex interrupted the turn; send a message in the same session to go on",
            reason="interrupted",
            usage=self.spent(),
        )

    def _noticed(self, events: list[Event]) -> list[Step]:
        """What is said beside the work: after the run's start, and a warning once."""
        steps: list[Step] = []
        for event in events:
            if isinstance(event, StatusChanged) and event.reason == notices.WARNING:
                if event.message in self._warned:
                    continue
                self._warned.add(event.message)
            steps.append(event)
        if self._early is None:
            return steps
        self._early += steps
        return []

    def _piece(self, item_id: str, text: str) -> Step:
        item, author = self._open.get(item_id)
        extra = merge_null({"status": "in_progress", "agent": author})
        command = item.get("command")
        return CommandUpdated(command=command, output=text, tool_use_id=item_id, extra=extra)

    # -- one method per message ----------------------------------------------------------------

    def turn_started(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        turn = str(as_object(message.params.get("turn")).get("id"))
        if author is not None:
            self.sub_turns[author] = turn
            return []
        if self._early is None:
            return []
        early, self._early = self._early, None
        ids: JsonObject = {"thread_id": self.thread, "turn_id": turn}
        running = StatusChanged(status=RunStatus.RUNNING, extra={"thread_id": self.thread})
        return [Bound(vendor_session=self.thread), RunStarted(extra=ids), running, *early]

    def turn_completed(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        turn = as_object(message.params.get("turn"))
        if author is None:
            self.ended = turn
            return []
        self.sub_turns.pop(author, None)
        return self._noticed(notices.sub_agent_ended(turn, author, self.waiting))

    def item_started(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        item = as_object(message.params.get("item"))
        self._open.begin(item, author)
        return [*items.started(item, author)]

    def item_completed(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        item = as_object(message.params.get("item"))
        if (self.ended or {}).get("status") == "interrupted" and item.get("status") == "failed":
            item = {**item, "status": "interrupted"}  # it was killed; its exit code varies
        item = self._open.end(item)
        self._output.take(str(item.get("id")))  # the whole follows here
        if author is None:
            self._answered_with(item)
        if self._repeats.seen(item, author):
            return []
        return [*items.finished(item, author)]

    def _answered_with(self, item: JsonObject) -> None:
        text = str(item.get("text") or "")
        if item.get("type") == "plan":
            self.plan = text
        if item.get("type") == "agentMessage" and not item.get("questions"):
            self._last = text
            if item.get("phase") in (None, "final_answer"):
                self._final = text

    def output(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        item_id, text = str(message.params.get("itemId")), str(message.params.get("delta") or "")
        self._open.hear(item_id, text)
        self._output.add(item_id, text, now)
        return self.flush(now)

    def typed(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        """Something was written to a command that runs, or it was looked at (empty)."""
        item_id = str(message.params.get("itemId"))
        item, _ = self._open.get(item_id)
        if not item:
            return []
        extra = merge_null({"status": "in_progress", "agent": author})
        typed = {"input": text} if (text := message.params.get("stdin")) else {}
        command = item.get("command")
        return [CommandUpdated(command=command, tool_use_id=item_id, extra={**extra, **typed})]

    def diff(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        self._diffs.take(author, message.turn, str(message.params.get("diff") or ""))
        return []

    def tokens(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        spent = self.usage
        if author is not None:
            spent = self._sub_usage.setdefault(author, outcome.Usage())
        counts = as_object(message.params.get("tokenUsage"))
        if spent.before is None and self._open.has("contextCompaction"):
            # Before it compacts Codex repeats the last count of the turn before.
            spent.before = as_object(counts.get("total"))
        spent.take(counts)
        self._repeats.whole(author)
        return []

    def error(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        if message.params.get("willRetry"):
            self._repeats.cut(author)
        return self._noticed(notices.read(message, author, self.waiting))

    def resolved(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        number = message.params.get("requestId")
        gone = [key for key, asked in self.asks.items() if asked.rpc_id == number]
        for key in gone:
            del self.asks[key]
        return [Withdraw(request_id=key) for key in gone]

    def asked(self, message: Incoming, author: str | None, now: float) -> list[Step]:
        if message.request_id is None:
            return []
        item, _ = self._open.get(str(message.params.get("itemId")))
        params = message.params
        if as_object(params.get("_meta")).get("codex_approval_kind") == "mcp_tool_call":
            item, params = self._open.about(params, author)
            if not self._permits:
                self._open.refuse(item.get("id"))
                return self._noticed(notices.unpermitted(params, author, self.waiting))
        found = ask(
            message.method,
            params,
            message.request_id,
            changes=diffs.changes(item),
            author=author,
            item_id=item.get("id"),
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
    "error": TurnFold.error,
    "item/commandExecution/terminalInteraction": TurnFold.typed,
    OUTPUT_DELTA: TurnFold.output,
}
HANDLED: Final = frozenset(_HANDLES)
