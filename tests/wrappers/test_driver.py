"""Runs of the scripted agent through the task server: the driver, the contexts, the server's word."""

from pathlib import Path

import pytest

from gateway.core import json
from gateway.core.errors import (
    AnswerRefusedError,
    InvalidInputError,
    NotSteerableError,
    SessionConflictError,
)
from gateway.core.events import EVENT_TYPES
from gateway.core.extension import CodingRequest, Profile
from gateway.core.status import RunStatus
from tests.wrappers.inside import Wrapper, wrapper

EVERYTHING = """\
reason Look around first.
state looking
command ls => README.md
run printf real; exit 4
file src/app.py
tool search {"query": "x"}
todo look|write|report 2
artifact report All is well.
note a sub-agent speaks
stream 2 0 step
ask Which colour? [blue|green]
json {"verdict": "fine"}
say done"""


async def test_a_prompt_without_a_verb_is_echoed(agent: Wrapper) -> None:
    run = await agent.play("Ask codex to perform a task")
    assert run.status is RunStatus.COMPLETED
    assert run.result is not None
    assert run.result.final_response == "echo: Ask codex to perform a task"


async def test_scripts_reach_all_eighteen_event_types(agent: Wrapper) -> None:
    run = await agent.settled(await agent.start(EVERYTHING))
    assert run.status is RunStatus.INPUT_REQUIRED
    await agent.tell(run, text="green")
    run = await agent.ended(run)
    assert run.result is not None
    assert (run.result.final_response, run.result.structured_output) == (
        "done",
        {"verdict": "fine"},
    )
    seen = {type_ for type_, _ in await agent.events(run)}
    for script in ("fail no", "reject no"):
        seen |= {type_ for type_, _ in await agent.events(await agent.play(script))}
    run = await agent.settled(await agent.start("auth log in\nsay in"))
    assert run.status is RunStatus.AUTH_REQUIRED
    seen |= {type_ for type_, _ in await agent.events(run)}
    await agent.tasks.cancel("local", run.id)
    assert seen == set(EVENT_TYPES)


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        ("fail out of luck", RunStatus.FAILED, "scripted_failure"),
        ("reject not me", RunStatus.REJECTED, "scripted_refusal"),
        ("say hello\ncrash", RunStatus.FAILED, "agent_lost"),
        ("stream lots", RunStatus.FAILED, "bad_script"),
        ("open say", RunStatus.FAILED, "bad_script"),
        ("json {", RunStatus.FAILED, "bad_script"),
    ],
)
async def test_every_bad_end_has_a_status_and_a_reason(
    script: str, status: RunStatus, reason: str, agent: Wrapper
) -> None:
    run = await agent.play(script)
    assert (run.status, run.error and run.error.reason) == (status, reason)


# -- questions -----------------------------------------------------------------------------------


async def test_several_requests_are_open_at_once_and_answered_by_their_ids(agent: Wrapper) -> None:
    run = await agent.start(
        'open ask Which colour? [blue|green]\nopen permission Bash {"command": "rm x"}\n'
        "open plan Paint it\nwait\nsay done"
    )
    run = await agent.until(run, lambda run: len(run.pending) == 3)
    question, permission, plan = run.pending
    assert [question.kind, permission.kind, plan.kind] == ["question", "permission", "plan"]
    with pytest.raises(AnswerRefusedError) as caught:
        await agent.tell(run, text="blue")
    assert caught.value.code == "ambiguous_answer"
    await agent.tell(run, {"request_id": plan.request_id, "option": "deny", "message": "too dear"})
    run = await agent.until(run, lambda run: len(run.pending) == 2)
    assert run.status is RunStatus.INPUT_REQUIRED
    await agent.tell(
        run,
        {"request_id": question.request_id, "answers": {"answer": "blue"}},
        {"request_id": permission.request_id, "option": "allow"},
    )
    run = await agent.ended(run)
    events = await agent.events(run)
    texts = [data["text"] for type_, data in events if type_ == "agent_message"]
    assert texts == ["plan not approved: too dear", "Which colour? blue", "done"]
    resolved = [data["resolved"] for _, data in events if data.get("resolved")]
    assert resolved == [plan.request_id, question.request_id, permission.request_id]
    assert [data["status"] for type_, data in events if type_ == "tool_finished"] == ["completed"]


@pytest.mark.parametrize(
    ("option", "tools"),
    [("allow", ["completed"]), ("deny", ["declined"]), ("abort", list[str]())],
)
async def test_a_permission_does_what_its_answer_says(
    option: str, tools: list[str], agent: Wrapper
) -> None:
    run = await agent.settled(await agent.start('permission Bash {"command": "ls"}\nsay after'))
    await agent.tell(run, {"request_id": run.pending[0].request_id, "option": option})
    run = await agent.ended(run)
    events = await agent.events(run)
    assert [data["status"] for type_, data in events if type_ == "tool_finished"] == tools
    assert run.status is (RunStatus.CANCELLED if option == "abort" else RunStatus.COMPLETED)


async def test_a_permission_for_the_session_is_not_asked_for_again(agent: Wrapper) -> None:
    script = "permission Bash {}\npermission Bash {}\nsay done"
    run = await agent.settled(await agent.start(script))
    await agent.tell(run, {"request_id": run.pending[0].request_id, "option": "allow_session"})
    assert (await agent.ended(run)).status is RunStatus.COMPLETED
    again = await agent.play("permission Bash {}", context_id=run.context_id)
    assert again.status is RunStatus.COMPLETED


async def test_nobody_is_asked_for_permission_in_auto_mode(agent: Wrapper) -> None:
    request = CodingRequest(cwd=str(agent.cwd), permission_mode="auto")
    run = await agent.play("permission Bash {}\nsay done", request=request)
    assert run.status is RunStatus.COMPLETED


async def test_a_request_that_is_taken_back_lets_the_run_go_on(agent: Wrapper) -> None:
    run = await agent.play("open ask Colour?\nopen ask Size?\nwithdraw\nsay never mind")
    assert run.status is RunStatus.COMPLETED
    changes = [data for _, data in await agent.events(run) if data.get("resolved")]
    assert changes == [
        {"status": "input_required", "resolved": "question-1", "how": "withdrawn"},
        {"status": "running", "resolved": "question-2", "how": "withdrawn"},
    ]


async def test_an_answer_to_a_request_that_is_gone_is_refused(agent: Wrapper) -> None:
    run = await agent.start("open ask Colour?\nwithdraw\nask Size?")
    run = await agent.until(run, lambda run: [r.text for r in run.pending] == ["Size?"])
    with pytest.raises(AnswerRefusedError) as caught:
        await agent.tell(run, {"request_id": "question-1", "message": "red"})
    assert caught.value.code == "request_gone"


async def test_credentials_that_came_let_the_same_run_go_on(agent: Wrapper) -> None:
    run = await agent.settled(
        await agent.start("say hello\nauth log in with: scripted login\nsay in")
    )
    assert run.status is RunStatus.AUTH_REQUIRED
    await agent.tell(run, text="try again")
    run = await agent.ended(run)
    assert run.result is not None
    assert run.result.final_response == "in"
    types = [type_ for type_, _ in await agent.events(run)]
    assert types.count("run_started") == 1


# -- messages and cancels ------------------------------------------------------------------------


async def test_a_message_to_a_running_turn_reaches_the_agent(agent: Wrapper) -> None:
    run = await agent.start("say ready\nlisten")
    run = await agent.until(run, lambda run: run.summary == "ready")
    await agent.tell(run, text="use blue")
    run = await agent.ended(run)
    assert run.result is not None
    assert run.result.final_response == "heard: use blue"


async def test_a_run_that_has_not_started_takes_no_message(tmp_path: Path) -> None:
    async with wrapper(tmp_path, capacity=1) as agent:
        first = await agent.start("hang")
        await agent.until(first, lambda run: run.status is RunStatus.RUNNING)
        queued = await agent.start("say later")
        with pytest.raises(NotSteerableError):
            await agent.tell(queued, text="hurry")
        await agent.tasks.cancel("local", first.id)
        assert (await agent.ended(queued)).status is RunStatus.COMPLETED


@pytest.mark.parametrize(
    "script", ["hang", "sleep 600", "run sleep 600", "ask Colour?", "auth log in", "listen"]
)
async def test_a_cancel_ends_the_run_whatever_it_is_doing(script: str, agent: Wrapper) -> None:
    run = await agent.start(f"say working\n{script}")
    run = await agent.until(run, lambda run: "working" in run.summary or run.last_seq > 2)
    run = await agent.tasks.cancel("local", run.id)
    assert run.status is RunStatus.CANCELLED
    assert not run.pending


async def test_a_cancel_at_once_ends_the_run_too(agent: Wrapper) -> None:
    run = await agent.start("hang")
    run = await agent.tasks.cancel("local", run.id)
    assert run.status is RunStatus.CANCELLED


async def test_a_stopped_server_ends_its_runs_as_interrupted(tmp_path: Path) -> None:
    async with wrapper(tmp_path) as agent:
        runs = [await agent.start(script) for script in ("hang", "run sleep 600")]
        for run in runs:
            await agent.until(run, lambda run: run.last_seq >= 1)
        await agent.tasks.stop()
        ended = [await agent.tasks.get("local", run.id) for run in runs]
    assert [(run.status, run.error and run.error.reason) for run in ended] == [
        (RunStatus.FAILED, "interrupted")
    ] * 2


# -- contexts ------------------------------------------------------------------------------------


async def test_a_second_turn_knows_what_was_said_in_the_first(agent: Wrapper) -> None:
    first = await agent.play("say The colour is blue.")
    second = await agent.play("recall", context_id=first.context_id)
    assert second.result is not None
    assert second.result.final_response == "The colour is blue."


async def test_a_context_outlives_its_wrapper(tmp_path: Path) -> None:
    async with wrapper(tmp_path) as agent:
        first = await agent.play("say The colour is blue.")
        session = await agent.tasks.session("local", first.context_id)
    async with wrapper(tmp_path) as agent:
        second = await agent.play("recall", context_id=first.context_id, request=CodingRequest())
        assert second.result is not None
        assert second.result.final_response == "The colour is blue."
        again = await agent.tasks.session("local", first.context_id)
    assert session is not None
    assert again is not None
    assert session.backend_session_id == again.backend_session_id is not None


async def test_a_context_keeps_its_folder(agent: Wrapper) -> None:
    run = await agent.play("say hello")
    other = agent.cwd / "other"
    other.mkdir()
    with pytest.raises(SessionConflictError, match="start a new session"):
        await agent.start(
            "say hello", context_id=run.context_id, request=CodingRequest(cwd=str(other))
        )


@pytest.mark.parametrize(
    ("cwd", "says"),
    [
        ("project", "cwd must be an absolute path"),
        ("{root}/nowhere", "cwd does not exist"),
        ("{root}/runs.db", "cwd is not a directory"),
        ("/", "outside the folders"),
    ],
)
async def test_a_folder_that_cannot_be_worked_in_rejects_the_run(
    cwd: str, says: str, agent: Wrapper, tmp_path: Path
) -> None:
    asked = cwd.replace("{root}", str(tmp_path))
    run = await agent.play("say hello", request=CodingRequest(cwd=asked))
    assert run.status is RunStatus.REJECTED
    assert run.error is not None
    assert run.error.reason == InvalidInputError.code
    assert says in run.error.message


async def test_a_context_keeps_its_profile(agent: Wrapper) -> None:
    reviewer = Profile(source="reviewer.md", text="You review.")
    with_profile = CodingRequest(cwd=str(agent.cwd), profile=reviewer)
    run = await agent.play("settings", request=with_profile)
    again = await agent.play("settings", context_id=run.context_id)
    for one in (run, again):
        assert one.result is not None
        assert json.decode(one.result.final_response or "")["profile"] == "You review."
    painter = CodingRequest(profile=Profile(source="painter.md", text="You paint."))
    other = await agent.play("say hello", context_id=run.context_id, request=painter)
    assert (other.status, other.error and other.error.reason) == (
        RunStatus.REJECTED,
        SessionConflictError.code,
    )


async def test_runs_of_one_context_go_one_after_another(agent: Wrapper) -> None:
    first = await agent.start("listen\nsay first")
    first = await agent.until(first, lambda run: run.status is RunStatus.RUNNING)
    second = await agent.start("recall", context_id=first.context_id)
    assert (await agent.tasks.get("local", second.id)).status is RunStatus.QUEUED
    await agent.tell(first, text="go on")
    second = await agent.ended(second)
    assert second.result is not None
    assert second.result.final_response == "first"


async def test_a_schema_that_is_not_met_fails_the_run(agent: Wrapper) -> None:
    schema = {"type": "object", "required": ["verdict"]}
    request = CodingRequest(cwd=str(agent.cwd), output_schema=schema)
    met = await agent.play('json {"verdict": "fine"}', request=request)
    missed = await agent.play("say fine", request=request)
    assert met.status is RunStatus.COMPLETED
    assert (missed.status, missed.error and missed.error.reason) == (
        RunStatus.FAILED,
        "schema_mismatch",
    )


async def test_what_an_agent_cannot_honour_is_refused_with_the_field(agent: Wrapper) -> None:
    request = CodingRequest(cwd=str(agent.cwd), output_schema={"type": 5})
    run = await agent.play("say hello", request=request)
    assert run.status is RunStatus.REJECTED
    assert run.error is not None
    assert run.error.message.startswith("output_schema:")


async def test_five_thousand_messages_arrive_whole_and_in_order(agent: Wrapper) -> None:
    run = await agent.play("stream 5000 0 word")
    page = await agent.tasks.events("local", run.id, limit=1000, after=3000)
    texts = [json.decode(event.data)["text"] for event in page.events]
    assert texts == [f"word {number}" for number in range(3000, 4000)]
    assert run.last_seq == 5002
