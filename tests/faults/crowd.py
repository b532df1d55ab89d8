"""Several callers of one server at once, what they were promised, and whether it was kept.

A promise is what a caller heard: a run's id, an event on a stream, an answer taken, a cancel
confirmed. What was asked and not answered before the kill is asked again afterwards, under the same
request_key: it must happen once, whether it had or not.
"""

import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import anyio
import httpx

from gateway.core.json import JsonObject
from tests.faults.served import START_S, RefusedError, Served, spoken
from tests.wrappers.launched import event_of

EACH: Final = 10  # runs of a caller a round, at most
LOOKERS: Final = 4
ENDS: Final = {
    "run_completed": "TASK_STATE_COMPLETED",
    "run_failed": "TASK_STATE_FAILED",
    "rejected": "TASK_STATE_REJECTED",
    "status_changed": "TASK_STATE_CANCELED",
}
TERMINAL: Final = frozenset(ENDS.values())


@dataclass(slots=True, kw_only=True)
class Promise:
    """One run as its caller knows it. `seen`: the events that came over a stream, from the first."""

    key: str
    text: str
    run_id: str | None = None
    seen: list[JsonObject] = field(default_factory=list[JsonObject])
    answered: bool = False
    ended: str | None = None

    @property
    def params(self) -> JsonObject:
        return spoken(self.text, self.key)

    def take(self, task: JsonObject) -> None:
        """A task as the server answered it: from now on it is known."""
        assert self.run_id in (None, task["id"]), (self, task)
        self.run_id = task["id"]
        if task["status"]["state"] in TERMINAL:
            self.ended = task["status"]["state"]


class Crowd:
    """Callers who go on until the server is gone."""

    def __init__(self, chance: random.Random) -> None:
        self._names = itertools.count(1)
        self._mark = f"{chance.randrange(2**48):x}"
        self.promises: list[Promise] = []

    def _ask_for(self, text: str) -> Promise:
        promise = Promise(key=f"{self._mark}-{next(self._names)}", text=text)
        self.promises.append(promise)
        return promise

    async def work(self, on: Served) -> None:
        """Everybody at once; returns when the last one gave up."""
        roles: list[Callable[[Served], Awaitable[None]]] = [
            *(self._sender, self._sender, self._streamer, self._streamer),
            *(self._asker, self._asker, self._canceller, self._follower),
        ]
        async with anyio.create_task_group() as group:
            for role in roles:
                group.start_soon(self._until_gone, role, on)

    async def _until_gone(self, role: Callable[[Served], Awaitable[None]], on: Served) -> None:
        try:
            for _ in range(EACH):
                await role(on)
        except httpx.HTTPError:
            pass  # the kill came first: nothing more was promised

    async def _sender(self, on: Served) -> None:
        promise = self._ask_for("say 3")
        promise.take(await on.send(promise.params))

    async def _follower(self, on: Served) -> None:
        """A blocking call, answered when the run has ended."""
        promise = self._ask_for("say 10")
        promise.take(await on.send(promise.params, wait=True))
        assert promise.ended == "TASK_STATE_COMPLETED"

    async def _streamer(self, on: Served) -> None:
        promise = self._ask_for("say 40")
        headers = {"Last-Event-ID": "0"}
        async for item in on.stream("SendStreamingMessage", promise.params, headers):
            if task := item["result"].get("task"):
                promise.run_id = task["id"]
            elif event := event_of(item):
                promise.seen.append(event)

    async def _asker(self, on: Served) -> None:
        promise = self._ask_for("ask")
        promise.take(await on.send(promise.params, wait=True))
        assert promise.run_id is not None
        await on.send(spoken("blue", f"{promise.key}-answer", promise.run_id))
        promise.answered = True

    async def _canceller(self, on: Served) -> None:
        promise = self._ask_for("hold")
        promise.take(await on.send(promise.params))
        assert promise.run_id is not None
        promise.take(await on.cancel(promise.run_id))


async def kept(on: Served, promises: list[Promise]) -> Counter[str]:
    """How these runs ended, each promise checked; asks once more for what was never answered."""
    ends: Counter[str] = Counter()
    left = iter(promises)

    async def look() -> None:
        for promise in left:
            try:
                with anyio.fail_after(START_S):
                    ends[await _kept(on, promise)] += 1
            except TimeoutError as exc:
                exc.add_note(f"it did not end: {promise}")
                raise

    async with anyio.create_task_group() as group:
        for _ in range(LOOKERS):
            group.start_soon(look)
    return ends


async def _kept(on: Served, promise: Promise) -> str:
    promise.take(await on.send(promise.params))
    again = await on.send(promise.params)
    assert again["id"] == promise.run_id, "a request_key made two runs"
    if promise.text == "ask":
        await _settle_question(on, promise)
    elif promise.text == "hold":
        with suppress(RefusedError):  # it may have ended, or had not even started at the kill
            await on.cancel(again["id"])
    events = await _history(on, promise)
    task = await on.task(again["id"])
    state = task["status"]["state"]
    assert state == ENDS[events[-1]["type"]], (promise, events[-1], task["status"])
    assert promise.ended in (None, state), "an end that was told changed"
    _check_words(promise, events, state)
    return state.removeprefix("TASK_STATE_").lower()


async def _settle_question(on: Served, promise: Promise) -> None:
    """An answer that was taken is not asked for again; one that may not have been is repeated."""
    assert promise.run_id is not None
    answer = spoken("blue", f"{promise.key}-answer", promise.run_id)
    first = await on.send(promise.params, wait=True)  # until it asks, or has ended
    waits = first["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert not (waits and promise.answered), (promise, first["status"])
    if not waits:
        with suppress(RefusedError):  # it has ended: whether it was answered its events say
            await on.send(answer)
        return
    now = await on.send(answer)
    assert now["status"]["state"] != "TASK_STATE_INPUT_REQUIRED", (promise, now["status"])


async def _history(on: Served, promise: Promise) -> list[JsonObject]:
    """Every event: those seen before the kill, and the rest from where that stream broke."""
    assert promise.run_id is not None
    rest = [event async for event in on.events(promise.run_id, len(promise.seen))]
    events = promise.seen + rest
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), promise
    if promise.seen:
        whole = [event async for event in on.events(promise.run_id)]
        assert whole == events, "what a reader saw is not what is stored"
    return events


def _check_words(promise: Promise, events: list[JsonObject], state: str) -> None:
    """No number twice, none left out, nothing after the end."""
    types = [event["type"] for event in events]
    said = [event["data"]["text"] for event in events if event["type"] == "agent_message"]
    assert types[0] == "run_started"
    assert not {"run_completed", "run_failed", "rejected"} & set(types[:-1]), promise
    verb, _, number = promise.text.partition(" ")
    if verb == "say":
        assert said == [f"tick {n}" for n in range(1, int(number) + 1)], promise
        assert state == "TASK_STATE_COMPLETED"
    elif verb == "ask":
        resolved = [event for event in events if event["data"].get("resolved")]
        if state == "TASK_STATE_FAILED":
            assert types.count("input_required") <= 1, (promise, events)
            assert len(resolved) >= promise.answered, (promise, events)
        else:
            assert (len(resolved), said) == (1, ["heard blue"]), (promise, events)
    else:
        assert state in ("TASK_STATE_CANCELED", "TASK_STATE_FAILED"), promise
