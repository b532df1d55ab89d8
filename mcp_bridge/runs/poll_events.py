"""poll_events: wait for what one run or several do, and read it in pages."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field, field_validator, model_validator

from gateway.core.events import EVENT_TYPES
from gateway.core.outcomes import EventPage
from gateway.core.status import WAITING
from mcp_bridge.arguments import MaxBytes
from mcp_bridge.runs.event_pages import Room, page_of_one, page_of_several, room_for
from mcp_bridge.runs.reasons import add_reasons
from mcp_bridge.runs.references import ONE_OF_BOTH, RunReference, find_run
from mcp_bridge.runs.results import EventsPage
from mcp_bridge.schemas import RESULT_BYTES, Arguments, FromText
from mcp_bridge.tool import LOAD, LONG, Call, Tool, reads

POLL_LIMIT: Final = 100
POLL_WAIT_MS: Final = 20_000
# The tightest client default seen is a call limit of 60 s.
POLL_WAIT_MAX_MS: Final = 30_000
RUNS_MAX: Final = 32  # their states alone take 4 KB of an answer
BEAT_S: Final = 5.0  # between progress notifications of a waiting poll


class Cursor(Arguments):
    """A run and how far it was read; from its start, or from the call's own `after_seq`."""

    run_id: Annotated[str, Field(min_length=1)]
    after_seq: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_id(cls, value: object) -> object:
        return {"run_id": value} if isinstance(value, str) else value


class PollEvents(RunReference):
    # The contract's own: nobody reads a run from its start again for want of a cursor.
    after_seq: (
        Annotated[
            int, Field(ge=0, description="0 at first, then next_after_seq of the last answer.")
        ]
        | None
    ) = None
    run_ids: (
        Annotated[
            list[Cursor],
            FromText,
            Field(
                min_length=1,
                max_length=RUNS_MAX,
                description="Instead of run_id: up to 32 runs; any of them ends the wait.",
            ),
        ]
        | None
    ) = None
    types: (
        Annotated[
            list[str],
            FromText,
            Field(description="Only these events, such as agent_message."),
        ]
        | None
    ) = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most events; 1-1000, default 100.")] = (
        POLL_LIMIT
    )
    wait_ms: Annotated[
        int,
        Field(ge=0, le=POLL_WAIT_MAX_MS, description="Longest wait; 0-30000, default 20000."),
    ] = POLL_WAIT_MS
    max_bytes: MaxBytes = RESULT_BYTES

    @field_validator("types")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        if unknown := [name for name in value or () if name not in EVENT_TYPES]:
            raise ValueError(
                f"no event type {unknown[0][:64]!r}; the types are {', '.join(EVENT_TYPES)}"
            )
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> "PollEvents":
        """In place of the reference's own check."""
        single = self.run_id is not None or self.agent_name is not None
        if self.run_ids is None:
            if not single:
                raise ValueError(f"{ONE_OF_BOTH}; or run_ids for several")
            if self.after_seq is None:
                raise ValueError("argument 'after_seq' is missing: 0 at first")
            return self
        if single:
            raise ValueError("give run_id (or agent_name) or run_ids, not both")
        named = [cursor.run_id for cursor in self.run_ids]
        if twice := next((name for name in named if named.count(name) > 1), None):
            raise ValueError(f"run_ids names {twice[:64]} twice; give each run once")
        if self.max_bytes < room_for(len(named)):
            least = room_for(len(named))
            raise ValueError(f"max_bytes has no room for {len(named)} runs; give at least {least}")
        return self


async def poll_events(call: Call, arguments: PollEvents) -> EventsPage:
    if arguments.run_ids is None:
        run = await find_run(call, arguments)
        cursors = {run.id: arguments.after_seq or 0}
    else:
        cursors = {
            cursor.run_id: (arguments.after_seq or 0)
            if cursor.after_seq is None
            else cursor.after_seq
            for cursor in arguments.run_ids
        }
    found = await _wait(call, cursors, arguments)
    room = Room(events=arguments.limit, bytes_=arguments.max_bytes)
    single = arguments.run_ids is None
    answer = page_of_one(found[0], room) if single else page_of_several(found, room)
    await add_reasons(call, {page.run.id: page.run for page in found}, answer, arguments.max_bytes)
    return answer


async def _wait(
    call: Call, cursors: Mapping[str, int], arguments: PollEvents
) -> Sequence[EventPage]:
    """The first pages with something to tell, or the last ones of the waiting time."""
    most = arguments.wait_ms / 1000
    asked = cursors
    begun = time.monotonic()
    next_beat = BEAT_S
    known: dict[str, EventPage] = {}
    while True:
        for run_id, after in cursors.items():
            page = known.get(run_id)
            # One that ended and was read stays as it is: others may move a hundred times a second.
            if page is None or not page.run.terminal or page.has_more:
                known[run_id] = await _read(call, run_id, after, arguments)
        found = [known[run_id] for run_id in cursors]
        waited = time.monotonic() - begun
        if waited >= most or _worth_telling(found, asked):
            return found
        if waited >= next_beat:
            next_beat += BEAT_S
            await call.beat(waited, most, _doing(found))
        cursors = {page.run.id: page.read_to for page in found}
        moving = {page.run.id: page.read_to for page in found if not page.run.terminal}
        await call.tasks.any_moved(moving, max(0.0, min(next_beat, most) - waited))


async def _read(call: Call, run_id: str, after: int, arguments: PollEvents) -> EventPage:
    return await call.tasks.events(
        call.principal, run_id, after=after, limit=arguments.limit, types=arguments.types or ()
    )


def _worth_telling(found: Sequence[EventPage], asked: Mapping[str, int]) -> bool:
    """Something new, or no run is left that goes on by itself. That a run ended or waits is new
    once, whatever types were chosen."""
    still = [page.run.terminal or page.run.status in WAITING for page in found]
    return all(still) or any(
        page.events or (stands and page.run.last_seq > asked[page.run.id])
        for page, stands in zip(found, still, strict=True)
    )


def _doing(found: Sequence[EventPage]) -> str:
    """What the first run at work is about."""
    run = next((page.run for page in found if not page.run.terminal), found[0].run)
    return f"{run.status}: {run.summary}"


POLL_EVENTS: Final = Tool(
    name="poll_events",
    description="Wait for and read what runs do: events after after_seq, in order. Answers as "
    "soon as there is something new, or no run goes on by itself (ended, or waiting for an answer). "
    "Repeat with next_after_seq until has_more is false and status is completed, failed, cancelled "
    "or rejected. pending: what it asks; answer with continue_run. With run_ids, runs has each "
    "one's status and next_after_seq. To wait for the end alone: types [run_completed]; an end or "
    "a question is always told. Cut texts are in data.artifact_refs, for get_event_artifact.",
    arguments=PollEvents,
    result=EventsPage,
    run=poll_events,
    annotations=reads(open_world=True),
    meta={**LOAD, **LONG},
)
