"""Finding runs again: by labels, by time, by who works on them, and those that are not over."""

from typing import Any

import pytest

from gateway.core.clock import iso
from gateway.core.events import RunCompleted
from tests.mcp_bridge.house import House


async def _spawned(on: House, **more: Any) -> str:
    return (await on.begin(**more))[0]


async def _found(on: House, **asked: Any) -> list[str]:
    return [run["run_id"] for run in (await on.call("list_runs", **asked))["runs"]]


@pytest.mark.promise("list.filters")
async def test_runs_are_found_by_their_labels(caller: House) -> None:
    both = await _spawned(caller, labels={"ticket": "A-1", "team": "core"})
    one = await _spawned(caller, labels={"ticket": "A-1"})
    await _spawned(caller)
    assert await _found(caller, labels={"ticket": "A-1"}) == [one, both]
    assert await _found(caller, labels={"ticket": "A-1", "team": "core"}) == [both]
    assert await _found(caller, labels={"ticket": "A-2"}) == []
    assert (await caller.call("get_run", run_id=one))["labels"] == {"ticket": "A-1"}


@pytest.mark.promise("list.filters")
async def test_runs_are_found_by_when_they_were_accepted(one: House) -> None:
    first, second = await _spawned(one), await _spawned(one)
    at = (await one.puppets.tasks.get("local", second)).created_at
    moment = iso(at)
    assert await _found(one, since=moment) == [second]
    assert await _found(one, until=moment) == [first]
    assert await _found(one, since="2020-01-01", until=moment) == [first]
    assert await _found(one, since="2999-01-01T00:00:00+02:00") == []


async def test_active_are_the_runs_that_have_not_ended(one: House) -> None:
    over, puppet = await one.begin()
    await puppet.end(RunCompleted(final_response="x"))
    await one.ended(over)
    asking, puppet = await one.begin()
    await puppet.ask("q-1")
    working = await _spawned(one)
    assert await _found(one, status="active") == [working, asking]
    assert await _found(one, status="completed") == [over]
    assert await _found(one, role="worker", status="input_required") == [asking]
    assert await _found(one, role="planner") == []


async def test_pages_keep_to_their_filters(one: House) -> None:
    spawned = [await _spawned(one, labels={"n": "1"}) for _ in range(3)]
    page = await one.call("list_runs", labels={"n": "1"}, since="2020-01-01", limit=2)
    rest = await one.call(
        "list_runs", labels={"n": "1"}, since="2020-01-01", limit=2, cursor=page["next_cursor"]
    )
    assert [run["run_id"] for run in page["runs"] + rest["runs"]] == spawned[::-1]
    assert "first page" in await one.refused("list_runs", cursor=page["next_cursor"])


async def test_a_folder_is_found_however_its_path_is_written(one: House) -> None:
    run_id = await _spawned(one)
    for cwd in (one.folder, f"{one.folder}/", f"{one.folder}/../work"):
        assert await _found(one, cwd=str(cwd)) == [run_id]


# The list showed its session's id as its name, and found nothing by it.
async def test_an_agent_that_nobody_named_is_found_by_the_name_that_is_shown(one: House) -> None:
    sent = await one.puppets.send("go")
    await _spawned(one)
    name = (await one.call("list_runs"))["runs"][1]["agent_name"]
    assert await _found(one, agent_name=name) == [sent.run.id]
    assert await _found(one, agent_name=name, session_id=name) == [sent.run.id]
    assert await _found(one, agent_name=name, session_id="other") == []


async def test_an_empty_list_says_that_its_filters_may_be_why(one: House) -> None:
    assert await one.call("list_runs") == {"runs": []}
    await _spawned(one)
    assert "without them" in (await one.call("list_runs", agent_name="nobody"))["note"]


async def test_a_run_that_asks_is_listed_with_its_requests(one: House) -> None:
    _, puppet = await one.begin()
    await puppet.ask("q-1", "q-2")
    [run] = (await one.call("list_runs"))["runs"]
    assert run["asks"] == ["q-1", "q-2"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"since": "yesterday"}, "since: give a time such as"),
        ({"until": "99999-01-01"}, "until: give a time such as"),
        ({"labels": {"a": 1}}, "labels"),
        ({"labels": "a"}, "labels"),
        ({"role": "boss"}, "role"),
        ({"cwd": "project"}, "absolute path"),
    ],
)
async def test_a_wrong_filter_is_refused(one: House, arguments: dict[str, Any], said: str) -> None:
    assert said in await one.refused("list_runs", **arguments)


@pytest.mark.parametrize(
    "labels",
    [{"a b": "x"}, {"a": "x" * 257}, {"a": "line\nbreak"}, {str(n): "" for n in range(17)}],
)
async def test_labels_that_cannot_be_kept_are_refused(one: House, labels: dict[str, str]) -> None:
    assert "labels" in await one.refused("spawn_run", **one.task(labels=labels))


@pytest.mark.promise("get.liveness")
async def test_a_run_says_how_alive_it_is(one: House) -> None:
    run_id, puppet = await one.begin()
    run = await one.call("get_run", run_id=run_id)
    assert run["liveness"] == {
        "last_event_at": run["updated_at"], "phase": "working", "stalled": False
    }  # fmt: skip
    await puppet.ask("q-1")
    assert (await one.call("get_run", run_id=run_id))["liveness"]["phase"] == "waiting"
