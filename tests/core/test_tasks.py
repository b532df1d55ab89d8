"""The operations on runs, on a real database, with a driver the test moves by hand."""

from pathlib import Path

import anyio
import pytest

from gateway.core.errors import (
    AnswerRefusedError,
    CancelPendingError,
    InvalidInputError,
    NotCancelableError,
    NotSteerableError,
    RequestConflictError,
    RunEndedError,
    RunNotFoundError,
    SessionConflictError,
)
from gateway.core.events import AgentMessage, AuthRequired, RunCompleted, RunFailed, StatusChanged
from gateway.core.extension import CodingRequest, Limits
from gateway.core.messages import DataPart, Message, user_text
from gateway.core.status import RunStatus
from gateway.core.store.listing import RunQuery
from tests.core.puppet import ME, place, stage


def _answer(request_id: str, option: str = "allow") -> Message:
    data = {"request_id": request_id, "option": option}
    return Message(message_id="a", role="user", parts=(DataPart(data=data),))


async def test_a_run_is_durable_when_send_returns_and_ends_with_its_result(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.end(AgentMessage(text="hi"), RunCompleted(final_response="done"))
        with anyio.fail_after(5):
            ended = await on.tasks.settled(ME, run.id)
        assert ended.status is RunStatus.COMPLETED
        page = await on.tasks.events(ME, run.id)
        assert [event.type for event in page.events] == [
            "run_started",
            "agent_message",
            "run_completed",
        ]
        assert [event.seq for event in page.events] == [1, 2, 3]
        assert (page.has_more, page.run) == (False, ended)


async def test_a_waiting_reader_gets_the_event_and_a_late_one_the_same(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        seen: list[int] = []

        async def follow() -> None:
            async for batch in on.tasks.follow(ME, run.id):
                seen.extend(event.seq for event in batch)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(follow)
                for n in range(300):
                    await puppet.writer.emit(AgentMessage(text=str(n)))
                await puppet.end(RunCompleted())
        late = [e.seq async for batch in on.tasks.follow(ME, run.id, after=100) for e in batch]
        assert seen == list(range(1, 303))
        assert late == list(range(101, 303))


async def test_a_driver_that_fails_or_leaves_ends_the_run_with_a_reason(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        left, puppet = await on.begin()
        puppet.leave()
        failed, other = await on.begin()
        other.fail(RuntimeError("password=hunter2"))
        with anyio.fail_after(5):
            ends = [(await on.tasks.settled(ME, run.id)).error for run in (left, failed)]
        assert [error.reason for error in ends if error] == ["agent_lost", "driver_error"]
        assert "hunter2" not in str(ends)


async def test_runs_of_one_context_go_one_after_another(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        first, puppet = await on.begin(context_id="c")
        second = (await on.send(context_id="c")).run
        other, _ = await on.begin()
        assert (await on.get(second)).status is RunStatus.QUEUED
        assert (place(on.tasks, second.id), place(on.tasks, other.id)) == (1, None)
        await puppet.end(RunCompleted())
        with anyio.fail_after(5):
            await on.puppets[second.id].started.wait()
        assert (await on.get(first)).status is RunStatus.COMPLETED


async def test_beyond_its_capacity_runs_wait_in_order_and_a_waiting_run_holds_no_slot(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, capacity=1) as on:
        first, puppet = await on.begin()
        second, third = (await on.send()).run, (await on.send()).run
        assert [place(on.tasks, run.id) for run in (second, third)] == [1, 2]
        await puppet.ask("q")
        with anyio.fail_after(5):
            await on.puppets[second.id].started.wait()
        assert place(on.tasks, third.id) == 1
        await on.tasks.send(principal=ME, agent="puppet", message=_answer("q"), run_id=first.id)
        assert (await on.get(first)).status is RunStatus.RUNNING


async def test_a_full_queue_rejects_with_a_reason(tmp_path: Path) -> None:
    async with stage(tmp_path, capacity=1, queue_limit=1) as on:
        await on.begin()
        await on.send()
        refused = (await on.send()).run
        with anyio.fail_after(5):
            ended = await on.tasks.settled(ME, refused.id)
        assert (ended.status, ended.error and ended.error.reason) == (
            RunStatus.REJECTED,
            "queue_full",
        )


async def test_an_answer_is_recorded_before_the_agent_hears_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("q")
        sent = await on.tasks.send(
            principal=ME, agent="puppet", message=_answer("q"), run_id=run.id
        )
        assert (sent.did, sent.run.status) == ("answered", RunStatus.RUNNING)
        page = await on.tasks.events(ME, run.id, after=2)
        assert [event.type for event in page.events] == ["message_added", "status_changed"]
        assert '"resolved":"q","how":"answered","by":"local"' in page.events[1].data
        assert [what for what, _ in puppet.heard] == ["answer"]


async def test_each_of_several_requests_is_answered_by_its_id(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("a", "b")
        with pytest.raises(AnswerRefusedError) as refused:
            await on.send("yes", run_id=run.id)
        assert refused.value.code == "ambiguous_answer"
        await on.tasks.send(principal=ME, agent="puppet", message=_answer("b"), run_id=run.id)
        assert (await on.get(run)).status is RunStatus.INPUT_REQUIRED
        await on.send("yes", run_id=run.id)
        assert (await on.get(run)).status is RunStatus.RUNNING


async def test_the_second_answer_is_told_so_and_an_unknown_id_is_gone(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("a", "b")
        outcomes: list[str] = []

        async def answer(request_id: str) -> None:
            try:
                await on.tasks.send(
                    principal=ME, agent="puppet", message=_answer(request_id), run_id=run.id
                )
                outcomes.append("taken")
            except AnswerRefusedError as exc:
                outcomes.append(exc.code)

        async with anyio.create_task_group() as group:
            group.start_soon(answer, "a")
            group.start_soon(answer, "a")
        await answer("nope")
        assert sorted(outcomes) == ["already_answered", "request_gone", "taken"]
        assert len([what for what, _ in puppet.heard if what == "answer"]) == 1


async def test_a_second_answer_after_the_last_request_is_told_so_too(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.ask("a")
        await on.tasks.send(principal=ME, agent="puppet", message=_answer("a"), run_id=run.id)
        with pytest.raises(AnswerRefusedError) as refused:
            await on.tasks.send(principal=ME, agent="puppet", message=_answer("a"), run_id=run.id)
        assert refused.value.code == "already_answered"
        assert ("steer", "") not in puppet.heard


async def test_a_message_to_a_working_run_steers_it_or_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        assert (await on.send("left a bit", run_id=run.id)).did == "steered"
        assert puppet.heard == [("steer", "left a bit")]
        puppet.steerable = False
        with pytest.raises(NotSteerableError):
            await on.send("right", run_id=run.id)


async def test_a_queued_run_takes_no_message(tmp_path: Path) -> None:
    async with stage(tmp_path, capacity=1) as on:
        await on.begin()
        queued = (await on.send()).run
        with pytest.raises(NotSteerableError, match="queued"):
            await on.send("hello", run_id=queued.id)


async def test_authentication_is_retried_by_a_message_on_the_same_run(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.say(AuthRequired(text="log in"))
        assert (await on.tasks.settled(ME, run.id)).status is RunStatus.AUTH_REQUIRED
        assert (await on.send("again", run_id=run.id)).did == "resumed"


async def test_a_message_to_an_ended_run_or_a_wrong_context_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        with pytest.raises(InvalidInputError, match="in context"):
            await on.send(run_id=run.id, context_id="other")
        await puppet.end(RunCompleted())
        await on.tasks.settled(ME, run.id)
        with pytest.raises(RunEndedError, match="already completed"):
            await on.send(run_id=run.id)
        with pytest.raises(RunNotFoundError):
            await on.send(run_id="nope")


async def test_an_accepted_cancel_decides_the_end_whatever_the_agent_says(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        puppet.on_cancel = [RunCompleted(final_response="finished after all")]
        with anyio.fail_after(5):
            ended = await on.tasks.cancel(ME, run.id)
        assert ended.status is RunStatus.CANCELLED


async def test_a_cancel_after_the_end_is_refused_with_that_end(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.end(RunCompleted())
        with pytest.raises(NotCancelableError, match="already completed"):
            await on.tasks.cancel(ME, run.id)
        assert puppet.heard == []


async def test_upstream_the_agents_own_end_is_kept(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream=True) as on:
        run, puppet = await on.begin()
        puppet.on_cancel = [RunCompleted(final_response="done before")]
        ended = await on.tasks.cancel(ME, run.id)
        assert (ended.status, ended.cancel_requested_at is not None) == (RunStatus.COMPLETED, True)
        assert puppet.heard == [("cancel", None)]


async def test_a_queued_run_is_cancelled_at_once_and_never_starts(tmp_path: Path) -> None:
    async with stage(tmp_path, capacity=1) as on:
        _, puppet = await on.begin()
        queued = (await on.send()).run
        ended = await on.tasks.cancel(ME, queued.id)
        assert (ended.status, ended.last_seq) == (RunStatus.CANCELLED, 1)
        await puppet.end(RunCompleted())
        assert not on.puppets[queued.id].started.is_set()


async def test_after_an_accepted_cancel_no_message_is_taken(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        puppet.on_cancel = []
        still = await on.tasks.cancel(ME, run.id, wait_s=0)
        assert still.status is RunStatus.RUNNING
        with pytest.raises(CancelPendingError):
            await on.send("wait", run_id=run.id)
        await puppet.end(StatusChanged(status="cancelled"))
        assert (await on.tasks.settled(ME, run.id)).status is RunStatus.CANCELLED


async def test_a_deadline_is_a_cancel_that_ends_failed(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin(request=CodingRequest(limits=Limits(deadline_s=0.01)))
        with anyio.fail_after(5):
            await puppet.told_to_stop.wait()
            ended = await on.tasks.settled(ME, run.id)
        assert (ended.status, ended.error and ended.error.reason) == (
            RunStatus.FAILED,
            "deadline",
        )


async def test_waiting_does_not_count_towards_the_deadline(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin(request=CodingRequest(limits=Limits(deadline_s=30)))
        await puppet.ask("q")
        await puppet.end(RunFailed(message="gave up"))
        assert (await on.tasks.settled(ME, run.id)).status is RunStatus.FAILED


async def test_a_request_key_makes_a_start_happen_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        asked = CodingRequest(request_key="k", cwd="/w")
        first = await on.send(request=asked)
        again = await on.send(request=asked)
        assert (first.did, again.did, again.run.id) == ("started", "attached", first.run.id)
        with pytest.raises(RequestConflictError, match=first.run.id):
            await on.send("something else", request=asked)
        elsewhere = await on.tasks.send(
            principal=ME, agent="other", message=user_text("m", "go"), request=asked
        )
        assert elsewhere.did == "started"


async def test_a_follow_ups_key_makes_it_happen_once_and_a_refused_one_may_be_tried_again(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        asked = CodingRequest(request_key="k")
        puppet.steerable = False
        with pytest.raises(NotSteerableError):
            await on.send("left", run_id=run.id, request=asked)
        puppet.steerable = True
        assert (await on.send("left", run_id=run.id, request=asked)).did == "steered"
        assert (await on.send("left", run_id=run.id, request=asked)).did == "attached"
        assert puppet.heard == [("steer", "left")]


async def test_a_session_is_bound_to_its_agent_and_folder(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin(request=CodingRequest(cwd="/a"))
        await puppet.end(RunCompleted())
        with pytest.raises(SessionConflictError, match="bound to cwd /a, received /b"):
            await on.send(context_id=run.context_id, request=CodingRequest(cwd="/b"))
        with pytest.raises(SessionConflictError, match="another agent"):
            await on.tasks.send(
                principal=ME,
                agent="other",
                message=user_text("m", "go"),
                context_id=run.context_id,
            )
        next_run, _ = await on.begin(context_id=run.context_id)
        assert next_run.request.cwd == "/a"


async def test_agent_names_are_given_once_per_folder(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        names: list[str | None] = []

        async def spawn() -> None:
            sent = await on.send(request=CodingRequest(cwd="/w"), name_session=True)
            names.append(sent.run.nickname)

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(spawn)
        assert sorted(name or "" for name in names) == [f"agent{n}" for n in range(1, 7)]
        taken = CodingRequest(cwd="/w", nickname="agent3")
        with pytest.raises(InvalidInputError, match="'agent3' is in use"):
            await on.send(request=taken, name_session=True)


async def test_lists_are_paged_newest_first_and_filtered(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        ids = [(await on.send(request=CodingRequest(cwd=f"/{n % 2}"))).run.id for n in range(5)]
        first = await on.tasks.list_runs(ME, RunQuery(limit=2))
        second = await on.tasks.list_runs(ME, RunQuery(limit=9, cursor=first.next_cursor))
        listed = [run.id for run in (*first.runs, *second.runs)]
        assert (listed, second.next_cursor) == (ids[::-1], None)
        there = await on.tasks.list_runs(ME, RunQuery(cwd="/1"))
        assert [run.id for run in there.runs] == [ids[3], ids[1]]
        assert not (await on.tasks.list_runs("somebody", RunQuery())).runs
        with pytest.raises(InvalidInputError, match="cursor"):
            await on.tasks.list_runs(ME, RunQuery(cursor="%%"))


async def test_a_run_of_another_principal_does_not_exist(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, _ = await on.begin()
        with pytest.raises(RunNotFoundError):
            await on.tasks.get("somebody", run.id)
        with pytest.raises(RunNotFoundError):
            await on.tasks.cancel("somebody", run.id)


async def test_a_stopped_server_ends_local_runs_truthfully(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        await puppet.say(AgentMessage(text="working"))
    async with stage(tmp_path) as on:
        ended = await on.get(run)
        assert (ended.status, ended.error and ended.error.reason) == (
            RunStatus.FAILED,
            "interrupted",
        )


async def test_a_stopped_gateway_leaves_remote_runs_to_go_on(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream=True) as on:
        run, puppet = await on.begin()
        await puppet.say(AgentMessage(text="working"))
    async with stage(tmp_path, upstream=True) as on:
        with anyio.fail_after(5):
            await on.puppets[run.id].started.wait()
        await on.puppets[run.id].end(RunCompleted(final_response="caught up"))
        ended = await on.tasks.settled(ME, run.id)
        page = await on.tasks.events(ME, run.id)
        assert (ended.status, [e.seq for e in page.events]) == (RunStatus.COMPLETED, [1, 2, 3])


async def test_a_split_payload_is_read_by_range_and_put_back_whole(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        text = "ä" * 100_000
        await puppet.end(RunCompleted(final_response=text))
        ended = await on.tasks.settled(ME, run.id)
        [event] = (await on.tasks.events(ME, run.id, after=1)).events
        assert len(event.data) < 4096
        assert (await on.tasks.whole(ended, event))["final_response"] == text
        read, at = bytearray(), 0
        while at < 200_000:
            piece = await on.tasks.payload(ME, run.id, 2, "/final_response", offset=at, limit=9999)
            read += piece.content
            at += len(piece.content)
        assert read.decode() == text


async def test_an_answer_to_nothing_is_refused_and_never_a_steer(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        several = Message(
            message_id="a",
            role="user",
            parts=(DataPart(data={"responses": [{"request_id": "nope", "option": "allow"}]}),),
        )
        for message in (_answer("nope"), several):
            with pytest.raises(AnswerRefusedError) as refused:
                await on.tasks.send(principal=ME, agent="puppet", message=message, run_id=run.id)
            assert refused.value.code == "request_gone"
        assert puppet.heard == []
