"""What a run that was active when its server ended needs before it goes on.

Knows the log. Its record shows the open requests shortened; who answers for them needs them whole. And
what the agent had begun and never ended is told as interrupted: nobody else will.
"""

from collections.abc import AsyncGenerator
from typing import Final

from gateway.core import json, redact
from gateway.core.events import (
    CommandFinished,
    CommandStarted,
    Event,
    InputRequired,
    ToolFinished,
    ToolStarted,
)
from gateway.core.extension import PendingRequest
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.store.entry import Recorded
from gateway.core.store.log import RunLog

PAGE: Final = 500  # events
INTERRUPTED: Final = "interrupted"
_CALLS: Final = (
    CommandStarted.type,
    CommandFinished.type,
    ToolStarted.type,
    ToolFinished.type,
)


async def whole_requests(log: RunLog, run: Run) -> tuple[PendingRequest, ...]:
    """The open requests of `run` as they were asked."""
    if not run.pending:
        return ()
    last: Recorded | None = None
    async for event in _events(log, run, (InputRequired.type,)):
        last = event
    if last is None:
        return run.pending
    data = json.decode_object(last.data)
    if redact.refs_of(data):
        data = redact.join(data, await log.payloads(run.id, last.seq))
    asked = {item["request_id"]: item for item in data["pending"]}
    return tuple(
        PendingRequest.model_validate(asked[known.request_id])
        if known.request_id in asked
        else known
        for known in run.pending
    )


async def ends_of_open(log: RunLog, run: Run) -> list[Event]:
    """The ends of the commands and tool calls of `run` that were begun and not ended."""
    begun: dict[str, tuple[str, JsonObject]] = {}
    async for event in _events(log, run, _CALLS):
        data = json.decode_object(event.data)
        call = str(data.get("tool_use_id"))
        if event.type in (CommandStarted.type, ToolStarted.type):
            begun[call] = (event.type, data)
        else:
            begun.pop(call, None)
    return [_end(kind, call, data) for call, (kind, data) in begun.items()]


def _end(kind: str, call: str, data: JsonObject) -> Event:
    if kind == CommandStarted.type:
        return CommandFinished(
            command=data.get("command"), status=INTERRUPTED, tool_use_id=call, extra=_whose(data)
        )
    return ToolFinished(
        tool=str(data.get("tool")), status=INTERRUPTED, tool_use_id=call, extra=_whose(data)
    )


def _whose(data: JsonObject) -> JsonObject:
    """Whose call it was, where a sub-agent made it."""
    return {key: data[key] for key in ("agent", "parent_tool_use_id") if key in data}


async def _events(log: RunLog, run: Run, types: tuple[str, ...]) -> AsyncGenerator[Recorded]:
    after = run.first_seq - 1
    while found := await log.read(run.id, after, PAGE, types):
        for event in found:
            yield event
        after = found[-1].seq
