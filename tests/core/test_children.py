"""Runs that were asked for from within runs: who they are, and that they end with who asked."""

from pathlib import Path

import anyio
import pytest

from gateway.core.errors import InvalidInputError
from gateway.core.events import RunCompleted, StatusChanged
from gateway.core.extension import CodingRequest, Limits, Parent
from gateway.core.hops import HOPS_KEY, HOPS_MAX
from gateway.core.messages import Message, TextPart
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.core.store.listing import RunQuery
from tests.core.puppet import ME, Stage, stage

PATIENCE_S = 5


def within(run: Run | str, depth: int = 0) -> CodingRequest:
    run_id = run if isinstance(run, str) else run.id
    return CodingRequest(parent=Parent(run_id=run_id, depth=depth))


async def ended(on: Stage, run: Run) -> Run:
    with anyio.fail_after(PATIENCE_S):
        return await on.tasks.settled(ME, run.id)


async def test_a_child_names_its_parent_by_our_id_and_stands_below_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        top, _ = await on.begin(request=CodingRequest(run_id="theirs"))
        child, _ = await on.begin(request=within("theirs"))
        grandchild, _ = await on.begin(request=within(child))
        assert child.request.parent == Parent(run_id=top.id, depth=0)
        assert grandchild.request.parent == Parent(run_id=child.id, depth=1)
        for parent, its in ((top, [child]), (child, [grandchild]), (grandchild, [])):
            page = await on.tasks.list_runs(ME, RunQuery(parent_id=parent.id))
            assert [run.id for run in page.runs] == [run.id for run in its]


async def test_a_repeated_request_of_a_child_is_the_same_child(tmp_path: Path) -> None:
    # The parent is stored by our own id, the key is of what was said: both calls say "theirs".
    async with stage(tmp_path) as on:
        await on.begin(request=CodingRequest(run_id="theirs"))
        asked = within("theirs").model_copy(update={"request_key": "k"})
        child, _ = await on.begin(request=asked)
        again = await on.send(request=asked)
        assert (again.did, again.run.id) == ("attached", child.id)


async def test_who_is_asked_for_by_the_process_of_an_ended_run_belongs_to_the_next_one(
    tmp_path: Path,
) -> None:
    # Claude Code's process serves all runs of a session, and knows the one it was started for.
    async with stage(tmp_path, capacity=1) as on:
        first, puppet = await on.begin()
        await puppet.end(RunCompleted())
        await ended(on, first)
        second, _ = await on.begin(context_id=first.context_id)
        child, _ = await on.begin(request=within(first))
        assert child.request.parent == Parent(run_id=second.id, depth=0)


async def test_a_cancel_takes_all_descendants_along_and_nobody_else(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        top, _ = await on.begin()
        child, _ = await on.begin(request=within(top))
        grandchild, _ = await on.begin(request=within(child))
        queued = (await on.send(context_id=child.context_id, request=within(top))).run
        stranger, _ = await on.begin()
        await on.tasks.cancel(ME, top.id)
        for run in (top, child, grandchild, queued):
            assert (await ended(on, run)).status is RunStatus.CANCELLED
        assert (await on.get(stranger)).status is RunStatus.RUNNING


async def test_a_child_that_completes_under_a_cancel_costs_its_parent_nothing(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, upstream=True) as on:
        top, _ = await on.begin()
        child, at_child = await on.begin(request=within(top))
        at_child.on_cancel = [RunCompleted(final_response="just done")]
        await on.tasks.cancel(ME, top.id)
        assert (await ended(on, top)).status is RunStatus.CANCELLED
        assert (await ended(on, child)).status is RunStatus.COMPLETED


async def test_the_children_of_a_run_that_ends_by_itself_go_on(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        top, at_top = await on.begin()
        child, at_child = await on.begin(request=within(top))
        await at_top.end(RunCompleted())
        await ended(on, top)
        await at_child.end(RunCompleted())
        assert (await ended(on, child)).status is RunStatus.COMPLETED


async def test_children_end_with_a_parent_that_its_agent_or_its_deadline_stopped(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on:
        top, at_top = await on.begin()
        child, _ = await on.begin(request=within(top))
        await at_top.end(StatusChanged(status="cancelled", reason="stopped_by_answer"))
        assert (await ended(on, child)).status is RunStatus.CANCELLED
        late, _ = await on.begin(request=CodingRequest(limits=Limits(deadline_s=0.2)))
        its, _ = await on.begin(request=within(late))
        assert (await ended(on, late)).status is RunStatus.FAILED
        assert (await ended(on, its)).status is RunStatus.CANCELLED


async def test_a_run_that_is_being_cancelled_asks_for_no_more(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream=True) as on:
        top, at_top = await on.begin()
        at_top.on_cancel = []
        await on.tasks.cancel(ME, top.id, wait_s=0)
        with pytest.raises(InvalidInputError, match=f"run {top.id} was cancelled"):
            await on.send(request=within(top))
        await at_top.end(StatusChanged(status="cancelled"))
        await ended(on, top)
        with pytest.raises(InvalidInputError, match=f"run {top.id} was cancelled"):
            await on.send(request=within(top))


async def test_a_message_that_came_through_too_many_gateways_is_refused(tmp_path: Path) -> None:
    def handed_on(hops: float | str) -> Message:
        return Message(
            message_id="m", role="user", parts=(TextPart(text="go"),), metadata={HOPS_KEY: hops}
        )

    async with stage(tmp_path) as on:
        for fine in (1, HOPS_MAX, float(HOPS_MAX), "many", -3):
            await on.tasks.send(principal=ME, agent="puppet", message=handed_on(fine))
        for beyond in (HOPS_MAX + 1, HOPS_MAX + 1.0):
            with pytest.raises(InvalidInputError, match="name each other as agents"):
                await on.tasks.send(principal=ME, agent="puppet", message=handed_on(beyond))
