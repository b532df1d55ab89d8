"""What happens to a run at once, each pair staged by events in both orders.

    cancel   against  complete, answer, dequeue, send, a follow-up that hangs
    answer   against  answer, withdrawal, expiry, a bad answer beside it
    steer    against  completion
    deadline against  completion, cancel
    stop     against  completion
    parent   against  child, with one slot

The task server's promise: who is first wins, the other is told so, and the log shows one history.
"""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.core.errors import (
    AnswerRefusedError,
    CancelPendingError,
    NotCancelableError,
    NotSteerableError,
    RunEndedError,
)
from gateway.core.events import RunCompleted, RunFailed, RunStarted, StatusChanged
from gateway.core.extension import CodingRequest, Limits, Parent
from gateway.core.life.writer import RunWriter
from gateway.core.messages import DataPart, Message
from gateway.core.record import Remote, Run
from gateway.core.status import RunStatus
from tests.core.puppet import ME, Puppet, Stage, place, stage

DEADLINE = CodingRequest(limits=Limits(deadline_s=30))


def _answer(*ids: str) -> Message:
    several = [{"request_id": request_id, "option": "allow"} for request_id in ids]
    return Message(message_id="a", role="user", parts=(DataPart(data={"responses": several}),))


async def _say(on: Stage, run: Run, message: Message) -> Any:
    return await on.tasks.send(principal=ME, agent="puppet", message=message, run_id=run.id)


async def _history(on: Stage, run: Run) -> list[str]:
    page = await on.tasks.events(ME, run.id)
    assert [event.seq for event in page.events] == list(range(1, len(page.events) + 1))
    return [event.type for event in page.events]


async def _ended(on: Stage, run: Run) -> tuple[RunStatus, str | None]:
    with anyio.fail_after(5):
        ended = await on.tasks.settled(ME, run.id)
    return ended.status, ended.error and ended.error.reason


def _owner(on: Stage, run: Run) -> Any:
    """The run's owner, to reach moments that no caller can choose."""
    supervisor: Any = vars(on.tasks)["_supervisor"]
    return supervisor._owners[run.id]


# -- cancel --------------------------------------------------------------------------------------


async def test_a_cancel_behind_an_end_that_is_not_durable_yet_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.writer.emit(RunCompleted())  # appended, not yet stored
        with pytest.raises(NotCancelableError, match="already completed"):
            await on.tasks.cancel(ME, run.id)
        puppet.leave()
        assert await _ended(on, run) == (RunStatus.COMPLETED, None)


async def test_a_cancel_before_the_agents_end_makes_it_cancelled(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        puppet.on_cancel = []
        await on.tasks.cancel(ME, run.id, wait_s=0)
        await puppet.end(RunCompleted(final_response="too late"))
        assert await _ended(on, run) == (RunStatus.CANCELLED, "cancelled_by_caller")
        assert await _history(on, run) == ["run_started", "status_changed"]


async def test_an_answer_before_a_cancel_reaches_the_agent_first(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("q")
        await _say(on, run, _answer("q"))
        await on.tasks.cancel(ME, run.id)
        assert [what for what, _ in puppet.heard] == ["answer", "cancel"]
        assert await _ended(on, run) == (RunStatus.CANCELLED, "cancelled_by_caller")


async def test_an_answer_behind_a_cancel_is_refused_and_not_recorded(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("q")
        puppet.on_cancel = []
        await on.tasks.cancel(ME, run.id, wait_s=0)
        with pytest.raises(CancelPendingError):
            await _say(on, run, _answer("q"))
        await puppet.told_to_stop.wait()
        await puppet.end(StatusChanged(status="cancelled"))
        assert await _history(on, run) == ["run_started", "input_required", "status_changed"]


async def test_a_cancel_is_accepted_while_a_follow_up_hangs_at_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.life.owner.SAID_FIRST_S", 0.01)
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        puppet.deaf = asyncio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(partial(on.send, "left", run_id=run.id))
            await puppet.listening.wait()
            with anyio.fail_after(5):
                ended = await on.tasks.cancel(ME, run.id)
            assert ended.status is RunStatus.CANCELLED
            puppet.deaf.set()


async def test_a_cancel_before_the_dequeue_keeps_the_run_from_starting(tmp_path: Path) -> None:
    async with stage(tmp_path, capacity=1) as on:
        _, first = await on.begin()
        queued = (await on.send()).run
        assert place(on.tasks, queued.id) == 1
        await on.tasks.cancel(ME, queued.id)
        await first.end(RunCompleted())
        assert await _ended(on, queued) == (RunStatus.CANCELLED, "cancelled_by_caller")
        assert not on.puppets[queued.id].started.is_set()
        after, _ = await on.begin()  # the slot is free
        assert (await on.get(after)).status is RunStatus.RUNNING


async def test_a_cancel_between_dequeue_and_the_drivers_first_step_starts_nothing(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on:
        run = (await on.send()).run  # its owner's task exists and has not had a turn
        assert place(on.tasks, run.id) is None
        await _owner(on, run).cancel()
        assert await _ended(on, run) == (RunStatus.CANCELLED, "cancelled_by_caller")
        assert not on.puppets[run.id].started.is_set()
        assert await _history(on, run) == ["status_changed"]


async def test_a_cancel_behind_the_dequeue_is_the_drivers(tmp_path: Path) -> None:
    async with stage(tmp_path, capacity=1) as on:
        _, first = await on.begin()
        queued = (await on.send()).run
        await first.end(RunCompleted())
        puppet = on.puppets[queued.id]
        with anyio.fail_after(5):
            await puppet.started.wait()
        await on.tasks.cancel(ME, queued.id)
        assert puppet.heard == [("cancel", None)]
        assert await _ended(on, queued) == (RunStatus.CANCELLED, "cancelled_by_caller")


class Sending(Puppet):
    """The gateway's side of a run: a send, then what its agent tells of the task it made."""

    def __init__(self, run: Run) -> None:
        super().__init__(run, upstream=True)
        self.answered = asyncio.Event()  # the agent's answer to the send
        self.sent = asyncio.Event()
        self.told: list[str] = []
        self._wanted = False

    async def drive(self, writer: RunWriter) -> None:
        self._writer = writer
        self.sent.set()
        await self.answered.wait()
        await writer.emit(RunStarted(), remote=Remote(agent="a", task_id="t-1", src_seq=1))
        self.started.set()
        await self._tell()
        await self._over.wait()

    async def cancel(self) -> None:
        self._wanted = True
        await self._tell()
        self.told_to_stop.set()

    async def _tell(self) -> None:
        remote = self.writer.run.remote
        if self._wanted and remote is not None:
            self.told.append(str(remote.task_id))
            await self.say(StatusChanged(status="cancelled"))
            self.leave()


@pytest.mark.parametrize("answered_first", [True, False])
async def test_a_cancel_of_a_run_whose_send_is_under_way_waits_for_its_task(
    tmp_path: Path, answered_first: bool
) -> None:
    async with stage(tmp_path, puppet=Sending) as on:
        run = (await on.send()).run
        puppet = on.puppets[run.id]
        assert isinstance(puppet, Sending)
        with anyio.fail_after(5):
            await puppet.sent.wait()
            if answered_first:
                puppet.answered.set()
                await puppet.started.wait()
            asked = await on.tasks.cancel(ME, run.id, wait_s=0)
            await puppet.told_to_stop.wait()
            if not answered_first:
                assert (asked.status, puppet.told) == (RunStatus.QUEUED, [])
                assert asked.cancel_requested_at is not None
                puppet.answered.set()
        assert await _ended(on, run) == (RunStatus.CANCELLED, "cancelled_by_caller")
        assert puppet.told == ["t-1"]


async def test_an_agent_that_never_confirms_a_cancel_is_given_up(tmp_path: Path) -> None:
    # The failure that says so went through the ending of the cancel it denies, and the run
    # claimed that its agent had been stopped.
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        puppet.on_cancel = []
        await on.tasks.cancel(ME, run.id, wait_s=0)
        await puppet.told_to_stop.wait()
        _owner(on, run)._give_up()
        assert await _ended(on, run) == (RunStatus.FAILED, "cancel_unconfirmed")


# -- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("upstream", [False, True])
async def test_of_two_answers_to_one_request_the_second_is_told_so(
    tmp_path: Path, upstream: bool
) -> None:
    async with stage(tmp_path, upstream=upstream) as on:
        run, puppet = await on.begin()
        await puppet.ask("q", "other")
        puppet.deaf = asyncio.Event()
        outcomes: list[str] = []

        async def answer() -> None:
            try:
                await _say(on, run, _answer("q"))
                outcomes.append("taken")
            except AnswerRefusedError as exc:
                outcomes.append(exc.code)

        async with anyio.create_task_group() as group:
            group.start_soon(answer)
            await puppet.listening.wait()  # the first is at the agent
            group.start_soon(answer)
            if upstream:
                await puppet.resolve("q")
            puppet.deaf.set()
        assert sorted(outcomes) == ["already_answered", "taken"]
        assert [what for what, _ in puppet.heard] == ["answer"]


async def test_a_good_answer_beside_a_bad_one_is_not_taken_either(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("a", "b", "c")
        for message in (_answer("a", "nope"), _answer("nope", "a")):
            with pytest.raises(AnswerRefusedError, match="nope"):
                await _say(on, run, message)
        assert [item.request_id for item in (await on.get(run)).pending] == ["a", "b", "c"]
        await _say(on, run, _answer("c", "a"))
        now = await on.get(run)
        assert ([item.request_id for item in now.pending], now.status) == (
            ["b"],
            RunStatus.INPUT_REQUIRED,
        )
        assert [[a.request_id for a in said] for _, said in puppet.heard] == [["c", "a"]]


@pytest.mark.parametrize("how", ["expired", "withdrawn"])
async def test_an_answer_behind_an_expiry_or_withdrawal_finds_the_request_gone(
    tmp_path: Path, how: Any
) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("q")
        await puppet.resolve("q", how)
        with pytest.raises(AnswerRefusedError) as refused:
            await _say(on, run, _answer("q"))
        assert refused.value.code == "request_gone"
        assert (await on.get(run)).status is RunStatus.RUNNING
        assert puppet.heard == []


async def test_an_answer_before_a_withdrawal_stays_the_answer(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("q")
        await _say(on, run, _answer("q"))
        # A driver that withdraws looks first; the request is not pending any more.
        assert puppet.writer.run.pending == ()
        with pytest.raises(AnswerRefusedError) as refused:
            await _say(on, run, _answer("q"))
        assert refused.value.code == "already_answered"


async def test_a_second_answer_is_told_so_by_the_next_process_too(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream=True) as on:
        run, puppet = await on.begin()
        await puppet.ask("q", "late")
        await puppet.resolve("q")
        await puppet.resolve("late", "expired")
    async with stage(tmp_path, upstream=True) as on:
        await on.puppets[run.id].started.wait()
        for request_id, code in (("q", "already_answered"), ("late", "request_gone")):
            with pytest.raises(AnswerRefusedError) as refused:
                await _say(on, run, _answer(request_id))
            assert refused.value.code == code


# -- steers --------------------------------------------------------------------------------------


async def test_a_steer_behind_the_completion_is_told_of_the_end(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.writer.emit(RunCompleted())
        with pytest.raises(RunEndedError, match="already completed"):
            await on.send("left", run_id=run.id)
        assert puppet.heard == []


@pytest.mark.parametrize("taken", [True, False])
async def test_a_run_that_completes_while_it_is_steered_has_one_history(
    tmp_path: Path, taken: bool
) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        puppet.deaf = asyncio.Event()
        outcomes: list[str] = []

        async def steer() -> None:
            try:
                outcomes.append((await on.send("left", run_id=run.id)).did)
            except (RunEndedError, NotSteerableError) as exc:
                outcomes.append(exc.code)

        async with anyio.create_task_group() as group:
            group.start_soon(steer)
            await puppet.listening.wait()
            await puppet.say(RunCompleted())
            puppet.steerable = taken
            puppet.deaf.set()
        puppet.leave()
        assert outcomes == ["steered" if taken else "run_ended"]
        assert await _history(on, run) == ["run_started", "run_completed"]


# -- deadlines -----------------------------------------------------------------------------------


async def test_a_deadline_behind_the_completion_does_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin(request=DEADLINE)
        await puppet.writer.emit(RunCompleted())
        _owner(on, run)._deadline._expire()
        puppet.leave()
        assert await _ended(on, run) == (RunStatus.COMPLETED, None)
        assert puppet.heard == []


async def test_a_completion_behind_the_deadline_is_too_late(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin(request=DEADLINE)
        puppet.on_cancel = [RunCompleted(usage={"tokens": 1})]
        _owner(on, run)._deadline._expire()
        assert await _ended(on, run) == (RunStatus.FAILED, "deadline")
        ended = await on.get(run)
        assert ended.result is not None
        assert ended.result.usage == {"tokens": 1}


async def test_upstream_an_end_that_came_before_the_deadline_was_heard_is_kept(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, upstream=True) as on:
        for end, reason in (
            (RunCompleted(), None),
            (StatusChanged(status="cancelled"), "deadline"),
        ):
            run, puppet = await on.begin(request=DEADLINE)
            puppet.on_cancel = [end]
            _owner(on, run)._deadline._expire()
            assert (await _ended(on, run))[1] == reason


async def test_a_deadline_behind_a_cancel_leaves_the_run_cancelled(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin(request=DEADLINE)
        puppet.on_cancel = []
        await on.tasks.cancel(ME, run.id, wait_s=0)
        _owner(on, run)._deadline._expire()
        await puppet.told_to_stop.wait()
        await puppet.end(RunFailed(message="stopped"))
        assert await _ended(on, run) == (RunStatus.CANCELLED, "cancelled_by_caller")
        assert puppet.heard == [("cancel", None)]


async def test_a_cancel_behind_a_deadline_leaves_the_run_failed(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin(request=DEADLINE)
        puppet.on_cancel = []
        _owner(on, run)._deadline._expire()
        await puppet.told_to_stop.wait()
        await on.tasks.cancel(ME, run.id, wait_s=0)
        await puppet.end(StatusChanged(status="cancelled"))
        assert await _ended(on, run) == (RunStatus.FAILED, "deadline")
        assert puppet.heard == [("cancel", None)]


# -- the server's stop ---------------------------------------------------------------------------


async def test_a_stop_behind_an_end_that_is_not_durable_yet_keeps_the_end(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.writer.emit(RunCompleted(final_response="just in time"))
        puppet.leave()
    async with stage(tmp_path) as on:
        assert await _ended(on, run) == (RunStatus.COMPLETED, None)
        assert await _history(on, run) == ["run_started", "run_completed"]


async def test_an_end_behind_the_stop_is_not_waited_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        _owner(on, run).stop()
        puppet.leave()
        assert await _ended(on, run) == (RunStatus.FAILED, "interrupted")
    async with stage(tmp_path) as on:
        assert await _history(on, run) == ["run_started", "run_failed"]


# -- one slot, a parent and its child ------------------------------------------------------------


def _child_of(run: Run, **more: Any) -> CodingRequest:
    return CodingRequest(parent=Parent(run_id=run.id), **more)


async def test_with_one_slot_a_parent_that_waits_for_its_child_completes(tmp_path: Path) -> None:
    async with stage(tmp_path, capacity=1) as on:
        parent, at_parent = await on.begin()
        stranger = (await on.send()).run
        child, at_child = await on.begin(request=_child_of(parent))
        second = (await on.send(request=_child_of(parent))).run
        assert [place(on.tasks, run.id) for run in (stranger, child, second)] == [1, None, 2]
        await at_child.end(RunCompleted())
        with anyio.fail_after(5):
            await on.puppets[second.id].started.wait()
        await on.puppets[second.id].end(RunCompleted())
        await at_parent.end(RunCompleted())
        with anyio.fail_after(5):
            await on.puppets[stranger.id].started.wait()
        assert [await _ended(on, run) for run in (parent, child, second)] == [
            (RunStatus.COMPLETED, None)
        ] * 3


async def test_with_one_slot_a_parent_may_end_before_its_child(tmp_path: Path) -> None:
    async with stage(tmp_path, capacity=1) as on:
        parent, at_parent = await on.begin()
        child, at_child = await on.begin(request=_child_of(parent))
        stranger = (await on.send()).run
        await at_parent.end(RunCompleted())
        await _ended(on, parent)
        assert place(on.tasks, stranger.id) == 1  # the child has the slot now
        await at_child.end(RunCompleted())
        with anyio.fail_after(5):
            await on.puppets[stranger.id].started.wait()
        assert await _ended(on, child) == (RunStatus.COMPLETED, None)


async def test_with_one_slot_a_child_that_was_asked_goes_on_beside_its_parent(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, capacity=1) as on:
        parent, _ = await on.begin()
        child, at_child = await on.begin(request=_child_of(parent))
        await at_child.ask("q")
        await _say(on, child, _answer("q"))
        assert (await on.get(child)).status is RunStatus.RUNNING
        assert [what for what, _ in at_child.heard] == ["answer"]
