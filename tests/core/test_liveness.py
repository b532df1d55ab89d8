"""Deadlines, stalls and lineage: what is computed beside a run's status."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from gateway.core.errors import InvalidInputError, SessionConflictError
from gateway.core.events import AgentMessage, RunCompleted
from gateway.core.extension import URI, CodingRequest, Limits, Parent
from gateway.core.json import JsonObject
from gateway.core.life.lineage import DEPTH_MAX
from gateway.core.life.liveness import Liveness, liveness
from gateway.core.messages import user_text
from gateway.core.record import Run
from gateway.core.status import RunStatus
from tests.core.faces import puppet_theatre
from tests.core.puppet import ME, stage

SECOND = 1_000_000
RUN = Run(
    id="r",
    context_id="c",
    principal=ME,
    agent="a",
    backend="a",
    status=RunStatus.RUNNING,
    message=user_text("m", "go"),
    request=CodingRequest(),
    created_at=0,
    updated_at=5 * SECOND,
    last_seq=3,
)


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.at


@pytest.mark.parametrize(
    ("run", "at", "expected"),
    [
        (RUN, 14.9, Liveness(last_event_at=5 * SECOND, phase="working", stalled=False)),
        (RUN, 15, Liveness(last_event_at=5 * SECOND, phase="working", stalled=True)),
        (
            replace(RUN, cancel_requested_at=6),
            15,
            Liveness(last_event_at=5 * SECOND, phase="cancelling", stalled=True),
        ),
        (
            replace(RUN, status=RunStatus.INPUT_REQUIRED),
            10_000,
            Liveness(last_event_at=5 * SECOND, phase="waiting", stalled=False),
        ),
        (
            replace(RUN, status=RunStatus.QUEUED, last_seq=0),
            10_000,
            Liveness(last_event_at=None, phase="queued", stalled=False),
        ),
        (
            replace(RUN, status=RunStatus.COMPLETED),
            10_000,
            Liveness(last_event_at=5 * SECOND, phase="ended", stalled=False),
        ),
    ],
)
def test_only_a_running_run_that_is_silent_stalls(run: Run, at: float, expected: Liveness) -> None:
    assert liveness(run, at=int(at * SECOND), stall_after_s=10) == expected


async def test_a_stall_is_shown_and_changes_no_status(tmp_path: Path) -> None:
    clock = Hands()
    async with stage(tmp_path, clock=clock, stall_after_s=600) as on:
        run, puppet = await on.begin()
        clock.at += 601 * SECOND
        silent = await on.get(run)
        assert silent.status is RunStatus.RUNNING
        assert on.tasks.liveness(silent).to_json()["stalled"] is True
        await puppet.say(AgentMessage(text="still here"))
        assert not on.tasks.liveness(await on.get(run)).stalled
        await puppet.ask("q")
        clock.at += 601 * SECOND
        assert on.tasks.liveness(await on.get(run)).phase == "waiting"
        assert not on.tasks.liveness(await on.get(run)).stalled


async def test_tasks_show_how_alive_a_run_is_and_where_it_is_queued(tmp_path: Path) -> None:
    async with puppet_theatre(tmp_path) as (on, puppets):
        now = {"configuration": {"returnImmediately": True}, "context_id": "c"}
        first = await on.send("go", extended=True, **now)
        puppet = await puppets.next()
        behind = await on.send("next", extended=True, **now)

        async def about(task: JsonObject, *, extended: bool = True) -> JsonObject:
            shown = await on.rpc("GetTask", {"id": task["id"]}, extended=extended)
            return shown["result"].get("metadata", {}).get(URI, {})

        shown = await about(first)
        assert (shown["phase"], shown["stalled"], shown["last_seq"]) == ("working", False, 1)
        assert shown["last_event_at"].endswith("Z")
        queued = await about(behind)
        assert (queued["phase"], queued["queue_place"], queued["blocked_by"]) == (
            "queued",
            1,
            first["id"],
        )
        assert await about(first, extended=False) == {}
        await puppet.end(RunCompleted())
        await on.tasks.settled(ME, first["id"])
        assert set(await about(first)) == {"log_id", "last_seq"}


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._send, self._receive = anyio.create_memory_object_stream[str](1000)

    def emit(self, record: logging.LogRecord) -> None:
        if "no event for" in record.getMessage():
            self._send.send_nowait(record.getMessage())

    async def next(self) -> str:
        with anyio.fail_after(5):
            return await self._receive.receive()

    @property
    def waiting(self) -> int:
        return self._receive.statistics().current_buffer_used

    def close(self) -> None:
        self._send.close()
        self._receive.close()
        super().close()


@asynccontextmanager
async def _reports() -> AsyncGenerator[_Lines]:
    lines, logger = _Lines(), logging.getLogger("gateway.core.life.stalls")
    logger.addHandler(lines)
    try:
        yield lines
    finally:
        logger.removeHandler(lines)
        lines.close()


async def test_a_stall_is_reported_once_and_the_next_one_again(tmp_path: Path) -> None:
    clock = Hands()
    async with (
        _reports() as lines,
        stage(tmp_path, clock=clock, stall_after_s=0.02) as on,
    ):
        run, puppet = await on.begin()
        _, other = await on.begin()
        await other.ask("q")
        clock.at += 60 * SECOND
        assert await lines.next() == f"run {run.id}: no event for 60 s"
        for _ in range(3):  # further looks find nothing new
            vars(on.tasks)["_supervisor"].look_for_stalls()
        assert lines.waiting == 0
        await puppet.say(AgentMessage(text="still here"))
        clock.at += 30 * SECOND
        assert await lines.next() == f"run {run.id}: no event for 30 s"


# -- deadlines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("waited_s", "left_s"), [(0, 0.01), (3600, 0.01)])
async def test_after_a_restart_the_rest_of_the_deadline_counts_on(
    tmp_path: Path, waited_s: int, left_s: float
) -> None:
    clock = Hands()
    asked = CodingRequest(limits=Limits(deadline_s=100))
    async with stage(tmp_path, upstream=True, clock=clock) as on:
        run, puppet = await on.begin(request=asked)
        clock.at += 60 * SECOND
        await puppet.ask("q")  # waiting does not count, here or while the server is down
        clock.at += waited_s * SECOND
    clock.at += waited_s * SECOND
    async with stage(tmp_path, upstream=True, clock=clock) as on:
        puppet = on.puppets[run.id]
        with anyio.fail_after(5):
            await puppet.started.wait()
        assert (await on.get(run)).running_us == 60 * SECOND
        pending = puppet.writer.run.pending[0].request_id
        await puppet.resolve(pending)
        clock.at += int((40 - left_s) * SECOND)
    async with stage(tmp_path, upstream=True, clock=clock) as on:
        puppet = on.puppets[run.id]
        with anyio.fail_after(5):
            await puppet.told_to_stop.wait()
            ended = await on.tasks.settled(ME, run.id)
        assert ended.error is not None
        assert (ended.status, ended.error.reason) == (RunStatus.FAILED, "deadline")


async def test_a_deadline_that_an_agents_server_keeps_is_only_backed_here(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream=True) as on:
        run, puppet = await on.begin(request=CodingRequest(limits=Limits(deadline_s=100)))
        puppet.deadline_grace_s = 0.01
        owner = vars(on.tasks)["_supervisor"]._owners[run.id]
        owner._deadline._expire()
        assert puppet.heard == []  # its server has a while to end it by itself
        with anyio.fail_after(5):
            await puppet.told_to_stop.wait()
            ended = await on.tasks.settled(ME, run.id)
        assert ended.error is not None
        assert (ended.error.reason, ended.cancel_requested_at is not None) == ("deadline", True)


# -- lineage -------------------------------------------------------------------------------------


async def test_a_run_asked_for_from_within_too_many_runs_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, _ = await on.begin()
        for _ in range(DEPTH_MAX):
            parent = Parent(run_id=run.id)
            run, _ = await on.begin(request=CodingRequest(parent=parent))
        with pytest.raises(InvalidInputError, match=f"run {run.id} stands too deep"):
            await on.send(request=CodingRequest(parent=Parent(run_id=run.id)))
        unknown = Parent(run_id="of another server", depth=DEPTH_MAX)
        with pytest.raises(InvalidInputError, match="too deep"):
            await on.send(request=CodingRequest(parent=unknown))


async def test_a_run_within_a_run_cannot_take_the_session_that_waits_for_it(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on:
        top, at_top = await on.begin()
        child, at_child = await on.begin(request=CodingRequest(parent=Parent(run_id=top.id)))
        from_child = CodingRequest(parent=Parent(run_id=child.id))
        for context in (child.context_id, top.context_id):
            with pytest.raises(SessionConflictError, match="it would wait for itself"):
                await on.send(context_id=context, request=from_child)
        await at_child.end(RunCompleted())
        await on.tasks.settled(ME, child.id)
        with pytest.raises(SessionConflictError, match=top.id):  # a grandparent that goes on
            await on.send(context_id=top.context_id, request=from_child)
        again, _ = await on.begin(
            context_id=child.context_id, request=CodingRequest(parent=Parent(run_id=top.id))
        )
        assert again.context_id == child.context_id
        await at_top.end(RunCompleted())


async def test_a_parent_is_known_by_the_id_that_its_caller_gave_it(tmp_path: Path) -> None:
    # A wrapper's callers know the runs of their own server: those ids come with the requests.
    async with stage(tmp_path, capacity=1) as on:
        parent, _ = await on.begin(request=CodingRequest(run_id="theirs"))
        asked = CodingRequest(run_id="another", parent=Parent(run_id="theirs"))
        child, _ = await on.begin(request=asked)
        assert (await on.get(child)).status is RunStatus.RUNNING
        with pytest.raises(SessionConflictError, match=parent.id):
            await on.send(context_id=parent.context_id, request=asked)
