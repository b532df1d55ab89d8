"""Events of one run, or of several, as one answer of a bounded size: who gets how much of it.

Knows neither waiting nor who calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.json import JsonObject
from gateway.core.outcomes import EventPage
from gateway.core.record import Run
from mcp_bridge import pages
from mcp_bridge.runs import views
from mcp_bridge.runs.results import EventsPage, RunEvent, RunState

_ENVELOPE: Final = 256  # bytes of a page or an event beside what it holds
_STATE: Final = 160  # bytes of one run's state, what it asks left out
_TOLD: Final = 32  # bytes of that, on average, at least
_NAME: Final = 16  # bytes of that member's name


def room_for(runs: int) -> int:
    """The bytes without which an answer cannot tell how so many runs stand."""
    return _ENVELOPE + runs * (_STATE + _TOLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What an answer holds at most."""

    events: int
    bytes_: int


def page_of_one(page: EventPage, room: Room) -> EventsPage:
    pending = _pending(page.run, room.bytes_ * 3 // 4)
    budget = room.bytes_ - _ENVELOPE - pages.size(pending)
    shown, read_to = _shown(page, room.events, budget) or _first(page, budget)
    return {**_state(page, read_to), "pending": pending, "events": shown}


def page_of_several(found: Sequence[EventPage], room: Room) -> EventsPage:
    """Each run gets its share of the room and what others left of theirs; the one that has waited
    longest to be read gets an event in any case, so that none waits for ever."""
    limit, budget = room.events, room.bytes_ - _ENVELOPE - len(found) * _STATE
    states: dict[str, RunState] = {}
    events: list[RunEvent] = []
    for left, page in zip(range(len(found), 0, -1), sorted(found, key=_age), strict=True):
        pending = _pending(page.run, budget // left * 3 // 4)
        budget -= pages.size(pending) + _NAME if pending else 0
        part = _shown(page, -(-limit // left), budget // left)
        shown, read_to = part or (([], page.events[0].seq - 1) if events else _first(page, budget))
        events += shown
        limit -= len(shown)
        budget -= sum(pages.size(event) + 1 for event in shown)
        states[page.run.id] = _state(page, read_to)
        if pending:
            states[page.run.id]["pending"] = pending
    runs = [states[page.run.id] for page in found]
    return {"has_more": any(state["has_more"] for state in runs), "runs": runs, "events": events}


def _age(page: EventPage) -> tuple[bool, int]:
    """Runs with something new first, the oldest of it before the others."""
    return (not page.events, page.events[0].ts if page.events else 0)


def _state(page: EventPage, read_to: int) -> RunState:
    return {
        "run_id": page.run.id,
        "status": page.run.status.value,
        "next_after_seq": read_to,
        "has_more": page.run.last_seq > read_to,
    }


def _pending(run: Run, room: int) -> list[JsonObject]:
    """What a run asks; without room the ids of its requests alone, get_run has all of it."""
    if not run.pending:
        return []
    share = room // len(run.pending)
    pending = [pages.clip(request, share) for request in views.pending_of(run)]
    if pages.size(pending) <= room:
        return pending
    return [{"request_id": request.request_id} for request in run.pending]


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
