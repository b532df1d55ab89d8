"""poll_events: wait for what runs do, and read it in pages."""

import time
from typing import Annotated, Final

from pydantic import Field

from gateway.core.outcomes import EventPage
from gateway.core.status import WAITING
from mcp_bridge import pages
from mcp_bridge.arguments import MaxBytes
from mcp_bridge.runs import views
from mcp_bridge.runs.references import RunReference, find_run
from mcp_bridge.runs.results import EventsPage, RunEvent
from mcp_bridge.schemas import RESULT_BYTES
from mcp_bridge.tool import LOAD, LONG, Call, Tool, reads

POLL_LIMIT: Final = 100
POLL_WAIT_MS: Final = 20_000
# The tightest client default seen is a call limit of 60 s.
POLL_WAIT_MAX_MS: Final = 30_000
BEAT_S: Final = 5.0  # between progress notifications of a waiting poll
_ENVELOPE: Final = 256  # bytes of a page beside its items


class PollEvents(RunReference):
    after_seq: Annotated[
        int, Field(ge=0, description="0 at first, then next_after_seq of the last answer.")
    ]
    limit: Annotated[int, Field(ge=1, le=1000, description="Most events; 1-1000, default 100.")] = (
        POLL_LIMIT
    )
    wait_ms: Annotated[
        int,
        Field(ge=0, le=POLL_WAIT_MAX_MS, description="Longest wait; 0-30000, default 20000."),
    ] = POLL_WAIT_MS
    max_bytes: MaxBytes = RESULT_BYTES


async def poll_events(call: Call, arguments: PollEvents) -> EventsPage:
    run = await find_run(call, arguments)
    page = await _wait(call, run.id, arguments)
    return _events_page(page, arguments)


async def _wait(call: Call, run_id: str, arguments: PollEvents) -> EventPage:
    """The first page with something to tell, or the last one of the waiting time."""
    most = arguments.wait_ms / 1000
    begun = time.monotonic()
    while True:
        waited = time.monotonic() - begun
        page = await call.tasks.events(
            call.principal,
            run_id,
            after=arguments.after_seq,
            limit=arguments.limit,
            wait_s=max(0.0, min(BEAT_S, most - waited)),
        )
        run = page.run
        if page.events or run.terminal or run.status in WAITING:
            return page
        if (waited := time.monotonic() - begun) >= most:
            return page
        await call.beat(waited, most, f"{run.status}: {run.summary}")


def _events_page(page: EventPage, arguments: PollEvents) -> EventsPage:
    run = page.run
    pending = pages.clip(views.pending_of(run), arguments.max_bytes // 2)
    budget = arguments.max_bytes - _ENVELOPE - pages.size(pending)
    found = [views.event_view(run, event) for event in page.events]
    shown = found[: pages.count_that_fits(found, budget)]
    if found and not shown:
        shown = [_clipped(found[0], budget)]
    return {
        "run_id": run.id,
        "status": run.status.value,
        "next_after_seq": shown[-1]["seq"] if shown else arguments.after_seq,
        "has_more": page.has_more or len(shown) < len(found),
        "pending": pending,
        "events": shown,
    }


def _clipped(event: RunEvent, budget: int) -> RunEvent:
    return {**event, "data": pages.clip(event["data"], budget - _ENVELOPE), "clipped": True}


POLL_EVENTS: Final = Tool(
    name="poll_events",
    description="Wait for and read what a run does: its events after after_seq, in order. "
    "Answers at once when there is something new or the run has ended or waits for an "
    "answer. Repeat with next_after_seq until has_more is false and status is completed, "
    "failed, cancelled or rejected. pending not empty: answer with continue_run. Texts that "
    "are cut are listed in data.artifact_refs for get_event_artifact.",
    arguments=PollEvents,
    result=EventsPage,
    run=poll_events,
    annotations=reads(open_world=True),
    meta={**LOAD, **LONG},
)
