"""Runs in every state a run can be in, at one gateway: begun, killed over, asked again, read.

Knows the scripted agent's words and what each run must come to. What was asked and not acknowledged
before a kill is asked again afterwards under the same request_key.
"""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import httpx

from gateway.core.extension import URI
from gateway.core.json import JsonObject
from tests.gateway.process import START_S, Gateway
from tests.wrappers.launched import event_of

AGENT: Final = "scripted"
EACH: Final = 7  # runs of each of the seven kinds
STEPS: Final = 40
TICKS: Final = [f"tick {n}" for n in range(1, STEPS + 1)]
STREAM: Final = f"stream {STEPS} 0.02 tick\nsay done"
ASK: Final = "say before\nask Which colour? [blue|green]\nsay after"
# Kind: its script, and all that it says when nothing interrupts it.
KINDS: Final[dict[str, tuple[str, list[str]]]] = {
    "streaming": (STREAM, [*TICKS, "done"]),
    "queued": ("say mine", ["mine"]),  # behind a streaming one, in its session
    "waiting": (ASK, ["before", "Which colour? blue", "after"]),
    "answering": (ASK, ["before", "Which colour? blue", "after"]),
    "cancelling": ("say before\nhang", ["before"]),
    "finishing": ("say one\nsleep {pause}\nsay two", ["one", "two"]),
    "sending": ("say sent", ["sent"]),
}
WAITS: Final = "TASK_STATE_INPUT_REQUIRED"
FAILED_ENDS: Final = {"run_failed": "reason", "status_changed": "status"}


@dataclass(slots=True, kw_only=True)
class Spread:
    """One run as its caller knows it; `told`: what it asked last was acknowledged."""

    kind: str
    key: str
    script: str
    task_id: str | None = None
    context_id: str | None = None
    behind: str | None = None  # the session it was asked for in
    told: bool = False

    @property
    def message(self) -> JsonObject:
        found: JsonObject = {
            "messageId": self.key,
            "role": "ROLE_USER",
            "parts": [{"text": self.script}],
            "metadata": {URI: {"cwd": "/tmp", "request_key": self.key}},
        }
        return found if self.behind is None else {**found, "contextId": self.behind}


class Caller:
    """Whoever began the runs; goes on at whichever gateway answers now."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._mark = f"{chance.randrange(2**48):x}"
        self.runs: list[Spread] = []

    async def begin(self, gateway: Gateway) -> None:
        """Everything that is in its state before the kill."""
        for kind in ("streaming", "queued", "waiting", "answering", "cancelling", "finishing"):
            async with anyio.create_task_group() as group:
                for number in range(EACH):
                    group.start_soon(self._begin, gateway, self._made(kind, number))
        waiting = [run for run in self.runs if run.kind in ("waiting", "answering")]
        async with anyio.create_task_group() as group:
            for run in waiting:
                group.start_soon(self._until_it_asks, gateway, run)

    def _made(self, kind: str, number: int) -> Spread:
        pause = f"{self._chance.uniform(0.1, 1.2):.2f}"
        script = KINDS[kind][0].format(pause=pause)
        run = Spread(kind=kind, key=f"{self._mark}-{kind}-{number}", script=script)
        if kind == "queued":
            ahead = [one for one in self.runs if one.kind == "streaming"]
            run.behind = ahead[number].context_id
        self.runs.append(run)
        return run

    async def _begin(self, gateway: Gateway, run: Spread) -> None:
        task = (await _sent(gateway, run.message))["task"]
        assert run.task_id in (None, task["id"]), "a request_key made two runs"
        run.task_id, run.context_id = task["id"], task["contextId"]

    async def _until_it_asks(self, gateway: Gateway, run: Spread) -> None:
        task = (await _sent(gateway, run.message, wait=True))["task"]
        assert task["status"]["state"] == WAITS, task["status"]

    async def disturb(self, gateway: Gateway) -> None:
        """What is under way when the kill comes; ends when it was done or the gateway is gone."""
        async with anyio.create_task_group() as group:
            for number in range(EACH):
                run = self._made("sending", number)
                group.start_soon(self._try, gateway, run)
            for run in self.runs:
                if run.kind in ("answering", "cancelling"):
                    group.start_soon(self._try, gateway, run)

    async def _try(self, gateway: Gateway, run: Spread) -> None:
        try:
            await self._ask(gateway, run)
        except (httpx.HTTPError, ValueError):
            return  # the kill came first: nothing was promised

    async def _ask(self, gateway: Gateway, run: Spread) -> None:
        """The one thing this run's caller wants beside its start; repeating it is harmless."""
        if run.kind == "sending":
            await self._begin(gateway, run)
        elif run.kind == "cancelling":
            await gateway.rpc(AGENT, "CancelTask", {"id": run.task_id})
        elif run.kind in ("waiting", "answering"):
            await self._answer(gateway, run)
        run.told = True

    async def _answer(self, gateway: Gateway, run: Spread) -> None:
        message = {
            "messageId": f"{run.key}-answer",
            "taskId": run.task_id,
            "role": "ROLE_USER",
            "parts": [{"text": "blue"}],
            "metadata": {URI: {"request_key": f"{run.key}-answer"}},
        }
        said = await gateway.rpc(AGENT, "SendMessage", {"message": message})
        assert "result" in said or "run_ended" in str(said), said

    # -- afterwards ------------------------------------------------------------------------------

    async def ends(self, gateway: Gateway) -> Counter[tuple[str, str]]:
        """How each run ended, its story checked."""
        found: Counter[tuple[str, str]] = Counter()
        limit = anyio.CapacityLimiter(8)

        async def look(run: Spread) -> None:
            async with limit:
                with anyio.fail_after(START_S):
                    await self._begin(gateway, run)
                    if not run.told and run.kind not in ("streaming", "queued", "finishing"):
                        await self._ask(gateway, run)
                    found[run.kind, await _end_of(gateway, run)] += 1

        async with anyio.create_task_group() as group:
            for run in self.runs:
                group.start_soon(look, run)
        return found


async def _sent(gateway: Gateway, message: JsonObject, *, wait: bool = False) -> JsonObject:
    configuration = {"returnImmediately": not wait}
    params = {"message": message, "configuration": configuration}
    answer = await gateway.rpc(AGENT, "SendMessage", params)
    assert "result" in answer, answer
    return answer["result"]


async def _end_of(gateway: Gateway, run: Spread) -> str:
    """How the run ended, by its events from the first to the last."""
    events = await _history(gateway, str(run.task_id))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), run
    said = [event["data"]["text"] for event in events if event["type"] == "agent_message"]
    whole = KINDS[run.kind][1]
    assert said == whole[: len(said)], (run, said)
    answers = [event for event in events if event["data"].get("how") == "answered"]
    assert len(answers) <= 1, (run, events)
    last = events[-1]
    if last["type"] == "run_completed":
        assert said == whole, (run, said)
        return "completed"
    return str(last["data"][FAILED_ENDS[last["type"]]])


async def _history(gateway: Gateway, task_id: str) -> list[JsonObject]:
    """Every event, from the log and then live; the stream ends with the run."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": task_id}}
    path = f"/agents/{AGENT}/a2a/jsonrpc"
    headers = {"Last-Event-ID": "0", "A2A-Extensions": URI}
    async with gateway.http.stream("POST", path, json=body, headers=headers) as response:
        lines = [line async for line in response.aiter_lines() if line.startswith("data:")]
    items = [httpx.Response(200, text=line[5:]).json() for line in lines]
    return [event for item in items if (event := event_of(item))]


def queries(home: Path) -> tuple[Path, Path]:
    """The databases of the gateway and of the wrapper beside the agent."""
    return home / "gateway.db", home / "wrappers" / AGENT / "runs.db"
