"""What a server makes of runs that others left: a stopped process, a lost caller, a lost answer."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.core.errors import (
    FencedError,
    RequestConflictError,
    RunEndedError,
    ServerStoppingError,
    StorageError,
)
from gateway.core.events import AgentMessage, RunCompleted
from gateway.core.extension import CodingRequest
from gateway.core.life.slots import Queued
from gateway.core.messages import DataPart, Message
from gateway.core.record import Run
from gateway.core.status import RunStatus
from tests.core.faces import Puppets
from tests.core.puppet import ME, Puppet, Stage, place, stage

KEYED = CodingRequest(request_key="k")


def _answer(request_id: str, option: str = "allow") -> Message:
    data = {"request_id": request_id, "option": option}
    return Message(message_id="a", role="user", parts=(DataPart(data=data),))


async def _answer_keyed(on: Stage, run: Run, option: str = "allow") -> Any:
    message = _answer("q", option)
    return await on.tasks.send(
        principal=ME, agent="puppet", message=message, run_id=run.id, request=KEYED
    )


async def _at_work(on: Stage, run: Run) -> Puppet:
    puppet = on.puppets[run.id]
    with anyio.fail_after(5):
        await puppet.started.wait()
    return puppet


async def _settled(on: Stage, run: Run) -> tuple[RunStatus, str | None]:
    with anyio.fail_after(5):
        ended = await on.tasks.settled(ME, run.id)
    return ended.status, ended.error and ended.error.reason


class Factory(Puppets):
    """Makes puppets, tells of each, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    def __call__(self, run: Run) -> Puppet:
        if self.broken:
            raise RuntimeError("no such agent at /home/somebody")
        return super().__call__(run)

    @property
    def made(self) -> int:
        return self._receive.statistics().current_buffer_used


# -- after a restart -----------------------------------------------------------------------------


async def test_queued_runs_are_queued_again_in_order_and_none_is_rejected(tmp_path: Path) -> None:
    async with stage(tmp_path, capacity=1) as on:
        started, _ = await on.begin()
        queued = [(await on.send()).run for _ in range(5)]
    async with stage(tmp_path, capacity=1, queue_limit=2) as on:
        assert await _settled(on, started) == (RunStatus.FAILED, "interrupted")
        first = await _at_work(on, queued[0])
        assert [place(on.tasks, run.id) for run in queued] == [None, 1, 2, 3, 4]
        refused = (await on.send()).run
        assert await _settled(on, refused) == (RunStatus.REJECTED, "queue_full")
        await first.end(RunCompleted())
        await _at_work(on, queued[1])


async def test_a_run_that_waited_keeps_its_turn_and_holds_no_slot(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream=True, capacity=1) as on:
        waiting, puppet = await on.begin(context_id="c")
        await puppet.ask("q")
        behind = (await on.send(context_id="c")).run
    async with stage(tmp_path, upstream=True, capacity=1) as on:
        puppet = await _at_work(on, waiting)
        assert on.tasks.queue_state(behind.id) == Queued(place=1, blocked_by=waiting.id)
        assert on.tasks.queue_state(waiting.id) is None
        other, _ = await on.begin()
        assert (await on.get(other)).status is RunStatus.RUNNING
        await puppet.end(RunCompleted())
        with anyio.fail_after(5):
            while on.tasks.queue_state(behind.id) != Queued(place=1):  # it waits for a slot alone
                await anyio.lowlevel.checkpoint()


async def test_a_run_without_a_driver_ends_with_a_reason_now_and_after_a_restart(
    tmp_path: Path,
) -> None:
    factory = Factory()
    async with stage(tmp_path, puppet=factory, capacity=1) as on:
        factory.broken = True
        lost = (await on.send(context_id="c")).run
        assert await _settled(on, lost) == (RunStatus.FAILED, "driver_error")
        assert "somebody" not in str(await on.get(lost))
        factory.broken = False
        await on.send(context_id="c")
        await factory.next()  # turn and slot are free
        queued = (await on.send(context_id="c")).run
        factory.broken = True
    async with stage(tmp_path, puppet=factory) as on:
        assert await _settled(on, queued) == (RunStatus.FAILED, "driver_error")
    factory.close()


async def test_a_cancel_that_was_recorded_counts_after_a_restart(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream=True) as on:
        run, puppet = await on.begin()
        puppet.on_cancel = []
        await on.tasks.cancel(ME, run.id, wait_s=0)
    async with stage(tmp_path, upstream=True) as on:
        puppet = await _at_work(on, run)
        again = await on.tasks.cancel(ME, run.id, wait_s=0)
        assert again.status is RunStatus.RUNNING
        assert on.tasks.liveness(again).phase == "cancelling"
        vars(on.tasks)["_supervisor"]._owners[run.id]._give_up()
        assert await _settled(on, run) == (RunStatus.FAILED, "cancel_unconfirmed")


# -- the end of a server -------------------------------------------------------------------------


async def test_who_waits_for_a_queued_run_is_answered_when_the_server_stops(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, capacity=1) as on:
        running, _ = await on.begin()
        queued = (await on.send()).run
        ends: list[RunStatus] = []

        async def wait(run: Run) -> None:
            ends.append((await on.tasks.settled(ME, run.id)).status)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(wait, running)
                group.start_soon(wait, queued)
                await anyio.lowlevel.checkpoint()
                await on.tasks.stop()
        assert sorted(ends) == [RunStatus.FAILED, RunStatus.QUEUED]


async def test_a_driver_that_does_not_end_in_time_is_cut_off_and_its_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.life.supervisor.STOP_GRACE_S", 0.01)

    class Stubborn(Puppet):
        async def drive(self, writer: Any) -> None:
            try:
                await super().drive(writer)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.Event().wait()

    with anyio.fail_after(10):
        async with stage(tmp_path, puppet=Stubborn) as on:
            run, _ = await on.begin()
        async with stage(tmp_path) as on:
            assert await _settled(on, run) == (RunStatus.FAILED, "interrupted")


# -- another owner, and a database that is not there ---------------------------------------------


async def test_a_run_that_another_process_took_is_left_to_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await on.tasks.log.claim_active("another")
        with caplog.at_level(logging.WARNING), pytest.raises(FencedError):
            await puppet.say(AgentMessage(text="mine"))
        puppet.fail(FencedError(run.id))
        with anyio.fail_after(5):
            while run.id in vars(on.tasks)["_supervisor"]._owners:
                await anyio.lowlevel.checkpoint()
        assert (await on.get(run)).status is RunStatus.RUNNING
        assert "another process owns it now" in caplog.text
        assert "Traceback" not in caplog.text
        for attempt in (on.send("hello", run_id=run.id), on.tasks.cancel(ME, run.id)):
            with pytest.raises(FencedError):
                await attempt


@pytest.mark.parametrize("stored", [True, False])
async def test_a_run_whose_storing_had_no_answer_starts_if_it_was_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    # A commit whose answer is lost may have happened. Without a look the run would have stayed
    # queued until the next restart, and its caller's retry would have attached to it.
    factory = Factory()
    async with stage(tmp_path, puppet=factory) as on:
        create = on.tasks.log.create

        async def lost(*args: Any, **more: Any) -> Run:
            if stored:
                await create(*args, **more)
            raise StorageError("storage_unavailable", "the database does not answer")

        monkeypatch.setattr(on.tasks.log, "create", lost)
        with pytest.raises(StorageError):
            await on.send(request=KEYED)
        monkeypatch.undo()
        again = await on.send(request=KEYED)
        puppet = await factory.next()
        assert (again.did, puppet.run.id) == ("attached" if stored else "started", again.run.id)
        assert factory.made == 0
        await puppet.end(RunCompleted())
    factory.close()


async def test_a_run_whose_caller_left_while_it_was_stored_starts_all_the_same(
    tmp_path: Path,
) -> None:
    factory = Factory()
    async with stage(tmp_path, puppet=factory) as on:
        sending = asyncio.create_task(on.send())
        await anyio.lowlevel.checkpoint()
        assert not sending.done()
        sending.cancel()
        puppet = await factory.next()
        assert sending.cancelled()
        await puppet.end(RunCompleted())
        assert await _settled(on, puppet.run) == (RunStatus.COMPLETED, None)
    factory.close()


# -- follow-ups and their keys -------------------------------------------------------------------


async def test_an_answer_whose_caller_left_reaches_the_agent(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("q")
        puppet.deaf = asyncio.Event()
        answering = asyncio.create_task(_answer_keyed(on, run))
        with anyio.fail_after(5):
            await puppet.listening.wait()
            answering.cancel()
            puppet.deaf.set()
            assert (await on.send("go on", run_id=run.id)).did == "steered"  # one at a time
        assert [what for what, _ in puppet.heard] == ["answer", "steer"]


@pytest.mark.parametrize("upstream", [True, False])
async def test_an_answer_that_died_with_its_process_is_taken_from_a_retry_or_was_recorded(
    tmp_path: Path, upstream: bool
) -> None:
    # The key was kept before the answer was given: a process that died between the two told the
    # retry that it had been done, and nobody ever answered.
    async with stage(tmp_path, upstream=upstream) as on:
        run, puppet = await on.begin()
        await puppet.ask("q")
        puppet.deaf = asyncio.Event()
        answering = asyncio.create_task(_answer_keyed(on, run))
        with anyio.fail_after(5):
            await puppet.listening.wait()
    with pytest.raises(ServerStoppingError):
        await answering
    async with stage(tmp_path, upstream=upstream) as on:
        if upstream:
            puppet = await _at_work(on, run)
            assert (await on.get(run)).status is RunStatus.INPUT_REQUIRED
            assert (await _retried(on, run, puppet)) == "answered"
            assert [what for what, _ in puppet.heard] == ["answer"]
        else:
            assert await _settled(on, run) == (RunStatus.FAILED, "interrupted")
            types = [e.type for e in (await on.tasks.events(ME, run.id)).events]
            assert types[-3:] == ["message_added", "status_changed", "run_failed"]
            assert (await _answer_keyed(on, run)).did == "attached"


async def _retried(on: Stage, run: Run, puppet: Puppet) -> str:
    did: list[str] = []

    async def retry() -> None:
        did.append((await _answer_keyed(on, run)).did)

    async with anyio.create_task_group() as group:
        group.start_soon(retry)
        await puppet.listening.wait()
        await puppet.resolve("q")
    return did[0]


async def test_a_key_that_was_used_attaches_after_the_end_and_refuses_other_content(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("q")
        assert (await _answer_keyed(on, run)).did == "answered"
        with pytest.raises(RequestConflictError, match="'k' was used for another request"):
            await _answer_keyed(on, run, "deny")
        await puppet.end(RunCompleted())
        await _settled(on, run)
        assert (await _answer_keyed(on, run)).did == "attached"
        with pytest.raises(RequestConflictError):
            await _answer_keyed(on, run, "deny")
        with pytest.raises(RunEndedError):
            await on.send("without a key", run_id=run.id)
        assert [what for what, _ in puppet.heard] == ["answer"]


async def test_two_tries_of_one_follow_up_at_once_do_it_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("q")
        did: list[str] = []

        async def answer() -> None:
            did.append((await _answer_keyed(on, run)).did)

        async with anyio.create_task_group() as group:
            group.start_soon(answer)
            group.start_soon(answer)
        assert sorted(did) == ["answered", "attached"]
        assert [what for what, _ in puppet.heard] == ["answer"]


# -- the queue -----------------------------------------------------------------------------------


async def test_a_full_queue_refuses_nobody_who_can_start_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path, queue_limit=1) as on:
        await on.begin(context_id="c")
        await on.send(context_id="c")
        refused = (await on.send(context_id="c")).run
        assert await _settled(on, refused) == (RunStatus.REJECTED, "queue_full")
        elsewhere, _ = await on.begin()
        assert (await on.get(elsewhere)).status is RunStatus.RUNNING


async def test_a_thousand_queued_runs_start_in_order(tmp_path: Path) -> None:
    order: list[str] = []

    def factory(run: Run) -> Puppet:
        class Brief(Puppet):
            async def drive(self, writer: Any) -> None:
                order.append(run.id)
                await writer.emit(RunCompleted() if done.is_set() else AgentMessage(text="on"))
                await done.wait()

        return Brief(run)

    done = anyio.Event()
    start: Callable[[Run], Puppet] = factory
    async with stage(tmp_path, puppet=start, capacity=3) as on:
        with anyio.fail_after(60):
            runs = [(await on.send()).run.id for _ in range(1000)]
            assert [place(on.tasks, run) for run in runs[:5]] == [None, None, None, 1, 2]
            assert place(on.tasks, runs[-1]) == 997
            done.set()
            await on.tasks.settled(ME, runs[-1])
        assert order == runs
