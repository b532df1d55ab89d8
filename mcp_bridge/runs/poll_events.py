"""poll_events: wait for what one run or several do, and read it in pages."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field, field_validator, model_validator

from gateway.core.events import EVENT_TYPES
from gateway.core.json import JsonObject
from gateway.core.outcomes import EventPage
from gateway.core.status import WAITING
from mcp_bridge import pages
from mcp_bridge.arguments import MaxBytes
from mcp_bridge.runs import views
from mcp_bridge.runs.references import ONE_OF_BOTH, RunReference, find_run
from mcp_bridge.runs.results import EventsPage, RunEvent, RunState
from mcp_bridge.schemas import RESULT_BYTES, Arguments
from mcp_bridge.tool import LOAD, LONG, Call, Tool, reads

POLL_LIMIT: Final = 100
POLL_WAIT_MS: Final = 20_000
# The tightest client default seen is a call limit of 60 s.
POLL_WAIT_MAX_MS: Final = 30_000
RUNS_MAX: Final = 32  # their states alone take 4 KB of an answer
BEAT_S: Final = 5.0  # between progress notifications of a waiting poll
_ENVELOPE: Final = 256  # bytes of a page beside its items
_STATE: Final = 160  # bytes of one run's state without what it asks


class Cursor(Arguments):
    """A run and how far it was read; `after_seq` of the call where it says nothing."""

    run_id: Annotated[str, Field(min_length=1)]
    after_seq: Annotated[int, Field(ge=0)] | None = None


class PollEvents(RunReference):
    after_seq: Annotated[
        int, Field(ge=0, description="0 at first, then next_after_seq of the last answer.")
    ]
    run_ids: (
        Annotated[
            list[Cursor],
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
            Field(description="Only these events, such as agent_message, run_completed."),
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
            return self
        if single:
            raise ValueError("give run_id (or agent_name) or run_ids, not both")
        named = [cursor.run_id for cursor in self.run_ids]
        if twice := next((name for name in named if named.count(name) > 1), None):
            raise ValueError(f"run_ids names {twice[:64]} twice; give each run once")
        return self


async def poll_events(call: Call, arguments: PollEvents) -> EventsPage:
    if arguments.run_ids is None:
        run = await find_run(call, arguments)
        cursors = {run.id: arguments.after_seq}
    else:
        cursors = {
            cursor.run_id: arguments.after_seq if cursor.after_seq is None else cursor.after_seq
            for cursor in arguments.run_ids
        }
    found = await _wait(call, cursors, arguments)
    if arguments.run_ids is None:
        return _page_of_one(found[0], arguments)
    return _page_of_several(found, arguments)


async def _wait(
    call: Call, cursors: Mapping[str, int], arguments: PollEvents
) -> Sequence[EventPage]:
    """The first pages with something to tell, or the last ones of the waiting time."""
    most = arguments.wait_ms / 1000
    begun = time.monotonic()
    next_beat = BEAT_S
    while True:
        found = [await _read(call, run_id, after, arguments) for run_id, after in cursors.items()]
        waited = time.monotonic() - begun
        if _worth_telling(found) or waited >= most:
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


def _worth_telling(found: Sequence[EventPage]) -> bool:
    """Something new, or no run is left that goes on by itself."""
    return any(page.events for page in found) or all(
        page.run.terminal or page.run.status in WAITING for page in found
    )


def _doing(found: Sequence[EventPage]) -> str:
    """What the first run at work is about."""
    run = next((page.run for page in found if not page.run.terminal), found[0].run)
    return f"{run.status}: {run.summary}"


def _page_of_one(page: EventPage, arguments: PollEvents) -> EventsPage:
    run = page.run
    pending = pages.clip(views.pending_of(run), arguments.max_bytes // 2)
    budget = arguments.max_bytes - _ENVELOPE - pages.size(pending)
    shown, read_to = _shown(page, arguments.limit, budget) or _first(page, budget)
    return {
        "run_id": run.id,
        "status": run.status.value,
        "next_after_seq": read_to,
        "has_more": run.last_seq > read_to,
        "pending": pending,
        "events": shown,
    }


def _page_of_several(found: Sequence[EventPage], arguments: PollEvents) -> EventsPage:
    """Each run gets its share of the room and what others left of theirs; the one that has waited
    longest to be read gets an event in any case, so that none waits for ever."""
    limit, budget = arguments.limit, arguments.max_bytes - _ENVELOPE - len(found) * _STATE
    states: dict[str, RunState] = {}
    events: list[RunEvent] = []
    for left, page in zip(range(len(found), 0, -1), sorted(found, key=_age), strict=True):
        pending = pages.clip(views.pending_of(page.run), budget // left // 2)
        budget -= pages.size(pending)
        part = _shown(page, -(-limit // left), budget // left)
        shown, read_to = part or (([], page.events[0].seq - 1) if events else _first(page, budget))
        events += shown
        limit -= len(shown)
        budget -= sum(pages.size(event) + 1 for event in shown)
        states[page.run.id] = _state(page, read_to, pending)
    runs = [states[page.run.id] for page in found]
    return {"has_more": any(state["has_more"] for state in runs), "runs": runs, "events": events}


def _age(page: EventPage) -> tuple[bool, int]:
    """Runs with something new first, the oldest of it before the others."""
    return (not page.events, page.events[0].ts if page.events else 0)


def _state(page: EventPage, read_to: int, pending: list[JsonObject]) -> RunState:
    run = page.run
    state: RunState = {
        "run_id": run.id,
        "status": run.status.value,
        "next_after_seq": read_to,
        "has_more": run.last_seq > read_to,
    }
    if pending:
        state["pending"] = pending
    return state


def _shown(page: EventPage, limit: int, budget: int) -> tuple[list[RunEvent], int] | None:
    """The first events that have room and how far they lead; None when there are, but no room."""
    found = [views.event_view(page.run, event) for event in page.events[: max(0, limit)]]
    shown = found[: pages.count_that_fits(found, budget)]
    if len(shown) == len(page.events):
        return shown, page.read_to
    return (shown, shown[-1]["seq"]) if shown else None


def _first(page: EventPage, budget: int) -> tuple[list[RunEvent], int]:
    """The first event, cut to its room if it has to be."""
    event = views.event_view(page.run, page.events[0])
    if pages.size(event) + 2 > budget:
        data = pages.clip(event["data"], budget - _ENVELOPE)
        event["data"], event["clipped"] = data, True
    return [event], event["seq"] if len(page.events) > 1 else page.read_to


POLL_EVENTS: Final = Tool(
    name="poll_events",
    description="Wait for and read what runs do: events after after_seq, in order. Answers as "
    "soon as there is something new, or no run goes on by itself (ended, or waiting for an answer). "
    "Repeat with next_after_seq until has_more is false and status is completed, failed, cancelled "
    "or rejected. pending: what it asks; answer with continue_run. With run_ids, runs has each "
    "one's status and next_after_seq. data.artifact_refs lists texts that are cut; read them with "
    "get_event_artifact.",
    arguments=PollEvents,
    result=EventsPage,
    run=poll_events,
    annotations=reads(open_world=True),
    meta={**LOAD, **LONG},
)
