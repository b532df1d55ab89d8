"""The seven tools, on the gateway's runs. Knows neither MCP nor HTTP: values in, values out."""

import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.core.clock import iso
from gateway.core.continuing import Continued, Word, go_on
from gateway.core.errors import NotCancelableError
from gateway.core.extension import CodingRequest, Parent
from gateway.core.json import as_object
from gateway.core.outcomes import EventPage
from gateway.core.record import Run
from gateway.core.redact import refs_of
from gateway.core.status import WAITING, RunStatus
from gateway.core.store.listing import RunQuery, encode_cursor
from gateway.core.tasks import Tasks
from mcp_bridge import pages, speech, views
from mcp_bridge.arguments import (
    CancelRun,
    ContinueRun,
    GetEventArtifact,
    GetRun,
    ListRuns,
    PollEvents,
    SpawnRun,
)
from mcp_bridge.placement import Backends, place
from mcp_bridge.references import find_run
from mcp_bridge.results import (
    ArtifactSlice,
    CancelledRun,
    ContinuedRun,
    EventsPage,
    RunEvent,
    RunsPage,
    SpawnedRun,
    WholeRun,
)

BEAT_S: Final = 5.0  # between progress notifications of a waiting poll
_ENVELOPE: Final = 256  # bytes of a page beside its items

# Tells the caller that a wait goes on: seconds so far, seconds at most, what the run does.
Beat: TypeAlias = Callable[[float, float, str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What comes with a call beside its arguments."""

    beat: Beat
    within: str | None = None


class Runs:
    """One principal's runs, as the tools show them. Every method raises CoreError.

    `within` is the run from within which a call comes: what it starts is that run's child.
    """

    def __init__(self, tasks: Tasks, backends: Backends, principal: str) -> None:
        self._tasks = tasks
        self._backends = backends
        self._principal = principal

    async def spawn_run(self, arguments: SpawnRun, within: str | None = None) -> SpawnedRun:
        message = speech.task_of(arguments)
        placed = await place(self._tasks, self._backends, self._principal, arguments)
        sent = await self._tasks.send(
            principal=self._principal,
            agent=placed.agent,
            message=message,
            request=_keyed(placed.request, within),
            context_id=placed.context_id,
            backend=arguments.backend,
            metadata=arguments.metadata,
            name_session=True,
        )
        run = sent.run
        return {
            "run_id": run.id,
            "status": run.status.value,
            "session_id": run.context_id,
            "agent_name": views.agent_name(run),
            "backend": run.backend,
            "role": run.request.role,
        }

    async def get_run(self, arguments: GetRun) -> WholeRun:
        run = await find_run(self._tasks, self._principal, arguments)
        whole = views.whole_run(run, await self._tasks.queued(run))
        if pages.size(whole) > arguments.max_bytes and run.status is RunStatus.COMPLETED:
            await self._shorten_result(run, whole)
        return pages.clip(whole, arguments.max_bytes)

    async def _shorten_result(self, run: Run, whole: WholeRun) -> None:
        """The result as the terminal event holds it inline, and where the rest is."""
        page = await self._tasks.events(self._principal, run.id, after=run.last_seq - 1, limit=1)
        data = views.event_data(page.events[-1])
        result = whole.get("result", {})
        if "final_response" in result:
            result["final_response"] = str(data.get("final_response"))
        if "structured_output" in result:
            result["structured_output"] = data.get("structured_output")
        if "usage" in whole:
            whole["usage"] = as_object(data.get("usage"))
        fields = {pointer: ref["total_bytes"] for pointer, ref in refs_of(data).items()}
        if fields:
            result["truncated"] = {"seq": run.last_seq, "fields": fields}
            whole["result"] = result

    async def poll_events(self, arguments: PollEvents, beat: Beat) -> EventsPage:
        run = await find_run(self._tasks, self._principal, arguments)
        page = await self._wait(run.id, arguments, beat)
        return _events_page(page, arguments)

    async def _wait(self, run_id: str, arguments: PollEvents, beat: Beat) -> EventPage:
        """The first page with something to tell, or the last one of the waiting time."""
        most = arguments.wait_ms / 1000
        begun = time.monotonic()
        while True:
            waited = time.monotonic() - begun
            page = await self._tasks.events(
                self._principal,
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
            await beat(waited, most, f"{run.status}: {run.summary}")

    async def continue_run(self, arguments: ContinueRun, within: str | None = None) -> ContinuedRun:
        run = await find_run(self._tasks, self._principal, arguments)
        message = speech.follow_up_of(arguments)
        word = Word(
            message=message,
            key=arguments.request_key,
            is_answer=speech.only_answers(message),
            parent=_parent(within),
        )
        done = await go_on(self._tasks, run, word, by_name=arguments.run_id is None)
        return _continued(done)

    async def cancel_run(self, arguments: CancelRun) -> CancelledRun:
        run = await find_run(self._tasks, self._principal, arguments)
        try:
            run = await self._tasks.cancel(self._principal, run.id)
        except NotCancelableError as exc:
            if exc.status != RunStatus.CANCELLED:
                raise
            run = await self._tasks.get(self._principal, run.id)  # to cancel twice is no mistake
        confirmed = run.status is RunStatus.CANCELLED and run.completed_at is not None
        answer: CancelledRun = {
            "run_id": run.id,
            "status": run.status.value,
            "cancelled_at": iso(run.completed_at or 0) if confirmed else None,
        }
        if run.cancel_requested_at is not None and not run.terminal:
            answer["cancel_requested_at"] = iso(run.cancel_requested_at)
        return answer

    async def list_runs(self, arguments: ListRuns) -> RunsPage:
        query = RunQuery(
            statuses=() if arguments.status is None else (arguments.status,),
            backend=arguments.backend,
            cwd=arguments.cwd,
            nickname=arguments.agent_name,
            context_id=arguments.session_id,
            parent_id=arguments.parent_run_id,
            limit=arguments.limit,
            cursor=arguments.cursor,
        )
        page = await self._tasks.list_runs(self._principal, query)
        budget = arguments.max_bytes - _ENVELOPE
        shown = [views.run_view(run) for run in page.runs]
        count = pages.count_that_fits(shown, budget)
        if count == len(shown):
            cursor = page.next_cursor
        else:
            count = max(1, count)
            shown = [pages.clip(view, budget) for view in shown[:count]]
            cursor = encode_cursor(query, page.runs[count - 1])
        answer: RunsPage = {"runs": shown}
        return answer if cursor is None else {"next_cursor": cursor, "runs": shown}

    async def get_event_artifact(self, arguments: GetEventArtifact) -> ArtifactSlice:
        run = await find_run(self._tasks, self._principal, arguments)
        found = await self._tasks.payload(
            self._principal,
            run.id,
            arguments.seq,
            arguments.field_path,
            offset=arguments.offset,
            limit=arguments.limit,
        )
        end = found.offset + len(found.content)
        return {
            "run_id": run.id,
            "seq": found.seq,
            "field_path": found.pointer,
            "mime": found.mime,
            "encoding": found.encoding,
            "relpath": found.relpath,
            "total_bytes": found.total_bytes,
            "offset": found.offset,
            "returned_bytes": len(found.content),
            "has_more": bool(found.content) and end < found.total_bytes,
            "content": found.content.decode(),
        }


def _keyed(request: CodingRequest, within: str | None) -> CodingRequest:
    """The request under the caller's key, or one of our own: what is sent twice by us runs once."""
    key = request.request_key or str(uuid.uuid4())
    return request.model_copy(update={"request_key": key, "parent": _parent(within)})


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


def _parent(within: str | None) -> Parent | None:
    """The run from within which a call comes; the server knows how deep that stands."""
    return None if within is None else Parent(run_id=within)


def _continued(done: Continued) -> ContinuedRun:
    run, resumed_from = done.run, done.resumed_from
    answer: ContinuedRun = {
        "run_id": run.id,
        "status": run.status.value,
        "session_id": run.context_id,
        "agent_name": views.agent_name(run),
        "mode": "live" if resumed_from is None else "resume",
        "did": done.did,
    }
    if resumed_from is not None:
        answer["resumed_from_run_id"] = resumed_from
    return answer
