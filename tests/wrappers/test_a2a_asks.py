"""What callers see when the real CLIs ask: permissions, questions and plans over A2A, answered by id
or in plain words."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from gateway.core.json import JsonObject
from tests.wrappers.a2a_case import (
    Station,
    final,
    last_state,
    pending,
    said,
    spoken,
    state,
    station_of,
)


@pytest.fixture(scope="module", params=["codex", "claude_code"])
async def station(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Station]:
    async with station_of(request.param, tmp_path_factory.mktemp("asking")) as station:
        yield station


async def asked(station: Station, cwd: Path, script: str, mode: str = "ask") -> JsonObject:
    """A run that waits for one answer."""
    task = await station.send(script, cwd, permission_mode=mode)
    assert state(task) == "input_required", task
    assert len(pending(task)) == 1
    return task


# -- permissions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "reason", "ends", "heard"),
    [
        ("allow", None, "completed", ""),
        ("deny", None, "completed", ""),
        ("deny", "use the other folder", "completed", "use the other folder"),
        ("abort", None, "canceled", ""),
    ],
)
async def test_a_permission_is_answered_by_its_id(
    station: Station, option: str, reason: str | None, ends: str, heard: str
) -> None:
    cwd = station.folder()
    task = await asked(station, cwd, "@sh touch made\n@results")
    (request,) = pending(task)
    assert request["kind"] == "permission"
    assert "touch made" in request["input"]["command"]
    assert [choice["id"] for choice in request["options"]] == [
        "allow",
        "allow_session",
        "deny",
        "abort",
    ]
    answer: JsonObject = {"request_id": request["request_id"], "option": option}
    if reason is not None:
        answer["message"] = reason
    ended = await station.answer(task, answer)
    assert state(ended) == ends
    assert (cwd / "made").exists() == (option == "allow")
    assert heard in final(ended)


async def test_allowed_for_the_session_the_next_run_of_it_is_not_asked(station: Station) -> None:
    cwd = station.folder()
    task = await asked(station, cwd, "@sh touch made\n@say one")
    answer = {"request_id": pending(task)[0]["request_id"], "option": "allow_session"}
    assert final(await station.answer(task, answer)) == "one"
    (cwd / "made").unlink()
    again = await station.send(
        "@sh touch made\n@say two", cwd, permission_mode="ask", context=task["contextId"]
    )
    assert final(again) == "two"
    assert (cwd / "made").exists()
    assert {path.name for path in cwd.iterdir()} == {"made"}


async def test_what_was_answered_is_answered_once(station: Station) -> None:
    task = await asked(station, station.folder(), "@sh touch made\n@sh touch more\n@say ok")
    first = {"request_id": pending(task)[0]["request_id"], "option": "allow"}
    again = await station.answer(task, first)
    assert state(again) == "input_required"
    assert pending(again)[0]["request_id"] != first["request_id"]
    parts: list[JsonObject] = [{"data": first}]
    message: JsonObject = {**said(""), "parts": parts, "taskId": task["id"]}
    error = await station.refusal("SendMessage", {"message": message})
    assert first["request_id"] in error["message"]
    await station.wrapper.rpc("CancelTask", {"id": task["id"]})


async def test_several_requests_are_answered_by_id_in_any_order(station: Station) -> None:
    cwd = station.folder()
    task = await station.send(station.vendor.two, cwd, wait=False, permission_mode="ask")
    both = await station.until(task, lambda event: len(event["data"].get("pending", ())) == 2)
    requests: list[JsonObject] = both["data"]["pending"]
    by_name = {
        name: request["request_id"]
        for request in requests
        for name in ("one", "two")
        if f"touch {name}" in request["input"]["command"]
    }
    assert set(by_name) == {"one", "two"}
    words = {**said("yes"), "taskId": task["id"]}
    error = await station.refusal("SendMessage", {"message": words})
    assert all(request_id in error["message"] for request_id in by_name.values())
    waiting = await station.answer(
        task, {"request_id": by_name["two"], "option": "deny"}, wait=False
    )
    assert [one["request_id"] for one in pending(waiting)] == [by_name["one"]]
    ended = await station.answer(task, {"request_id": by_name["one"], "option": "allow"})
    assert state(ended) == "completed"
    assert {path.name for path in cwd.iterdir()} == {"one"}


async def test_one_message_answers_several_requests(station: Station) -> None:
    cwd = station.folder()
    task = await station.send(station.vendor.two, cwd, wait=False, permission_mode="ask")
    both = await station.until(task, lambda event: len(event["data"].get("pending", ())) == 2)
    answers = [
        {"request_id": request["request_id"], "option": "allow"}
        for request in both["data"]["pending"]
    ]
    ended = await station.answer(task, {"responses": answers})
    assert state(ended) == "completed"
    assert {path.name for path in cwd.iterdir()} == {"one", "two"}


# -- questions and plans ---------------------------------------------------------------------------


async def test_a_question_reaches_the_caller_in_the_mode_that_asks_for_nothing(
    station: Station,
) -> None:
    task = await asked(station, station.folder(), station.vendor.question, mode="auto")
    (request,) = pending(task)
    assert request["kind"] == "question"
    (question,) = request["questions"]
    assert [option["label"] for option in question["options"]][:2] == ["blue", "green"]
    answers = {question["id"]: "green"}
    ended = await station.answer(task, {"request_id": request["request_id"], "answers": answers})
    assert state(ended) == "completed"
    assert "green" in final(ended)


@pytest.mark.parametrize(
    ("option", "message", "heard"),
    [("allow_session", None, "carr"), ("deny", "think again", "think again")],
)
async def test_a_plan_is_carried_out_once_it_is_approved(
    station: Station, option: str, message: str | None, heard: str
) -> None:
    script = f"{station.vendor.plan}\n{'@results' if message else '@say carried out'}"
    if station.vendor.name == "codex":
        script, option = station.vendor.plan, option.removesuffix("_session")
    task = await asked(station, station.folder(), script, mode="plan")
    (request,) = pending(task)
    assert (request["kind"], request["text"].strip()) == ("plan", "First this.")
    answer: JsonObject = {"request_id": request["request_id"], "option": option}
    if message is not None:
        answer["message"] = message
    ended = await station.answer(task, answer)
    assert state(ended) == "completed"
    assert heard in final(ended).lower()


# -- in plain words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "words", "heard"),
    [
        ("@sh touch {made}\n@results", "yes", ""),
        ("@sh touch {made}\n@results", "use the other folder", "use the other folder"),
        ("{question}", "green", "green"),
    ],
)
async def test_a_client_of_a2a_alone_answers_in_words(
    station: Station, script: str, words: str, heard: str
) -> None:
    made = station.folder() / "made"
    text = script.replace("{made}", str(made)).replace("{question}", station.vendor.question)
    async with station.plain() as client:
        items = [item async for item in client.send_message(spoken(text, mode="ask"))]
        assert last_state(items) == "input_required"
        task_id = items[0].task.id
        answer = spoken(words, task_id=task_id)
        items = [item async for item in client.send_message(answer)]
        assert last_state(items) == "completed"
    task = await station.get({"id": task_id})
    assert heard in final(task)
    assert made.exists() == (words == "yes")
