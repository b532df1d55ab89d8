"""What a session hands on from one run to the next, through both faces, and what its names mean."""

from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from gateway.core.errors import CoreError
from gateway.core.events import Rejected, RunCompleted
from gateway.core.extension import URI, CodingRequest, Limits, Profile
from gateway.core.record import Run
from tests.core.faces import AGENT, params
from tests.core.puppet import ME
from tests.core.puppet import place as place_of
from tests.gateway.both import PATIENCE_S, Both, both

ASKED: Final = CodingRequest(
    cwd="/abs/tree",
    role="reviewer",
    nickname="ada",
    profile=Profile(source="r.md", text="You review."),
    output_schema={"type": "object"},
    permission_mode="ask",
    sandbox="read-only",
    model="m-1",
    effort="high",
    limits=Limits(deadline_s=60),
    labels={"ticket": "T-1"},
    request_key="k-1",
    run_id="theirs",
    session_id="theirs too",
)
INHERITED: Final = ASKED.model_copy(
    update={"output_schema": None, "request_key": None, "run_id": None, "session_id": None}
)


async def ended_run(on: Both, *events: Any) -> Run:
    run, puppet = await on.begin(request=ASKED)
    await puppet.end(*(events or (RunCompleted(),)))
    return await on.tasks.settled(ME, run.id)


@pytest.mark.parametrize("way", ["continue_run", "a message with the contextId"])
async def test_the_next_run_of_a_session_has_the_settings_of_the_last_but_not_its_own_affairs(
    tmp_path: Path, way: str
) -> None:
    # A client of plain A2A knows no settings: to go on without them would loosen the sandbox that
    # the session was begun with.
    async with both(tmp_path) as on:
        first = await ended_run(on)
        if way == "continue_run":
            answer = await on.ask("continue_run", agent_name="ada", text="go on")
            assert answer["resumed_from_run_id"] == first.id
            run_id = answer["run_id"]
        else:
            asked = params("go on", context_id=first.context_id)
            asked["configuration"] = {"returnImmediately": True}
            run_id = (await on.a2a.rpc("SendMessage", asked))["result"]["task"]["id"]
        run = await on.tasks.get(ME, run_id)
        assert (run.context_id, run.agent, run.nickname) == (first.context_id, AGENT, "ada")
        key = run.request.request_key
        assert run.request.model_copy(update={"request_key": None}) == INHERITED
        assert key != "k-1"


async def test_who_states_settings_states_all_of_them(tmp_path: Path) -> None:
    async with both(tmp_path) as on:
        first = await ended_run(on)
        asked = params("go on", context_id=first.context_id, asked={"model": "m-2"})
        asked["configuration"] = {"returnImmediately": True}
        run_id = (await on.a2a.rpc("SendMessage", asked))["result"]["task"]["id"]
        run = await on.tasks.get(ME, run_id)
        assert run.request == CodingRequest(cwd="/abs/tree", model="m-2")


async def test_a_rejected_run_hands_nothing_on(tmp_path: Path) -> None:
    # What it was rejected for would be asked again.
    async with both(tmp_path) as on:
        first = await ended_run(on)
        bad, puppet = await on.begin(
            context_id=first.context_id, request=CodingRequest(sandbox="danger-full-access")
        )
        await puppet.end(Rejected(message="no"))
        await on.tasks.settled(ME, bad.id)
        asked = params("go on", context_id=first.context_id)
        asked["configuration"] = {"returnImmediately": True}
        run_id = (await on.a2a.rpc("SendMessage", asked))["result"]["task"]["id"]
        assert (await on.tasks.get(ME, run_id)).request == INHERITED


async def test_a_queued_run_shows_its_place_and_whom_it_waits_for_on_both_faces(
    tmp_path: Path,
) -> None:
    async with both(tmp_path) as on:
        first, puppet = await on.begin()
        runs = [(await on.stage.send(context_id=first.context_id)).run for _ in range(2)]
        for place, run in enumerate(runs, 1):
            shown = await on.ask("get_run", run_id=run.id)
            assert (shown["queue_place"], shown["blocked_by"]) == (place, first.id)
            task = (await on.a2a.rpc("GetTask", {"id": run.id}, extended=True))["result"]
            about = task["metadata"][URI]
            assert (about["queue_place"], about["blocked_by"]) == (place, first.id)
            refused = await on.ask("continue_run", run_id=run.id, text="x")
            assert f"queued at place {place}, behind run {first.id}" in refused["refused"]
        await puppet.end(RunCompleted())
        with anyio.fail_after(PATIENCE_S):
            await on.stage.puppets[runs[0].id].started.wait()
        assert place_of(on.tasks, runs[1].id) == 1


async def test_a_call_repeated_by_name_is_done_once_although_the_name_means_another_run_now(
    tmp_path: Path,
) -> None:
    # `continue_run(agent_name, request_key)` made a new run; repeated, the name meant that one, and
    # the same words steered it.
    async with both(tmp_path) as on:
        await ended_run(on)
        call = {"agent_name": "ada", "text": "go on", "request_key": "k-2"}
        first = await on.ask("continue_run", **call)
        puppet = on.stage.puppets[first["run_id"]]
        with anyio.fail_after(PATIENCE_S):
            await puppet.started.wait()
        again = await on.ask("continue_run", **call)
        assert (again["did"], again["run_id"]) == ("attached", first["run_id"])
        assert puppet.heard == []
        # And what steered one run steers no later one.
        steer = call | {"request_key": "k-3"}
        assert (await on.ask("continue_run", **steer))["did"] == "steered"
        later = (await on.stage.send(context_id=puppet.run.context_id)).run
        await puppet.end(RunCompleted())
        with anyio.fail_after(PATIENCE_S):
            await on.stage.puppets[later.id].started.wait()
        repeated = await on.ask("continue_run", **steer)
        assert (repeated["did"], repeated["run_id"]) == ("attached", first["run_id"])
        assert on.stage.puppets[later.id].heard == []


async def test_a_key_that_was_used_for_other_words_is_refused(tmp_path: Path) -> None:
    async with both(tmp_path) as on:
        first = await ended_run(on)
        said = {"run_id": first.id, "request_key": "k-2"}
        assert (await on.ask("continue_run", text="one", **said))["did"] == "resumed"
        refused = await on.ask("continue_run", text="two", **said)
        assert "request_key 'k-2' was used for another request" in refused["refused"]


async def test_a_name_is_its_sessions_for_as_long_as_that_is_kept(tmp_path: Path) -> None:
    # The predecessor's rule (its session files stay): a finished session keeps its name, so that
    # a name never means two conversations.
    async with both(tmp_path) as on:
        await ended_run(on)
        again = ASKED.model_copy(update={"request_key": "k-2"})
        with pytest.raises(CoreError, match="agent name 'ada' is in use in /abs/tree"):
            await on.stage.send(request=again)
        elsewhere = again.model_copy(update={"cwd": "/abs/other"})
        await on.stage.send(request=elsewhere)
        ambiguous = await on.ask("get_run", agent_name="ada")
        assert "ambiguous across multiple cwd values" in ambiguous["refused"]
        meant = await on.ask("get_run", agent_name="ada", cwd="/abs/tree")
        assert meant["status"] == "completed"
