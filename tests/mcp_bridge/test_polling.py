"""Polls of several runs at once, and of chosen events."""

from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gateway.core import json
from gateway.core.events import AgentMessage, AuthRequired, CommandStarted, RunCompleted, RunFailed
from gateway.core.json import JsonObject
from gateway.core.outcomes import EventPage
from tests.core.puppet import Puppet
from tests.mcp_bridge.house import PATIENCE_S, House

STARTED = 1  # the seq of run_started


async def _begin(on: House, count: int) -> tuple[list[str], list[Puppet]]:
    begun = [await on.begin() for _ in range(count)]
    return [run_id for run_id, _ in begun], [puppet for _, puppet in begun]


def _cursors(ids: Sequence[str], after: int = STARTED) -> list[JsonObject]:
    return [{"run_id": run_id, "after_seq": after} for run_id in ids]


def _texts(page: JsonObject) -> list[str]:
    return [event["data"]["text"] for event in page["events"] if "text" in event["data"]]


async def _woken(
    on: House, waits_for: Sequence[str], arguments: JsonObject, act: Any
) -> JsonObject:
    """The answer of a poll that waits for those runs when `act` is called."""
    pages: list[JsonObject] = []

    async def wait() -> None:
        pages.append(await on.call("poll_events", **arguments))

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            for run_id in waits_for:
                live = on.puppets.tasks.log._live.active(run_id)  # pyright: ignore[reportPrivateUsage]
                assert live is not None
                while not live.waiters:
                    await anyio.lowlevel.checkpoint()
            await act()
    return pages[0]


@pytest.mark.promise("poll.several")
async def test_any_of_several_runs_ends_the_wait(caller: House) -> None:
    ids, puppets = await _begin(caller, 3)
    page = await _woken(
        caller,
        ids,
        {"run_ids": _cursors(ids), "after_seq": 0},
        lambda: puppets[1].say(AgentMessage(text="here")),
    )
    assert _texts(page) == ["here"]
    assert page["runs"] == [
        {"run_id": ids[0], "status": "running", "next_after_seq": 1, "has_more": False},
        {"run_id": ids[1], "status": "running", "next_after_seq": 2, "has_more": False},
        {"run_id": ids[2], "status": "running", "next_after_seq": 1, "has_more": False},
    ]
    assert page["has_more"] is False
    assert "status" not in page


async def test_runs_that_ended_or_wait_do_not_end_the_wait_while_another_works(one: House) -> None:
    ids, (done, asking, working) = await _begin(one, 3)
    await done.end(RunCompleted(final_response="x"))
    await one.ended(ids[0])
    await asking.ask("q-1")
    cursors = [
        {"run_id": ids[0], "after_seq": 2},
        {"run_id": ids[1], "after_seq": 2},
        {"run_id": ids[2], "after_seq": 1},
    ]
    arguments = {"run_ids": cursors, "after_seq": 0}
    page = await _woken(one, ids[1:], arguments, lambda: working.say(AgentMessage(text="on")))
    assert _texts(page) == ["on"]
    assert [run["status"] for run in page["runs"]] == ["completed", "input_required", "running"]
    assert [request["request_id"] for request in page["runs"][1]["pending"]] == ["q-1"]


# Each word of the one at work had all ended ones read again, from the database if they ended long ago.
async def test_a_run_that_ended_is_read_once_while_others_are_waited_for(
    one: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, (done, working) = await _begin(one, 2)
    await done.end(RunCompleted(final_response="x"))
    await one.ended(ids[0])
    read: list[str] = []
    events = one.puppets.tasks.events

    async def counted(principal: str, run_id: str, **more: Any) -> EventPage:
        read.append(run_id)
        return await events(principal, run_id, **more)

    monkeypatch.setattr(one.puppets.tasks, "events", counted)

    async def act() -> None:
        for _ in range(5):
            before = len(read)
            await working.say(CommandStarted(command="ls"))
            while len(read) == before:
                await anyio.lowlevel.checkpoint()
        await working.say(AgentMessage(text="on"))

    asked: JsonObject = {"run_ids": _cursors(ids, 2), "types": ["agent_message"]}
    page = await _woken(one, ids[1:], asked, act)
    assert _texts(page) == ["on"]
    assert (read.count(ids[0]), read.count(ids[1]) > 1) == (1, True)


@pytest.mark.promise("poll.prompt")
async def test_several_runs_of_which_none_goes_on_by_itself_are_answered_at_once(
    one: House,
) -> None:
    ids, (done, asking) = await _begin(one, 2)
    await done.end(RunCompleted(final_response="x"))
    await one.ended(ids[0])
    await asking.ask("q-1")
    page = await one.call("poll_events", run_ids=_cursors(ids, 2), after_seq=0, wait_ms=30_000)
    assert page["events"] == []


async def test_a_cursor_that_says_nothing_is_the_calls_own(one: House) -> None:
    ids, _ = await _begin(one, 2)
    page = await one.call(
        "poll_events", run_ids=[{"run_id": ids[0]}, *_cursors(ids[1:])], after_seq=0
    )
    assert [(event["run_id"], event["seq"]) for event in page["events"]] == [(ids[0], 1)]


@pytest.mark.promise("answer.size")
@pytest.mark.parametrize("most", [1024, 2048, 8192])
async def test_several_runs_are_read_to_the_end_in_small_answers(one: House, most: int) -> None:
    ids, puppets = await _begin(one, 4)
    for number, puppet in enumerate(puppets):
        said = [AgentMessage(text=f"{number}.{n} " + "x" * 150) for n in range(20 * number)]
        await puppet.end(*said, RunCompleted(final_response="done"))
        await one.ended(ids[number])
    read: dict[str, list[int]] = {run_id: [] for run_id in ids}
    after = dict.fromkeys(ids, 0)
    more = True
    while more:
        cursors = [{"run_id": run_id, "after_seq": after[run_id]} for run_id in ids]
        page = await one.call("poll_events", run_ids=cursors, after_seq=0, max_bytes=most)
        assert len(json.encode(page).encode()) <= most
        assert page["events"], "every answer brings the reading on"
        for event in page["events"]:
            read[event["run_id"]].append(event["seq"])
        after = {run["run_id"]: run["next_after_seq"] for run in page["runs"]}
        more = page["has_more"]
    assert [read[run_id] for run_id in ids] == [list(range(1, 20 * n + 3)) for n in range(4)]


async def test_one_run_that_floods_keeps_no_other_from_being_read(one: House) -> None:
    ids, (loud, quiet) = await _begin(one, 2)
    await loud.say(*[AgentMessage(text="x" * 200) for _ in range(200)])
    await quiet.say(AgentMessage(text="important"))
    page = await one.call("poll_events", run_ids=_cursors(ids), after_seq=0)
    assert "important" in _texts(page)
    # It never falls silent, and the other's next word is larger than what it leaves.
    await loud.say(*[AgentMessage(text="y" * 200) for _ in range(200)])
    await quiet.say(AgentMessage(text="more", extra={f"n{n}": "z" * 250 for n in range(40)}))
    after = {run["run_id"]: run["next_after_seq"] for run in page["runs"]}
    for _ in range(100):
        cursors = [{"run_id": run_id, "after_seq": after[run_id]} for run_id in ids]
        page = await one.call("poll_events", run_ids=cursors, after_seq=0, max_bytes=4096)
        after = {run["run_id"]: run["next_after_seq"] for run in page["runs"]}
        await loud.say(*[AgentMessage(text="y" * 200) for _ in range(20)])
        if "more" in _texts(page):
            return
    pytest.fail("the quiet run was not read")


@pytest.mark.promise("poll.types")
async def test_chosen_events_come_alone_and_the_cursor_passes_the_others(caller: House) -> None:
    run_id, puppet = await caller.begin()
    for number in range(5):
        await puppet.say(CommandStarted(command="ls"), AgentMessage(text=str(number)))
    asked: JsonObject = {"run_id": run_id, "types": ["agent_message"]}
    first = await caller.call("poll_events", **asked, after_seq=0, limit=3)
    assert _texts(first) == ["0", "1", "2"]
    assert (first["next_after_seq"], first["has_more"]) == (7, True)
    second = await caller.call("poll_events", **asked, after_seq=7)
    assert _texts(second) == ["3", "4"]
    await puppet.say(CommandStarted(command="ls"))
    nothing = await caller.call("poll_events", **asked, after_seq=11, wait_ms=0)
    assert (nothing["events"], nothing["next_after_seq"], nothing["has_more"]) == ([], 12, False)


async def test_other_events_do_not_end_the_wait_for_chosen_ones(one: House) -> None:
    run_id, puppet = await one.begin()

    async def act() -> None:
        await puppet.say(CommandStarted(command="ls"))
        await puppet.say(CommandStarted(command="ls"))
        await puppet.say(AgentMessage(text="at last"))

    asked: JsonObject = {"run_id": run_id, "types": ["agent_message"], "after_seq": STARTED}
    page = await _woken(one, [run_id], asked, act)
    assert (_texts(page), page["next_after_seq"]) == (["at last"], 4)


async def test_the_end_of_a_run_is_told_whatever_events_were_chosen(one: House) -> None:
    run_id, puppet = await one.begin()
    asked: JsonObject = {"run_id": run_id, "types": ["agent_message"], "after_seq": STARTED}
    page = await _woken(one, [run_id], asked, lambda: puppet.end(RunCompleted(final_response="x")))
    assert (page["status"], page["events"], page["has_more"]) == ("completed", [], False)


# A filter on ends passed over the question, and the poll waited on beside it.
async def test_a_question_ends_the_wait_once_whatever_events_were_chosen(one: House) -> None:
    ids, (asking, _) = await _begin(one, 2)
    asked: JsonObject = {"types": ["run_completed"], "run_ids": _cursors(ids), "wait_ms": 20_000}
    page = await _woken(one, ids, asked, lambda: asking.ask("q-1"))
    assert [run["status"] for run in page["runs"]] == ["input_required", "running"]
    assert (page["events"], page["runs"][0]["next_after_seq"]) == ([], 2)
    asked["run_ids"] = [
        {"run_id": run["run_id"], "after_seq": run["next_after_seq"]} for run in page["runs"]
    ]
    still = await one.call("poll_events", **{**asked, "wait_ms": 50})
    assert [run["status"] for run in still["runs"]] == ["input_required", "running"]


async def test_ids_alone_are_read_from_the_start(one: House) -> None:
    ids, _ = await _begin(one, 2)
    for given in (ids, json.encode(ids)):
        page = await one.call("poll_events", run_ids=given)
        assert [event["run_id"] for event in page["events"]] == ids


@pytest.mark.promise("get.liveness")
async def test_a_run_that_waits_for_another_of_its_session_says_so_everywhere(one: House) -> None:
    first, puppet = await one.begin()
    await puppet.ask("q-1")
    session = (await one.call("get_run", run_id=first))["session_id"]
    second = await one.call(
        "spawn_run", **one.task(session_mode="resume", session_id=session, prompt="next")
    )
    assert second["blocked_by"] == first
    page = await one.call("poll_events", run_id=second["run_id"], after_seq=0, wait_ms=0)
    assert (page["status"], page["blocked_by"]) == ("queued", first)
    both = await one.call("poll_events", run_ids=[first, second["run_id"]], wait_ms=0)
    assert [run.get("blocked_by") for run in both["runs"]] == [None, first]


async def test_a_run_that_needs_a_login_says_what_for(one: House) -> None:
    run_id, puppet = await one.begin()
    where = "log in at http://x/?" + "&".join(f"scope{n}=all" for n in range(40))
    await puppet.say(AuthRequired(text="log in at http://y"), AuthRequired(text=where))
    for asked in ({"run_id": run_id, "after_seq": 3}, {"run_ids": [run_id], "types": []}):
        page = await one.call("poll_events", **asked)
        [state] = page.get("runs", [page])
        assert (state["status"], state["summary"]) == ("auth_required", where)
    assert (await one.call("get_run", run_id=run_id))["summary"] == where


async def test_a_run_that_failed_says_why_whatever_events_were_chosen(one: House) -> None:
    run_id, puppet = await one.begin()
    await puppet.end(RunFailed(message="no credit " + "x" * 5000, reason="budget"))
    await one.ended(run_id)
    page = await one.call("poll_events", run_ids=[run_id], types=["run_completed"])
    [state] = page["runs"]
    assert (state["error"]["reason"], page["events"]) == ("budget", [])
    assert state["error"]["message"].startswith("no credit xxx")
    assert "raise max_bytes" in state["error"]["message"]


@pytest.mark.promise("poll.cancel")
async def test_a_cancelled_poll_of_several_leaves_nobody_waiting(one: House) -> None:
    ids, puppets = await _begin(one, 3)
    with anyio.move_on_after(0.05) as scope:
        await one.client.call_tool("poll_events", {"run_ids": _cursors(ids), "after_seq": 0})
    assert scope.cancelled_caught
    lives = [one.puppets.tasks.log._live.active(run_id) for run_id in ids]  # pyright: ignore[reportPrivateUsage]
    with anyio.fail_after(PATIENCE_S):
        while any(live is not None and live.waiters for live in lives):
            await anyio.lowlevel.checkpoint()
    assert [puppet.heard for puppet in puppets] == [[], [], []]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"run_ids": [], "after_seq": 0}, "run_ids"),
        ({"run_ids": [{"run_id": "a"}], "run_id": "b", "after_seq": 0}, "not both"),
        ({"run_ids": [{"run_id": "a"}, {"run_id": "a"}], "after_seq": 0}, "a twice"),
        ({"run_ids": [{"run_id": "nobody"}], "after_seq": 0}, "nobody"),
        ({"run_ids": [{"run_id": "a", "after": 1}], "after_seq": 0}, "unknown argument 'after'"),
        ({"run_ids": [{"run_id": str(n)} for n in range(33)], "after_seq": 0}, "at most 32"),
        ({"run_ids": "a", "after_seq": 0}, "run_ids"),
        ({"run_id": "a"}, "'after_seq' is missing"),
        ({"run_ids": [3], "after_seq": 0}, "run_ids.0 takes an object {run_id, after_seq}"),
        ({"run_id": "a", "after_seq": 0, "types": ["message"]}, "the types are run_started"),
    ],
)  # fmt: skip
async def test_a_wrong_choice_of_runs_or_events_is_refused(
    one: House, arguments: JsonObject, said: str
) -> None:
    assert said in await one.refused("poll_events", **arguments)
